"""Every restorer of this installation; which nets there are is only asked once one is named."""

from collections.abc import Iterator, Mapping
from functools import cached_property

from adaslide.adapters.inference.weights import released
from adaslide.adapters.restorers.bicubic import BicubicRestorer
from adaslide.adapters.restorers.onnx import OnnxRestorer
from adaslide.ports.restorer import Restorer

BICUBIC = b""
"""The key of the restorer without weights."""
PLAIN: Mapping[tuple[int, bytes], Restorer] = {(scale, BICUBIC): BicubicRestorer(scale) for scale in (2, 4)}


class InstalledRestorers(Mapping[tuple[int, bytes], Restorer]):
    """By (scale, sha256 of the weights). Picklable; loads no net.

    Bicubic is found whatever the folders of weights hold: who needs no net is not stopped by a bad one.
    Everything else raises `ModelError` for a folder that cannot be used.
    """

    def __getitem__(self, key: tuple[int, bytes]) -> Restorer:
        return PLAIN[key] if key[1] == BICUBIC else self._nets[key]

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        yield from PLAIN
        yield from self._nets

    def __len__(self) -> int:
        return len(PLAIN) + len(self._nets)

    @cached_property
    def _nets(self) -> dict[tuple[int, bytes], OnnxRestorer]:
        # Backwards, so that of two copies of one net the first runs, as with judges and agents.
        nets = [OnnxRestorer.of(weights) for weights in reversed(released()) if weights.kind == "restorer"]
        return {(net.scale, net.digest): net for net in nets}
