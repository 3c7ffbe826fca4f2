"""The service: `create_app` builds it, `serve` runs it with its worker until told to stop."""

import logging
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

import uvicorn
from anyio import to_thread
from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from adaslide.backend import build_backend, owned
from adaslide.domain.errors import Unavailable
from adaslide.observability.process import observed_process
from adaslide.observability.readiness import Probe, Readiness, canary_probe
from adaslide.settings import Serving, Settings
from adaslide_api import errors
from adaslide_api.auditor import Auditor
from adaslide_api.guard import Guard
from adaslide_api.openapi import describe
from adaslide_api.routes import (
    audit,
    health,
    holds,
    jobs,
    metrics,
    package,
    pages,
    regions,
    restores,
    slides,
    tiles,
    tokens,
    uploads,
)
from adaslide_api.telemetry import TelemetryMiddleware
from adaslide_api.tus import TusMiddleware
from adaslide_api.wiring import build_services
from adaslide_worker.main import Worker
from adaslide_worker.wiring import build_probes

GRACE_S = 3
CANARY_LIMIT_S = 60.0
"""A worker that works consumes one every ten seconds."""
logger = logging.getLogger("adaslide_api")


def create_app(settings: Settings, *, worker: bool = True) -> FastAPI:
    """The service on ``settings``. Opens its database, and makes and migrates it where they say so.

    With ``worker`` and no broker the app's lifespan holds the embedded worker, and the caller owns the data
    folder (`backend.owned`); without it jobs wait for a worker elsewhere.
    """
    backend = build_backend(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if not (worker and settings.broker.embedded):
            yield
        else:
            embedded = Worker(backend, alone=True)
            await to_thread.run_sync(embedded.__enter__)
            app.state.worker = embedded
            try:
                yield
            finally:
                await to_thread.run_sync(embedded.__exit__, None, None, None)
        app.state.services.closing.close()
        backend.database.close()

    app = FastAPI(
        title="AdaSlide",
        version=version("adaslide"),
        summary="Adaptive, measured compression of whole-slide images",
        lifespan=lifespan,
        openapi_url=None,  # the route in `routes.health` says who may see it
        docs_url=None,  # the usual pages load scripts from elsewhere
        redoc_url=None,
    )
    app.state.services = build_services(backend)
    app.state.worker = None
    app.state.metrics = backend.metrics
    backend.metrics.watch(backend.gauges)
    probes = build_probes(backend)
    if not settings.broker.embedded:
        probes.append(canary_probe(backend.canary_age, CANARY_LIMIT_S))
    elif worker:
        probes.append(Probe("workers", lambda: _check_embedded(app)))
    app.state.readiness = Readiness(probes)
    # Tiles come first: their paths would else be taken for a slide's name.
    of_slides = (tiles, tokens, slides, regions, package, holds, restores)
    for routes in (*of_slides, uploads, jobs, audit, health, metrics, pages):
        app.include_router(routes.router)
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"), name="static")
    errors.install(app)
    describe(app, users=settings.auth.required)
    app.add_middleware(Guard, settings=settings)
    app.add_middleware(TusMiddleware)
    app.add_middleware(Auditor, database=backend.database)
    app.add_middleware(TelemetryMiddleware, metrics=app.state.metrics)
    return app


def _check_embedded(app: FastAPI) -> None:
    if app.state.worker is None or not app.state.worker.alive:
        raise Unavailable("the worker has stopped")


def serve(settings: Settings) -> None:
    """Listens until SIGINT or SIGTERM, then leaves jobs where they stand: the next start goes on.

    Raises `Conflict` when another service uses the data folder, `Unavailable` when the address is taken.
    """
    with owned(settings), _listening(settings.serving) as listener:
        _run(settings, listener)


def _run(settings: Settings, listener: socket.socket) -> None:
    if not (settings.serving.loopback or settings.auth.required):
        logger.warning("nobody has to say who they are: publish the port on this machine's loopback only")
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=settings.serving.host,
        port=settings.serving.port,
        log_config=None,
        access_log=False,  # it would log paths, which may hold a caller's own name for a slide
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    server = _Server(config)
    # Uvicorn raises the signal again once it has stopped in good order: that must not look like a crash.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: None)
    with observed_process(settings, "adaslide-api", app.state.metrics, app.state.readiness):
        server.run(sockets=[listener])
    if not server.started:
        raise Unavailable("the service did not start; its log says why")


class _Server(uvicorn.Server):
    """Says where it listens once it does."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and sockets:
            host, port = sockets[0].getsockname()[:2]
            name = f"[{host}]" if ":" in host else host
            print(f"AdaSlide listens at http://{name}:{port}/", flush=True)


def _listening(serving: Serving) -> socket.socket:
    try:
        found = socket.getaddrinfo(serving.host, serving.port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise Unavailable(f"there is no address {serving.host}") from error
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise Unavailable(f"{serving.host} port {serving.port} is taken or not this machine's") from error
    return listener
