"""Every contestant and every rung, measured on every patch once: what all comparisons are drawn from."""

from collections.abc import Iterable
from concurrent.futures import Executor
from dataclasses import dataclass, replace

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

    def select(self, wanted: Iterable[bool]) -> "Table":
        """Some of the columns."""
        kept = np.flatnonzero(list(wanted))
        columns = tuple(self.columns[i] for i in kept)
        return replace(self, columns=columns, bytes=self.bytes[:, kept], fidelity=self.fidelity[:, kept])


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


def better_ways(rows: Rows, profile: Profile) -> tuple[Values, Values]:
    """((rungs,) bytes, (rungs, metrics) fidelity) of the ladder: of each rung the restorer that the encoder
    would keep where both hold or both fail, the net where it loses no Dice against bicubic."""
    sizes, values = [], []
    for spec in profile.ladder:
        ways = [row for row in rows if row[0].codec is None and row[0].setting == spec.name]
        least = ways[0][2].dice
        _, size, fidelity = max((way for way in ways if way[2].dice >= least), key=lambda way: way[2].dice)
        sizes.append(size)
        values.append([getattr(fidelity, metric) for metric in METRICS])
    return np.array(sizes, float), np.array(values, float)


def _by_net(payload: bytes) -> bool:
    params = Envelope.unpack(payload).params
    return isinstance(params, ImageParams) and bool(params.restorer_digest)


def measure(meter: CellMeter, patches: list[Pixels], executor: Executor) -> Table:
    """The table of ``patches``."""
    rows = list(executor.map(meter, patches))
    columns = tuple(column for column, _, _ in rows[0])
    sizes = np.array([[size for _, size, _ in row] for row in rows], float)
    values = [[[getattr(fidelity, m) for m in METRICS] for _, _, fidelity in row] for row in rows]
    return Table(columns, sizes, np.array(values, float))
