"""Where the API's parts meet."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

from adaslide.adapters.cache.memory import MemoryCache
from adaslide.adapters.cache.redis import RedisCache
from adaslide.adapters.identity.oidc import OidcVerifier
from adaslide.adapters.webhooks.rules import AllowedHosts
from adaslide.backend import Backend
from adaslide.codec_runtime import restorer_with
from adaslide.pipeline.restore import PatchView, RestoredRegion
from adaslide.ports.webhooks import CallbackRules
from adaslide.settings import CacheSettings, Settings
from adaslide_api.auth import Authenticator
from adaslide_api.gate import Gate
from adaslide_api.packages import OpenPackages, Tile
from adaslide_api.policy import RestoredPolicy
from adaslide_api.registration import Registrar
from adaslide_api.resumable import ResumableUploads
from adaslide_api.retention import Retention
from adaslide_api.serving.net_queue import NetQueue
from adaslide_api.serving.prefetch import Prefetcher
from adaslide_api.serving.renderer import Renderer
from adaslide_api.submission import Submitter
from adaslide_api.tile_tokens import TileTokens

LOOKING_UP, WAITING_LOOKUPS = 4, 512
SHARING, WAITING_SHARED = 2, 256
"""Calls of the shared cache at the same time, and those that may wait."""
READING_SLIDES, WAITING_SLIDES = 2, 16
"""Registrations that read their slide at the same time, and those that may wait."""


@dataclass(frozen=True, slots=True)
class Services:
    """What routes call."""

    settings: Settings
    backend: Backend
    auth: Authenticator
    tile_tokens: TileTokens
    restored: RestoredPolicy
    registrar: Registrar
    uploads: ResumableUploads
    submitter: Submitter
    retention: Retention
    callbacks: CallbackRules
    packages: OpenPackages
    renderer: Renderer
    prefetcher: Prefetcher | None
    lookup: Gate
    """Which package is meant: short, and never behind a queue of decodes."""
    decode: Gate
    register: Gate
    closing: ExitStack
    """Closed with the service: threads and connections."""


def build_services(backend: Backend) -> Services:
    """The API's parts on ``backend``."""
    settings, database, workspace = backend.settings, backend.database, backend.workspace
    auth, limits, restoring = settings.auth, settings.limits, settings.restoring
    tokens = None if auth.oidc is None else OidcVerifier(auth.oidc)
    threads = ThreadPoolExecutor(limits.decode_threads, thread_name_prefix="adaslide-patch")
    patches = MemoryCache[tuple[str, PatchView], RestoredRegion](limits.patch_cache_bytes, _patch_bytes)
    tiles = MemoryCache[str, Tile](limits.tile_cache_bytes, _tile_bytes)
    decode = Gate(limits.decode_threads, limits.decode_queue, "adaslide-decode")
    sharing = Gate(SHARING, WAITING_SHARED, "adaslide-cache")
    nets, shared = NetQueue(restorer_with, restoring), _shared_cache(settings.cache)
    renderer = Renderer(decode, nets, tiles, shared, sharing)
    prefetcher = Prefetcher(tiles, lambda: renderer.idle) if restoring.prefetch else None
    lookup = Gate(LOOKING_UP, WAITING_LOOKUPS, "adaslide-lookup")
    register = Gate(READING_SLIDES, WAITING_SLIDES, "adaslide-register")
    closing = ExitStack()
    uploads = ResumableUploads(settings, database, workspace.uploads)
    for part in (nets, shared, prefetcher, decode, sharing, lookup, register, uploads):
        if part is not None:
            closing.callback(part.close)
    closing.callback(threads.shutdown, wait=False, cancel_futures=True)
    return Services(
        settings=settings,
        backend=backend,
        auth=Authenticator(auth, database, tokens),
        tile_tokens=TileTokens(auth),
        restored=RestoredPolicy(settings.policy, database, decode),
        registrar=Registrar(settings, database, workspace),
        uploads=uploads,
        retention=Retention(database),
        callbacks=AllowedHosts(settings.webhooks),
        submitter=Submitter(database, settings.compression),
        packages=OpenPackages(database, workspace, limits.open_packages, threads, patches),
        renderer=renderer,
        prefetcher=prefetcher,
        lookup=lookup,
        decode=decode,
        register=register,
        closing=closing,
    )


def _shared_cache(settings: CacheSettings) -> RedisCache | None:
    if settings.url is None:
        return None
    return RedisCache(
        settings.url,
        ttl_s=settings.ttl_s,
        entry_bytes=settings.entry_bytes,
        timeout_s=settings.timeout_ms / 1000,
    )


def _tile_bytes(tile: Tile) -> int:
    return len(tile.data)


def _patch_bytes(patch: RestoredRegion) -> int:
    return patch.pixels.nbytes
