"""What the agent's decisions are worth on patches it has not seen, beside deciding without it.

    python -m adaslide_models.evaluate.cda --data DIR --out benchmarks/results/cda_resnet18.json [--search]

writes what the card claims: `CLAIMS`. For a list of your own there is ``adaslide evaluate cda``. Needs no
torch.
"""

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from adaslide.adapters.agents.bisection import BisectionAgent
from adaslide.adapters.agents.cda import CdaAgent
from adaslide.adapters.inference.weights import weights_named
from adaslide.domain.errors import InputError
from adaslide.domain.pixels import Pixels
from adaslide.domain.profile import PAPER_TAU, profile_named
from adaslide.pipeline.glass import is_constant
from adaslide_models.data.first_rung import SEARCHED, searched
from adaslide_models.data.paper_compress import MPP, SCALE, PaperCompress
from adaslide_models.data.sources import Source, by_dataset, read_split
from adaslide_models.rewards import paper_reward

DEFAULT_WEIGHTS = "cda-resnet18"
PATCH = 512
COARSE_PATCH = 256
"""px: shrunk to a coarser scale, images are small."""
LEAST_SIDE = 128
"""px: what is left of an image must be at least this."""
LAMBDA = 0.5
RESAMPLES = 2000
INTERVAL = (5, 95)
CLAIMS: dict[str, tuple[str, float | None]] = {
    "own_scale": ("heldout_20x.txt", None),
    "shrunk_to_0.75": ("heldout_20x.txt", 0.75),
    "shrunk_to_1.0": ("heldout_20x.txt", 1.0),
    "oral_test": ("cls_oral_test.txt", None),
}
"""Lists, and the scale they are brought to. Nothing of them was trained on."""
CHOSEN_ON = "sr_val.txt"
"""What chose the checkpoint is left out of the claims: eight images of heldout_20x.txt."""
COMMAND = "python -m adaslide_models.evaluate.cda --data ../shared/data --out OUT"

Floats = npt.NDArray[np.float64]


def evaluate(
    data: Path,
    split: Path,
    weights: str = DEFAULT_WEIGHTS,
    mpp: float | None = None,
    measured: bool = False,
    threads: int = 1,
    without: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """Per data set and over ``all``: mean rewards, and the shares that were and should have been compressed.

    At the images' own scale, or area-shrunk to ``mpp`` micrometres per pixel first, finer ones alone.
    ``measured`` adds what the search for the first rung that holds costs from the agent's proposal and
    from the middle of the ladder: some seconds a patch. Images named in ``without`` are left out.
    """
    agent, paper = CdaAgent.of(weights_named(weights), threads), PaperCompress.installed(threads)
    rows: dict[str, list[list[float]]] = {}
    listed = [source for source in read_split(data, split) if source.name not in without]
    for name, sources in by_dataset(listed):
        for source in sources:
            for patch, scale in patches(source, mpp):
                row = [agent.probability(patch), paper.dice(patch, scale)]
                if measured and len(patch) == patch.shape[1]:
                    row += _measurements(patch, scale, agent)
                rows.setdefault(name, []).append(row)
    result = {name: summary(own) for name, own in rows.items()}
    return result | {"all": summary([row for own in rows.values() for row in own])} if rows else {}


def patches(source: Source, mpp: float | None) -> list[tuple[Pixels, float]]:
    """The patches of an image row by row with their micrometres per pixel, whole ones of 512 px (256 px where
    ``mpp`` is given); an image smaller than a patch is one. Glass is left out, and an image that is coarser
    than ``mpp`` or of which less than `LEAST_SIDE` is left. Raises `InputError` for an unknown scale."""
    pixels, known = source.read()
    scale, side = known or MPP.get(source.dataset), PATCH
    if scale is None:
        raise InputError(f"nobody gave the scale of {source.dataset}")
    if mpp is not None:
        if scale > mpp:
            return []
        height, width = (round(length * scale / mpp) for length in pixels.shape[:2])
        pixels = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BOX))
        scale, side = mpp, COARSE_PATCH
    height, width = pixels.shape[:2]
    if min(height, width) < LEAST_SIDE:
        return []
    found = []
    for y in range(0, max(height - side, 0) + 1, side):
        for x in range(0, max(width - side, 0) + 1, side):
            patch = pixels[y : y + side, x : x + side]
            rows, columns = (length - length % SCALE for length in patch.shape[:2])
            red, green, blue = (round(float(mean)) for mean in patch.mean(axis=(0, 1)))
            if not is_constant(patch, (red, green, blue)):
                found.append((np.ascontiguousarray(patch[:rows, :columns]), scale))
    return found


def _measurements(patch: Pixels, mpp: float, agent: CdaAgent) -> list[float]:
    """[from the agent's proposal, from the middle of the ladder]."""
    profile = profile_named(SEARCHED)
    return [float(searched(patch, mpp, profile, each)[1]) for each in (agent, BisectionAgent())]


def summary(rows: list[list[float]]) -> dict[str, Any]:
    """Of (probability, Dice) or (probability, Dice, measurements, measurements from the middle) a patch.

    Intervals (90 %) resample patches; those of one slide are not independent of each other. ``random`` is
    what tossing a coin is worth on average.
    """
    probability, dice = np.array([row[:2] for row in rows]).T
    chosen = probability >= 0.5
    always = paper_reward(np.ones(len(dice), bool), dice, LAMBDA)
    rewards = {
        "agent": paper_reward(chosen, dice, LAMBDA),
        "always_compress": always,
        "always_keep": np.zeros(len(dice)),
        "random": always / 2,
        "oracle": np.maximum(always, 0),
    }
    picks = np.random.default_rng(0).integers(len(dice), size=(RESAMPLES, len(dice)))
    result: dict[str, Any] = {"n": len(dice)}
    for name, values in rewards.items():
        result[name] = round(float(values.mean()), 4)
    for name, values in (
        ("agent", rewards["agent"]),
        ("agent_minus_always_compress", rewards["agent"] - always),
    ):
        result[name] = round(float(values.mean()), 4)
        result[f"{name}_interval"] = [
            round(float(x), 4) for x in np.percentile(values[picks].mean(axis=1), INTERVAL)
        ]
    result["share_compressed"] = round(float(chosen.mean()), 4)
    result["share_below_tau"] = round(float((dice < PAPER_TAU).mean()), 4)
    result["right"] = round(float((chosen == (dice >= PAPER_TAU)).mean()), 4)
    if spent := [row[2:] for row in rows if len(row) > 2]:
        own, middle = np.mean(spent, axis=0)
        result["search"] = {
            "n": len(spent),
            "measurements": round(float(own), 3),
            "measurements_from_the_middle": round(float(middle), 3),
        }
    return result


def main() -> None:
    """The command line; see the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--weights", default=DEFAULT_WEIGHTS)
    parser.add_argument("--search", action="store_true", help="count measurements at the images' own scale")
    given = parser.parse_args()
    judge, restorer = PaperCompress.installed().digests
    result: dict[str, Any] = {
        "command": COMMAND + " --search" * given.search,
        "date": datetime.now(UTC).date().isoformat(),
        "weights": given.weights,
        "sha256": weights_named(given.weights).digest.hex(),
        "judge_sha256": judge,
        "restorer_sha256": restorer,
        "searched": profile_named(SEARCHED).id,
    }
    chosen_on = frozenset(each.name for each in read_split(given.data, given.data / "splits" / CHOSEN_ON))
    for name, (split, mpp) in CLAIMS.items():
        path = given.data / "splits" / split
        measured = given.search and name == "own_scale"
        result[name] = evaluate(given.data, path, given.weights, mpp, measured, without=chosen_on)
    given.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
