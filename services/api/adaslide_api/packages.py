"""Open packages, and what is served of them."""

import json
from collections import OrderedDict
from concurrent.futures import Executor
from dataclasses import dataclass
from threading import Lock
from typing import Self

from adaslide.adapters.workspace import Workspace
from adaslide.addressing.deepzoom import DeepZoom
from adaslide.domain.errors import NotFound
from adaslide.package.reader import PackageReader
from adaslide.package.shard import crc32c
from adaslide.pipeline.restore import PatchView, Restoration, RestoredRegion
from adaslide.ports.cache import Cache
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


PatchCache = Cache[tuple[str, PatchView], RestoredRegion]
"""Decoded patches by package and view."""


@dataclass(frozen=True, slots=True)
class PatchesOf:
    """The part of a `PatchCache` that belongs to one package."""

    package_id: str
    patches: PatchCache

    def get(self, key: PatchView) -> RestoredRegion | None:
        return self.patches.get((self.package_id, key))

    def put(self, key: PatchView, value: RestoredRegion) -> None:
        self.patches.put((self.package_id, key), value)


class OpenPackages:
    """The packages lately used, by slide. Safe for use by many threads."""

    def __init__(
        self,
        database: Database,
        workspace: Workspace,
        keep: int,
        executor: Executor | None = None,
        patches: PatchCache | None = None,
    ) -> None:
        """``keep`` packages stay open; ``executor`` (threads) decodes a tile's patches side by side,
        ``patches`` keeps those of all packages."""
        self._database = database
        self._workspace = workspace
        self._keep = keep
        self._executor = executor
        self._patches = patches
        self._open: OrderedDict[str, OpenPackage] = OrderedDict()
        self._lock = Lock()

    def find(self, slide_key: str, package_id: str | None, tenant: str) -> PackageRecord:
        """A package of the tenant's slide (an id or an alias): the one named, else the newest.

        Raises `NotFound`.
        """
        with self._database.read() as unit:
            slide = unit.slides.find(slide_key, tenant)
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
        memory = PatchesOf(record.id, self._patches) if self._patches is not None else None
        package = OpenPackage(record, store, reader, restoration(reader, self._executor, memory))
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

    def pack(self) -> bytes:
        """The tile as bytes for a cache that other processes read: what `unpack` takes."""
        facts = [self.media_type, self.provenance, self.weights, crc32c(self.data).hex()]
        return json.dumps(facts).encode() + b"\n" + self.data

    @classmethod
    def unpack(cls, packed: bytes) -> Self | None:
        """The tile, or None where ``packed`` is none or not whole."""
        head, _, data = packed.partition(b"\n")
        try:
            media_type, provenance, weights, checksum = json.loads(head)
        except (TypeError, ValueError):
            return None
        return cls(data, media_type, provenance, weights) if checksum == crc32c(data).hex() else None
