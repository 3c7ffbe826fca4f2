"""The parts that serve, on real packages, without HTTP."""

from dataclasses import dataclass

import pytest

from adaslide import library, wiring
from adaslide.adapters.cache.memory import MemoryCache
from adaslide.codec_runtime import restorer_with
from adaslide.settings import Restoring
from adaslide_api.gate import Gate
from adaslide_api.packages import OpenPackage, PatchesOf
from adaslide_api.serving.net_queue import NetQueue
from adaslide_api.serving.renderer import Renderer


@dataclass
class Record:
    """The part of a package's row that serving uses."""

    id: str


@pytest.fixture
def open_with_memory():
    """Opens a package with a memory for its patches, or without."""

    def opened(path, memory=None):
        reader = library.open_package(path)
        scoped = PatchesOf("p1", memory) if memory is not None else None
        return OpenPackage(
            Record("p1"), wiring.folder_store(path), reader, wiring.restoration(reader, memory=scoped)
        )

    return opened


class CountedNets:
    """Restorers as installed, and how many images they were given."""

    def __init__(self):
        self.images = []

    def __call__(self, scale, digest):
        return Counted(restorer_with(scale, digest), self.images)


@dataclass
class Counted:
    restorer: object
    images: list

    @property
    def scale(self):
        return self.restorer.scale

    def restore(self, batch):
        self.images.extend(batch)
        return self.restorer.restore(batch)


@pytest.fixture
def make_renderer():
    """A renderer of two decoding threads; call it inside the loop."""

    def made(shared=None, restorers=restorer_with, decode_queue=64, **restoring):
        settings = Restoring(**{"threads": 2, **restoring})
        tiles = MemoryCache(2**24, lambda tile: len(tile.data))
        gates = Gate(2, decode_queue), Gate(2, 64)
        return Renderer(gates[0], NetQueue(restorers, settings), tiles, shared, gates[1])

    return made


@pytest.fixture
def counted_nets():
    return CountedNets()


@pytest.fixture
def patch_memory():
    return MemoryCache(2**26, lambda patch: patch.pixels.nbytes)
