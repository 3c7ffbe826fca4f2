"""What might be kept of the patches of a shard, waiting in the job's scratch until the slide is known.

Two objects a shard: the numbers of all its steps, which choosing takes, and their payloads, of which only the
chosen ones are read again as part of a shard.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from adaslide.domain.decision import PatchOutcome
from adaslide.domain.errors import ChecksumMismatch
from adaslide.domain.geometry import ShardIndex
from adaslide.package.records import PatchMaps
from adaslide.ports.objects import GetObject, PutObject


def steps_key(shard: ShardIndex) -> str:
    """Where the numbers of a shard's steps wait, in the job's scratch."""
    return f"steps/{shard.row}_{shard.col}.npz"


def payloads_key(shard: ShardIndex) -> str:
    """Where the payloads of a shard's steps wait, one after another."""
    return f"steps/{shard.row}_{shard.col}.bin"


@dataclass(frozen=True, slots=True)
class PatchSurvey:
    """The steps of one patch that some price would keep, bytes rising.

    ``whole_bytes`` is about what the patch takes kept whole, 0 where there is nothing to choose (glass,
    damage); ``floor`` is what the next cheaper rung that fails violates first, empty where none does.
    """

    steps: tuple[PatchOutcome, ...]
    whole_bytes: int = 0
    floor: str = ""


@dataclass(frozen=True, slots=True)
class ShardSurvey:
    """The numbers of a shard's steps, its patches row by row, each patch's steps as `PatchSurvey` has them.

    ``counts``, ``whole_bytes`` and ``floors`` are (patches,); ``steps`` are maps of (steps, 1).
    """

    counts: npt.NDArray[np.uint8]
    whole_bytes: npt.NDArray[np.uint32]
    floors: npt.NDArray[np.str_]
    steps: PatchMaps

    @classmethod
    def read(cls, scratch: GetObject, shard: ShardIndex) -> Self:
        """What `write_survey` left. Raises what the store raises."""
        with np.load(io.BytesIO(scratch.get(steps_key(shard))), allow_pickle=False) as stored:
            return cls(stored["counts"], stored["whole"], stored["floors"], PatchMaps.of(stored))

    @property
    def first(self) -> npt.NDArray[np.int64]:
        """(patches,): where each patch's steps begin."""
        return np.cumsum(self.counts, dtype=np.int64) - self.counts

    def outcomes(self, step: npt.NDArray[np.int64], rows: int, cols: int) -> PatchMaps:
        """The shard's (rows, cols) maps where each patch is kept at its ``step``, (patches,)."""
        at = self.first + step
        decision = {name: values[at].reshape(rows, cols) for name, values in self.steps.decision.items()}
        quality = {name: values[at].reshape(rows, cols) for name, values in self.steps.quality.items()}
        return PatchMaps(decision, quality)

    def payloads(self, data: bytes, step: npt.NDArray[np.int64]) -> Iterator[bytes]:
        """Each patch's payload at its ``step``, (patches,), out of the object at `payloads_key`. Raises
        `ChecksumMismatch` where that is not as long as the numbers say."""
        sizes = self.steps.decision["bytes"].ravel().astype(np.int64)
        end = np.cumsum(sizes)
        if len(data) != sizes.sum():
            raise ChecksumMismatch("the payloads of a survey are not those that were written")
        for at in self.first + step:
            yield data[end[at] - sizes[at] : end[at]]


def write_survey(scratch: PutObject, shard: ShardIndex, patches: list[PatchSurvey]) -> None:
    """Leaves the two objects of ``patches``, the shard's, row by row. Raises what the store raises."""
    outcomes = [outcome for patch in patches for outcome in patch.steps]
    maps = PatchMaps.empty(len(outcomes), 1)
    for row, outcome in enumerate(outcomes):
        maps.record(row, 0, outcome)
    arrays: dict[str, Any] = {
        "counts": np.array([len(patch.steps) for patch in patches], np.uint8),
        "whole": np.array([patch.whole_bytes for patch in patches], np.uint32),
        "floors": np.array([patch.floor for patch in patches]),
        **maps.decision,
        **maps.quality,
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    scratch.put(payloads_key(shard), b"".join(outcome.payload for outcome in outcomes))
    scratch.put(steps_key(shard), buffer.getvalue())
