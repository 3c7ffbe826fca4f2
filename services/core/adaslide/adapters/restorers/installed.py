"""Every restorer of this installation; which nets there are is only asked once one is named."""

from collections.abc import Iterator, Mapping
from functools import cached_property

from adaslide.adapters.inference.weights import released
from adaslide.adapters.restorers.bicubic import BicubicRestorer
from adaslide.adapters.restorers.onnx import OnnxRestorer
from adaslide.domain.rung import THREE_QUARTERS, Scale
from adaslide.ports.restorer import Restorer

BICUBIC = b""
"""The key of the restorer without weights."""
SCALES: tuple[Scale, ...] = (THREE_QUARTERS, 2, 4)
PLAIN: Mapping[tuple[Scale, bytes], Restorer] = {(scale, BICUBIC): BicubicRestorer(scale) for scale in SCALES}


class InstalledRestorers(Mapping[tuple[Scale, bytes], Restorer]):
    """By (scale, sha256 of the weights). Picklable; loads no net.

    Bicubic is found whatever the folders of weights hold: who needs no net is not stopped by a bad one.
    Everything else raises `ModelError` for a folder that cannot be used.
    """

    def __getitem__(self, key: tuple[Scale, bytes]) -> Restorer:
        return PLAIN[key] if key[1] == BICUBIC else self._nets[key]

    def __iter__(self) -> Iterator[tuple[Scale, bytes]]:
        yield from PLAIN
        yield from self._nets

    def __len__(self) -> int:
        return len(PLAIN) + len(self._nets)

    @cached_property
    def _nets(self) -> dict[tuple[Scale, bytes], OnnxRestorer]:
        # Backwards, so that of two copies of one net the first runs, as with judges and agents.
        nets = [OnnxRestorer.of(weights) for weights in reversed(released()) if weights.kind == "restorer"]
        return {(net.scale, net.digest): net for net in nets}
