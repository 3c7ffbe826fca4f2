"""The command line. Exit codes: 0 ok, 1 installation, 2 usage, 3 bad input, 4 integrity, 5 unavailable."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from adaslide import cli_learned, cli_security, cli_service
from adaslide.domain.errors import (
    AdaSlideError,
    Conflict,
    InputError,
    NotFound,
    PackageError,
    Unavailable,
)
from adaslide.domain.geometry import Region
from adaslide.domain.profile import PROFILES
from adaslide.pipeline.made_with import BICUBIC
from adaslide.terminal import (
    EXIT_INPUT,
    EXIT_INTEGRITY,
    EXIT_UNAVAILABLE,
    Json,
    console,
    not_restored,
    print_json,
)

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(cli_learned.train_app, name="train")
app.add_typer(cli_learned.evaluate_app, name="evaluate")
app.add_typer(cli_learned.weights_app, name="weights")
app.add_typer(cli_security.keys_app, name="keys")
app.add_typer(cli_security.audit_app, name="audit")
for command in cli_service.COMMANDS:
    app.command()(command)

PackagePath = Annotated[
    Path, typer.Argument(metavar="PKG.zarr", help="A package made by `adaslide compress`.")
]

_EXIT_CODES: tuple[tuple[type[AdaSlideError], int], ...] = (
    (InputError, EXIT_INPUT),
    (NotFound, EXIT_INPUT),
    (Conflict, EXIT_INPUT),
    (PackageError, EXIT_INTEGRITY),
    (Unavailable, EXIT_UNAVAILABLE),
)


def main() -> NoReturn:
    """The entry point: runs a command and turns errors of the tree into exit codes."""
    try:
        app()
    except AdaSlideError as error:
        console.print(f"[red]{error.code}[/red] {escape(error.message)}", highlight=False)
        sys.exit(next((code for kind, code in _EXIT_CODES if isinstance(error, kind)), 1))
    except OSError as error:  # a full disk, a folder without permission: said without the path
        reason = error.strerror or type(error).__name__
        console.print(f"[red]{Unavailable.code}[/red] {reason}", highlight=False)
        sys.exit(EXIT_UNAVAILABLE)
    sys.exit(0)


def _show_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"adaslide {version('adaslide')}\n")
        raise typer.Exit


@app.callback()
def adaslide(
    _: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Whole-slide images kept several times smaller, every patch measured.

    Exit codes: 0 ok, 1 installation, 2 usage, 3 bad input, 4 integrity, 5 unavailable.
    """


@contextmanager
def _progress(label: str) -> Iterator[Any]:
    columns = (
        TextColumn(label),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("patches"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(label, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@app.command()
def compress(
    slide: Annotated[Path, typer.Argument(help="A slide that OpenSlide reads.")],
    out: Annotated[Path, typer.Option("--out", help="The package folder to make.")],
    profile: Annotated[
        str, typer.Option("--profile", help="archive, archive-fast, exact or paper.")
    ] = "archive",
    lambda_: Annotated[
        float | None, typer.Option("--lambda", help="0-1: more of it buys fidelity above the floors.")
    ] = None,
    target_ratio: Annotated[
        float | None,
        typer.Option(
            "--target-ratio", help="Bytes of the source's tiles for each of the package's; no --lambda."
        ),
    ] = None,
    dice_floor: Annotated[
        float | None, typer.Option("--dice-floor", help="Least Dice of every patch.")
    ] = None,
    mpp: Annotated[float | None, typer.Option("--mpp", help="Micrometres per pixel of level 0.")] = None,
    protect: Annotated[
        Path | None, typer.Option("--protect", help="GeoJSON: restore nothing of these regions.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compress SLIDE into a package: every patch measured, none below the floor."""
    from adaslide import library

    with _progress("compressing") as advance:
        totals = library.compress(
            slide,
            out,
            profile=profile,
            lambda_=lambda_,
            target_ratio=target_ratio,
            dice_floor=dice_floor,
            mpp=mpp,
            protect=protect,
            progress=advance,
        )
    if as_json:
        print_json(totals)
    else:
        _show(totals)
        console.print(f"wrote {out} in {totals['seconds']:.1f} s", highlight=False)


@app.command()
def inspect(package: PackagePath, as_json: Json = False) -> None:
    """Sizes, ratios, patches per rung, fidelity and provenance of a package."""
    from adaslide import library
    from adaslide.pipeline.inspect import inspect as inspect_package

    facts = inspect_package(library.open_package(package))
    if as_json:
        print_json(facts)
    else:
        _show(facts)
        _show_provenance(facts)


@app.command()
def verify(
    package: PackagePath,
    against: Annotated[
        Path | None, typer.Option("--against", help="The slide: measure every patch against it again.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Decode every patch again from the store; exit 4 when a promise is broken."""
    from adaslide import library

    report = library.verify_package(package, against)
    if as_json:
        print_json(report.as_dict())
    elif report.ok:
        console.print(
            f"[green]ok[/green] {report.patches} patches, {report.remeasured} remeasured, 0 violations"
        )
    else:
        for problem in report.problems:
            console.print(f"[red]broken[/red] {problem}")
        for row, col in report.below_floor:
            console.print(f"[red]below the floor[/red] patch {row}, {col}")
    if not report.ok:
        sys.exit(EXIT_INTEGRITY)


def _region(text: str) -> Region:
    try:
        x, y, width, height = (int(part) for part in text.split(","))
        return Region(x, y, width, height)
    except ValueError:
        raise typer.BadParameter("a region is X,Y,W,H in pixels") from None


@app.command()
def restore(
    package: PackagePath,
    out: Annotated[Path, typer.Option("--out", help=".tif, .png or .npy; a .tif with --original.")],
    region: Annotated[str | None, typer.Option("--region", help="X,Y,W,H in pixels of the level.")] = None,
    level: Annotated[int, typer.Option("--level", help="Downsample 2^N: 0 is full resolution.")] = 0,
    original: Annotated[
        bool, typer.Option("--original", help="Give back the source's own tiles (all patches exact).")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write restored pixels, or the source's own tiles, to a file."""
    from adaslide import library

    result = library.restore(
        package, out, region=_region(region) if region else None, level=level, original=original
    )
    if as_json:
        print_json(result)
    else:
        console.print(f"wrote {result['bytes']:,} bytes as {result['format']}", highlight=False)


@app.command("map")
def map_(
    package: PackagePath,
    layer: Annotated[str, typer.Option("--layer", help="rung, p_compress, dice, ssim, ...")],
    out: Annotated[Path, typer.Option("--out", help="The PNG file to write.")],
) -> None:
    """Draw the decision map or a fidelity map as a picture."""
    from adaslide import library

    library.draw_map(package, layer, out)
    console.print(f"wrote {out}", highlight=False)


@app.command()
def report(
    package: PackagePath,
    out: Annotated[Path, typer.Option("--out", help="The HTML file to write.")],
    against: Annotated[
        Path | None, typer.Option("--against", help="The slide: shows patches before and after.")
    ] = None,
) -> None:
    """Write one self-contained page about a package."""
    from adaslide import library

    with _progress("trying other formats") as advance:
        library.write_report(package, out, against, progress=advance)
    console.print(f"wrote {out}", highlight=False)


@app.command()
def profiles(as_json: Json = False) -> None:
    """The profiles of this build: ladder, floors, and what judges, restores and proposes."""
    rows: dict[str, dict[str, Any]] = {
        profile.id: {
            "ladder": [spec.name for spec in profile.ladder] + ["exact or lossless"],
            "floors": profile.floors.as_dict(),
            "margin": profile.floors.margin,
            "background": profile.allow_background,
            "judge": profile.judge,
            "second_judge": profile.second_judge,
            "restorers": list(profile.restorers),
            "agent": profile.agent,
            "measurement_price": profile.measurement_price if profile.is_dial else None,
        }
        for profile in PROFILES.values()
    }
    if as_json:
        print_json(rows)
        return
    table = Table(show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name, row in rows.items():
        floors = ", ".join(f"{k} {v:g}" for k, v in row["floors"].items() if v)
        table.add_row(f"[bold]{name}[/]", "ladder, cheapest first", " ".join(row["ladder"]))
        table.add_row("", "floors", floors or "none: nothing is lost")
        if row["ladder"][1:]:
            table.add_row("", "judge", row["judge"])
            table.add_row("", "second judge", row["second_judge"] or "none")
            table.add_row("", "restorers", ", ".join([*row["restorers"], BICUBIC]))
            table.add_row("", "agent", row["agent"] or "none: the search starts in the middle")
        if price := row["measurement_price"]:
            table.add_row("", "a measurement", f"promises to save {price:g} bytes, or is not made")
        table.add_row()
    Console().print(table, highlight=False)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Check that this installation can do its work; exit 5 when it cannot."""
    from adaslide.diagnosis import diagnose

    checks = diagnose()
    if as_json:
        print_json({"checks": [asdict(check) for check in checks], "ok": all(check.ok for check in checks)})
    else:
        for check in checks:
            console.print(
                f"{'[green]ok[/green]  ' if check.ok else '[red]fail[/red]'} {check.name}: {check.detail}"
            )
    if not all(check.ok for check in checks):
        sys.exit(EXIT_UNAVAILABLE)


def _show(totals: dict[str, Any]) -> None:
    out = Console()
    table = Table(show_header=False, box=None, pad_edge=False)
    share = totals["ratio_source"]
    table.add_row("package", f"{totals['package_bytes']:,} bytes, {share:.1%} of the source file")
    if totals["ratio_tiles"] is not None:
        table.add_row(
            "", f"{totals['ratio_tiles']:.1%} of the source's {totals['source_tile_bytes']:,} tile bytes"
        )
    if totals.get("target_ratio") is not None:
        before = totals["source_tile_bytes"] or totals["source_bytes"]
        reached = f"{before / totals['package_bytes']:.3f}, at lambda {totals['lambda']:.3g}"
        table.add_row("ratio", f"{reached} (asked: {totals['target_ratio']:g})")
    patches = totals["patches"]
    rungs = ", ".join(f"{count} {name}" for name, count in patches["by_rung"].items())
    table.add_row("patches", f"{patches['total']}: {rungs}")
    if barred := not_restored(totals):
        table.add_row("nothing restored of", barred)
    for metric in ("dice", "dice_window_min", "dice_second", "ssim", "colour_min"):
        row, floor = totals["fidelity"].get(metric), totals["floor"].get(metric)
        if row and row["n"] and (floor or metric != "dice_second"):
            spread = f"mean {row['mean']:.3f}, 5th percentile {row['p5']:.3f}, least {row['min']:.3f}"
            table.add_row(metric, f"{spread} (floor {floor:g})" if floor else spread)
    table.add_row("below a floor", str(totals["violations"]))
    if patches["corrupt"]:
        table.add_row("damaged in the source", f"{patches['corrupt']}, kept as they stand")
    out.print(table, highlight=False)


def _show_provenance(facts: dict[str, Any]) -> None:
    source, size = facts["source"], facts["size"]
    rows = {
        "slide": f"{size['width']} x {size['height']} px, {facts['mpp']:g} um/px ({facts['mpp_origin']})",
        "source": f"{source['bytes']:,} bytes, {source['vendor']}, sha256 {source['sha256']}",
        "made": f"{facts['created']} by adaslide {facts['software']['adaslide']}, {facts['profile']}",
        "judge": facts["judge"],
        "second judge": facts["second_judge"] or "none",
        "agent": facts["agent"] or "none",
        "restorers": ", ".join([*facts["restorers"], BICUBIC]) if facts["share_compressed"] else "none",
        "weights": "\n                 ".join(f"{n} {sha}" for n, sha in facts["weights"].items()) or "none",
        "certificate": facts["certificate"]["digest"],
    }
    for name, text in rows.items():
        Console(soft_wrap=True).print(f"{name:<15}  {text}", highlight=False)


if __name__ == "__main__":
    main()
