"""The service: `create_app` builds it, `serve` runs it with its worker until told to stop."""

import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

import uvicorn
from anyio import to_thread
from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from adaslide.settings import Settings
from adaslide_api import errors
from adaslide_api.guard import Guard
from adaslide_api.routes import health, jobs, package, pages, regions, slides, tiles
from adaslide_api.wiring import build_services
from adaslide_worker.main import EmbeddedWorker
from adaslide_worker.wiring import build_backend

GRACE_S = 3


def create_app(settings: Settings, *, worker: bool = True) -> FastAPI:
    """The service on ``settings``. Opens, makes and migrates its database.

    With ``worker`` the app's lifespan holds the embedded worker; without it jobs stay queued.
    Raises `Conflict` (when the lifespan begins) if another process owns the data folder.
    """
    backend = build_backend(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if not worker:
            yield
        else:
            embedded = EmbeddedWorker(backend)
            await to_thread.run_sync(embedded.__enter__)
            app.state.worker = embedded
            try:
                yield
            finally:
                await to_thread.run_sync(embedded.__exit__, None, None, None)
        backend.database.close()

    app = FastAPI(
        title="AdaSlide",
        version=version("adaslide"),
        summary="Adaptive, measured compression of whole-slide images",
        lifespan=lifespan,
        docs_url=None,  # the usual pages load scripts from elsewhere
        redoc_url=None,
    )
    app.state.services = build_services(backend)
    app.state.worker = None
    # Tiles come first: their paths would else be taken for a slide's name.
    for routes in (tiles, slides, regions, package, jobs, health, pages):
        app.include_router(routes.router)
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"), name="static")
    errors.install(app)
    app.add_middleware(Guard, settings=settings)
    return app


def serve(settings: Settings) -> None:
    """Listens until SIGINT or SIGTERM, then leaves jobs where they stand: the next start goes on.

    Raises `OSError` when the port is taken.
    """
    logging.getLogger("celery").setLevel(logging.WARNING)
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=settings.serving.host,
        port=settings.serving.port,
        log_level="warning",
        access_log=False,  # it would log paths, which may hold a caller's own name for a slide
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    with _listening(settings.serving.host, settings.serving.port) as listener:
        host, port = listener.getsockname()[:2]
        name = f"[{host}]" if ":" in host else host
        print(f"AdaSlide listens at http://{name}:{port}/", flush=True)
        uvicorn.Server(config).run(sockets=[listener])


def _listening(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return listener
