"""Open packages and the tiles lately made of them."""

from collections import OrderedDict
from concurrent.futures import Executor
from dataclasses import dataclass
from threading import Lock
from typing import Self

from adaslide.adapters.workspace import Workspace
from adaslide.addressing.deepzoom import DeepZoom
from adaslide.domain.errors import NotFound
from adaslide.package.reader import PackageReader
from adaslide.pipeline.restore import Restoration, RestoredRegion
from adaslide.ports.jobs import Database, PackageRecord
from adaslide.ports.objects import ReadStore
from adaslide.wiring import restoration
from adaslide_api.images import ENCODERS


@dataclass(frozen=True, slots=True)
class OpenPackage:
    """A finished package, its metadata read and its shard indices cached."""

    record: PackageRecord
    store: ReadStore
    reader: PackageReader
    restoration: Restoration

    @property
    def deepzoom(self) -> DeepZoom:
        """Tiles are patches: one decode each at full resolution."""
        return DeepZoom(self.reader.info.size, self.reader.info.patch)


class OpenPackages:
    """The packages lately used, by slide. Safe for use by many threads."""

    def __init__(
        self, database: Database, workspace: Workspace, keep: int, executor: Executor | None = None
    ) -> None:
        """``keep`` packages stay open; ``executor`` (threads) decodes a tile's patches side by side."""
        self._database = database
        self._workspace = workspace
        self._keep = keep
        self._executor = executor
        self._open: OrderedDict[str, OpenPackage] = OrderedDict()
        self._lock = Lock()

    def find(self, slide_key: str, package_id: str | None = None) -> PackageRecord:
        """A package of the slide (an id or an alias): the one named, else the newest. Raises `NotFound`."""
        with self._database.read() as unit:
            slide = unit.slides.find(slide_key)
            found = unit.packages.of_slide(slide.id)
        wanted = [package for package in found if package_id in (None, package.id)]
        if not wanted:
            raise NotFound("the slide has no such package")
        return wanted[0]

    def open(self, record: PackageRecord) -> OpenPackage:
        """The package, from those already open if it is there. Raises `PackageError`."""
        with self._lock:
            package = self._open.get(record.id)
            if package is not None:
                self._open.move_to_end(record.id)
                return package
        store = self._workspace.package(record.location)
        reader = PackageReader(store)
        package = OpenPackage(record, store, reader, restoration(reader, self._executor))
        with self._lock:
            self._open[record.id] = package
            if len(self._open) > self._keep:
                self._open.popitem(last=False)
        return package


@dataclass(frozen=True, slots=True)
class Tile:
    """An encoded tile and what its headers say."""

    data: bytes
    media_type: str
    provenance: str
    weights: str = ""

    @classmethod
    def of(cls, restored: RestoredRegion, suffix: str) -> Self:
        """``restored`` encoded as ``suffix``."""
        media_type, encode = ENCODERS[suffix]
        weights = ", ".join(sorted(restored.weights))
        return cls(encode(restored.pixels), media_type, restored.provenance.value, weights)

    @property
    def headers(self) -> dict[str, str]:
        """Where the pixels come from; the nets only where one synthesised some of them."""
        told = {"X-AdaSlide-Provenance": self.provenance}
        return told | ({"X-AdaSlide-Weights": self.weights} if self.weights else {})


class TileCache:
    """Encoded tiles by their ETag, the least recently used leave first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._tiles: OrderedDict[str, Tile] = OrderedDict()
        self._lock = Lock()

    def get(self, tag: str) -> Tile | None:
        with self._lock:
            tile = self._tiles.get(tag)
            if tile is not None:
                self._tiles.move_to_end(tag)
            return tile

    def put(self, tag: str, tile: Tile) -> None:
        with self._lock:
            if tag in self._tiles:
                return
            self._tiles[tag] = tile
            self._used += len(tile.data)
            while self._used > self._limit:
                _, gone = self._tiles.popitem(last=False)
                self._used -= len(gone.data)
