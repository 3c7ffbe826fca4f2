"""Commands of the learned parts: ``adaslide train | evaluate | weights``.

What needs torch is imported by the command that trains, never here.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from adaslide.domain.errors import InputError, ModelError, Unavailable
from adaslide.domain.rung import Scale, scale_of
from adaslide.terminal import EXIT_INTEGRITY, Json, console, print_json

train_app = typer.Typer(no_args_is_help=True, help="Train the learned parts (extra `train`).")
evaluate_app = typer.Typer(no_args_is_help=True, help="Measure the learned parts on images of your own.")
weights_app = typer.Typer(no_args_is_help=True, help="The weights of the learned parts.")

DataFolder = Annotated[Path, typer.Option("--data", help="The folder that splits are relative to.")]
Split = Annotated[Path, typer.Option("--split", help="A list of images: tab-separated, path first.")]
Splits = Annotated[list[Path], typer.Option("--split", help="A list of images; may be given again.")]
Vals = Annotated[list[Path], typer.Option("--val", help="A list that chooses the checkpoint; may repeat.")]
Budget = Annotated[float, typer.Option("--budget", help="Minutes of training.")]
Resume = Annotated[Path | None, typer.Option("--resume", help="The folder of a run to go on with.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE of the recipe, JSON.")]

FIE_WEIGHTS = "fie-compact-x4"
CDA_WEIGHTS = "cda-resnet18"
WHOLE = "ok"
"""The state of weights that are what their manifest says."""
TRAIN_MODULES = ("torch", "safetensors", "onnx", "onnxscript")


@contextmanager
def _extra(name: str, modules: tuple[str, ...]) -> Iterator[None]:
    """Names the extra to install where one of its ``modules`` is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in modules:
            raise
        how = f"pip install 'adaslide[{name}]', in a clone '.[{name}]'"
        raise Unavailable(f"{error.name} is not installed: {how}") from error


def _scale(text: str) -> Scale:
    try:
        return scale_of(text)
    except ValueError:
        raise InputError(f"{text!r} is no scale: 4, 2 or 4/3") from None


@train_app.command("fie-compact")
def train_fie_compact(
    data: DataFolder,
    split: Split,
    val: Annotated[Path, typer.Option("--val", help="The list that chooses the checkpoint.")],
    out: Annotated[Path, typer.Option("--out", help="The folder for weights, log and checkpoints.")],
    scale: Annotated[str, typer.Option("--scale", help="4, 2 or 4/3.")] = "4",
    budget: Annotated[float | None, typer.Option("--budget", help="Minutes, not the recipe's own.")] = None,
    resume: Resume = None,
    seed: Annotated[int, typer.Option("--seed")] = 0,
    overrides: Overrides = None,
) -> None:
    """An enhancer: bicubic plus a learned residual."""
    with _extra("train", TRAIN_MODULES):
        from adaslide_models.recipes.fie_compact import fie_compact
        from adaslide_models.recipes.overrides import overridden
        from adaslide_models.train.fie_compact import train
    recipe = fie_compact(data, split, val, out, _scale(scale))
    config = replace(recipe, budget_minutes=budget or recipe.budget_minutes, resume=resume, seed=seed)
    train(overridden(config, overrides or []))


@train_app.command("segmenter")
def train_segmenter(
    data: DataFolder,
    split: Splits,
    val: Vals,
    out: Annotated[Path, typer.Option("--out", help="The folder for weights, log and checkpoints.")],
    recipe: Annotated[str, typer.Option("--recipe", help="nuclei-unet or nuclei-lean.")] = "nuclei-unet",
    unlabelled: Annotated[
        list[Path] | None, typer.Option("--unlabelled", help="Images that only the recipe's teacher knows.")
    ] = None,
    budget: Budget = 12.0,
    steps: Annotated[int | None, typer.Option("--steps", help="Steps, instead of minutes: repeats.")] = None,
    resume: Resume = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Not the recipe's own.")] = None,
    threads: Annotated[int, typer.Option("--threads")] = 1,
    workers: Annotated[int, typer.Option("--workers", help="Processes that make crops.")] = 0,
    device: Annotated[
        str | None, typer.Option("--device", help="cpu or cuda; CUDA where there is any.")
    ] = None,
    folds: Annotated[int | None, typer.Option("--folds", help="Cross-validate: parts by patient.")] = None,
    fold: Annotated[int | None, typer.Option("--fold", help="The part that is only scored, from 0.")] = None,
    overrides: Overrides = None,
) -> None:
    """A nuclei judge: a U-Net."""
    if (folds is None) != (fold is None):
        raise typer.BadParameter("--folds and --fold come together")
    with _extra("train", TRAIN_MODULES):
        from adaslide_models.recipes.overrides import overridden
        from adaslide_models.recipes.segmenter import recipe_named
        from adaslide_models.train.segmenter import Segmenter, train
    config = recipe_named(recipe)
    config = overridden(config if seed is None else replace(config, seed=seed), overrides or [])
    part = None if fold is None or folds is None else (fold, folds)
    run = Segmenter(config, data, tuple(split), tuple(val), out, budget, steps, resume, threads, part)
    train(replace(run, unlabelled=tuple(unlabelled or ()), device=device, workers=workers))


@train_app.command("cda")
def train_cda(
    data: DataFolder,
    split: Splits,
    val: Vals,
    out: Annotated[Path, typer.Option("--out", help="The folder for tables, weights, log and checkpoints.")],
    budget: Budget = 10.0,
    resume: Resume = None,
    seed: Annotated[int, typer.Option("--seed")] = 0,
    overrides: Overrides = None,
) -> None:
    """The agent that guesses, before anything is measured, whether compressing holds."""
    with _extra("train", TRAIN_MODULES):
        from adaslide_models.recipes.cda import cda
        from adaslide_models.recipes.overrides import overridden
        from adaslide_models.train.cda import train
    config = cda(data, tuple(split), tuple(val), out)
    config = replace(config, budget_minutes=budget, resume=resume, seed=seed)
    train(overridden(config, overrides or []))


@train_app.command("ladder")
def train_ladder(
    data: DataFolder,
    split: Splits,
    val: Vals,
    out: Annotated[Path, typer.Option("--out", help="The folder for tables, weights, log and checkpoints.")],
    budget: Budget = 6.0,
    resume: Resume = None,
    seed: Annotated[int, typer.Option("--seed")] = 0,
    overrides: Overrides = None,
) -> None:
    """The agent that measures one rung after another until looking on no longer pays."""
    with _extra("train", TRAIN_MODULES):
        from adaslide_models.recipes.ladder import ladder
        from adaslide_models.recipes.overrides import overridden
        from adaslide_models.train.ladder import train
    config = ladder(data, tuple(split), tuple(val), out)
    config = replace(config, budget_minutes=budget, resume=resume, seed=seed)
    train(overridden(config, overrides or []))


@evaluate_app.command("segmenter")
def evaluate_segmenter(
    data: DataFolder,
    split: Split,
    weights: Annotated[str | None, typer.Option("--weights", help="See `adaslide weights list`.")] = None,
    as_json: Json = False,
) -> None:
    """A judge against outlined nuclei, per data set, Otsu beside it."""
    from adaslide_models.evaluate.segmenter import evaluate_segmenter as evaluate

    result = evaluate(data, split, weights)
    if as_json:
        print_json(result)
        return
    table = Table("source", "n", "Dice", "Jaccard", "Otsu's Dice")
    for source, row in result.items():
        cells = (f"{row[name]:.3f}" for name in ("dice", "jaccard", "dice_otsu"))
        table.add_row(source, str(row["n"]), *cells)
    Console().print(table)


@evaluate_app.command("fie")
def evaluate_fie(
    data: DataFolder,
    split: Split,
    weights: Annotated[str, typer.Option("--weights", help="See `adaslide weights list`.")] = FIE_WEIGHTS,
    as_json: Json = False,
) -> None:
    """An enhancer against bicubic, per data set, on images it was not trained on."""
    from adaslide_models.evaluate.fie import evaluate

    result = evaluate(data, split, weights)
    if as_json:
        print_json(result)
        return
    table = Table("source", "n", "low resolution", "PSNR", "bicubic", "SSIM", "bicubic", "Dice", "bicubic")
    for source, row in result.items():
        for name, values in {"lossless": row, **row["stored"]}.items():
            cells = (f"{values[m + b]:.3f}" for m in ("psnr", "ssim", "dice") for b in ("", "_bicubic"))
            table.add_row(source, str(row["n"]), name, *cells)
    Console().print(table)


@evaluate_app.command("cda")
def evaluate_cda(
    data: DataFolder,
    split: Split,
    weights: Annotated[str, typer.Option("--weights", help="See `adaslide weights list`.")] = CDA_WEIGHTS,
    mpp: Annotated[float | None, typer.Option("--mpp", help="Shrink the images to this scale first.")] = None,
    measured: Annotated[bool, typer.Option("--search", help="Count the search's measurements too.")] = False,
    as_json: Json = False,
) -> None:
    """An agent's rewards beside compressing all, none and the best, per data set."""
    from adaslide_models.evaluate.cda import evaluate

    result = evaluate(data, split, weights, mpp, measured)
    if as_json:
        print_json(result)
        return
    columns = (
        "agent",
        "always_compress",
        "always_keep",
        "random",
        "oracle",
        "share_compressed",
        "share_below_tau",
    )
    table = Table("source", "n", *(name.replace("_", " ") for name in columns))
    for source, row in result.items():
        table.add_row(source, str(row["n"]), *(f"{row[name]:.3f}" for name in columns))
    Console().print(table)


@evaluate_app.command("rate-fidelity")
def evaluate_rate_fidelity(
    data: DataFolder,
    out: Annotated[Path, typer.Option("--out", help="A new folder for the document, pictures and packages.")],
    split: Annotated[
        Path | None, typer.Option("--split", help="A list of images; else all below DIR.")
    ] = None,
    profile: Annotated[str, typer.Option("--profile", help="See `adaslide profiles`.")] = "archive",
    mpp: Annotated[float, typer.Option("--mpp", help="Micrometres per pixel of the images.")] = 0.5,
    as_json: Json = False,
) -> None:
    """A profile's packages beside every uniform codec: bytes at the same measured fidelity."""
    from adaslide.domain.profile import profile_named

    with _extra("evaluate", ("matplotlib",)):
        from adaslide_models.evaluate.rate_fidelity.contest import contest
    result = contest(data, split, profile_named(profile), mpp, out, say=console.print)
    if as_json:
        print_json(result)
        return
    table = Table("floor", "bytes", "uniform, same p5", "uniform, same mean", "published pair", "over oracle")
    bytes_of = {row["setting"]: row["bytes"] for row in result["rows"] if row["name"] == result["profile"]}
    for floor, row in result["by_floor"].items():
        names = ("uniform_p5", "uniform_mean", "paper_mean", "oracle_gap")
        ratios = ("none reaches it" if row[n] is None else f"{row[n]:.2f} x" for n in names)
        table.add_row(floor, f"{bytes_of[f'floor {floor}']:,}", *ratios)
    Console().print(table)
    violations = result["violations"]
    Console().print(f"{result['n']} patches of {result['images']} images, {violations} violations")
    if violations:
        raise typer.Exit(EXIT_INTEGRITY)


@weights_app.command("list")
def list_weights(as_json: Json = False) -> None:
    """The installed weights, each checked against its sha256; exit 4 when one is not what it should be."""
    from adaslide.adapters.inference.onnx import verified
    from adaslide.adapters.inference.weights import installed

    rows: dict[str, dict[str, Any]] = {}
    for name, weights in sorted(installed().items()):
        try:
            size, state = len(verified(weights.path, weights.digest)), WHOLE
        except ModelError as error:
            size, state = 0, error.code
        facts = {"kind": weights.kind, "bytes": size, "sha256": weights.digest.hex(), "state": state}
        rows[name] = facts | {"licence": weights.table.get("licence"), "card": weights.table.get("card")}
    if as_json:
        print_json(rows)
    else:
        table = Table("weights", "kind", "bytes", "sha256", "state")
        for name, row in rows.items():
            table.add_row(name, row["kind"], f"{row['bytes']:,}", row["sha256"][:12], row["state"])
        Console().print(table)
    if any(row["state"] != WHOLE for row in rows.values()):
        raise typer.Exit(EXIT_INTEGRITY)
