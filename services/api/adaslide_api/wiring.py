"""Where the API's parts meet."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from adaslide.backend import Backend
from adaslide.settings import Settings
from adaslide_api.gate import Gate
from adaslide_api.packages import OpenPackages, TileCache
from adaslide_api.registration import Registrar
from adaslide_api.submission import Submitter

LOOKING_UP, WAITING_LOOKUPS = 4, 512
READING_SLIDES, WAITING_SLIDES = 2, 16
"""Registrations that read their slide at the same time, and those that may wait."""


@dataclass(frozen=True, slots=True)
class Services:
    """What routes call."""

    settings: Settings
    backend: Backend
    registrar: Registrar
    submitter: Submitter
    packages: OpenPackages
    tiles: TileCache
    lookup: Gate
    """Which package is meant: short, and never behind a queue of decodes."""
    decode: Gate
    register: Gate


def build_services(backend: Backend) -> Services:
    """The API's parts on ``backend``."""
    settings, database, workspace = backend.settings, backend.database, backend.workspace
    limits = settings.limits
    threads = ThreadPoolExecutor(limits.decode_threads, thread_name_prefix="adaslide-decode")
    return Services(
        settings=settings,
        backend=backend,
        registrar=Registrar(settings, database, workspace.slides, workspace.sources),
        submitter=Submitter(database, settings.compression),
        packages=OpenPackages(database, workspace, limits.open_packages, threads),
        tiles=TileCache(limits.tile_cache_bytes),
        lookup=Gate(LOOKING_UP, WAITING_LOOKUPS),
        decode=Gate(limits.decode_threads, limits.decode_queue),
        register=Gate(READING_SLIDES, WAITING_SLIDES),
    )
