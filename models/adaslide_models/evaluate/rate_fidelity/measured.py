"""Every contestant and every rung, measured on every patch once: what all comparisons are drawn from."""

from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adaslide import wiring
from adaslide.adapters.inference.weights import weights_pinned
from adaslide.codec_runtime import rung_codecs
from adaslide.domain.fidelity import METRICS, Fidelity, Floors
from adaslide.domain.pixels import Pixels
from adaslide.domain.profile import PROFILES, Profile
from adaslide.domain.rung import Rung
from adaslide.package.envelope import Envelope, ImageParams
from adaslide.pipeline.encode_patch import LOSSLESS
from adaslide.pipeline.measure import Measurer
from adaslide.ports.rungs import PatchSource, SupportsAlternatives
from adaslide_models.evaluate.rate_fidelity.contestants import CODECS, contestants

Values = npt.NDArray[np.float64]
PAPER = PROFILES["paper"]


@dataclass(frozen=True, slots=True)
class Column:
    """What one column of a table is: a uniform setting (``codec``, ``setting``), or a rung of the ladder
    (``codec`` is None) under a restorer: bicubic, or the net that ``by_net`` is True for."""

    codec: str | None
    setting: str
    rung: Rung | None = None
    by_net: bool = False

    @property
    def name(self) -> str:
        if self.codec is not None:
            return f"{self.codec} {self.setting}"
        return self.setting + (" + net" if self.by_net else "")


Rows = list[tuple[Column, int, Fidelity]]
"""What was measured of one patch: bytes and fidelity of every column."""


@dataclass(frozen=True, slots=True)
class Table:
    """``bytes`` is (n patches, columns), ``fidelity`` (n patches, columns, metrics in the order of
    `METRICS`)."""

    columns: tuple[Column, ...]
    bytes: Values
    fidelity: Values

    def metric(self, name: str) -> Values:
        """(n patches, columns)."""
        return self.fidelity[:, :, METRICS.index(name)]

    def held(self, floors: Floors, *, margin: bool = False) -> npt.NDArray[np.bool_]:
        """(n patches, columns): whether all floors are held."""
        extra = floors.margin if margin else 0.0
        held = np.ones(self.bytes.shape, bool)
        for name, floor in floors.as_dict().items():
            if floor > 0:
                held &= self.metric(name) >= min(floor + extra, 1.0)
        return held


@dataclass(frozen=True, slots=True)
class CellMeter:
    """Measures one patch in every way. Picklable: processes are sent one.

    ``profile`` gives the ladder, its restorers and the judges. With ``codecs`` their settings are measured
    beside it, the published pair of rungs, and lossless as the last resort.
    """

    profile: Profile
    mpp: float
    codecs: tuple[str, ...] = CODECS

    def __call__(self, pixels: Pixels) -> Rows:
        profile = self.profile
        second = wiring.judge_named(profile.second_judge, self.mpp) if profile.second_judge else None
        measurer = Measurer(pixels, self.mpp, wiring.judge_named(profile.judge, self.mpp), second)
        rows = []
        for one in contestants(self.codecs):
            body = one.encode(pixels)
            rows.append((Column(one.codec, one.setting), len(body), measurer.measure(one.decode(body))))
        source = PatchSource(pixels, pixels.shape[1], pixels.shape[0])
        ours = rung_codecs(tuple(weights_pinned(pin).digest for pin in profile.restorers))
        for spec in (*profile.ladder, *((*PAPER.ladder, LOSSLESS) if self.codecs else ())):
            codec = ours[spec.rung]
            payload = codec.encode(source, spec)
            ways = codec.alternatives(payload) if isinstance(codec, SupportsAlternatives) else [payload]
            for way in ways:
                fidelity = measurer.measure(codec.decode(way, len(pixels)))
                rows.append((Column(None, spec.name, spec.rung, _by_net(way)), len(way), fidelity))
        return rows


def _by_net(payload: bytes) -> bool:
    params = Envelope.unpack(payload).params
    return isinstance(params, ImageParams) and bool(params.restorer_digest)


def measure(meter: CellMeter, patches: list[Pixels], executor: Executor) -> Table:
    """The table of ``patches``."""
    return tabled(list(executor.map(meter, patches)))


def tabled(rows: list[Rows]) -> Table:
    """What was measured of some patches, all in the same ways, as one table."""
    columns = tuple(column for column, _, _ in rows[0])
    sizes = np.array([[size for _, size, _ in row] for row in rows], float)
    values = [[[getattr(fidelity, m) for m in METRICS] for _, _, fidelity in row] for row in rows]
    return Table(columns, sizes, np.array(values, float))


def ladder_of(table: Table, profile: Profile) -> tuple[Values, Values]:
    """((n, rungs) bytes, (n, rungs, metrics) fidelity) of the ladder, each rung by the restorer of
    the better Dice: the one that the encoder keeps, but where only the other holds every floor."""
    sizes, values = [], []
    every = np.arange(len(table.bytes))
    dice = table.metric("dice")
    for spec in profile.ladder:
        ways = [i for i, c in enumerate(table.columns) if c.codec is None and c.setting == spec.name]
        best = np.array(ways)[dice[:, ways].argmax(axis=1)]
        sizes.append(table.bytes[every, best])
        values.append(table.fidelity[every, best])
    return np.stack(sizes, axis=1), np.stack(values, axis=1)
