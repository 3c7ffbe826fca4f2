"""Commands of the service: ``adaslide serve | worker | migrate``. Each reads the settings and hands over."""

from typing import Annotated

import typer

from adaslide.terminal import console


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
) -> None:
    """Run the service; without a broker with its worker, database and folder in one process."""
    from adaslide.settings import load_settings
    from adaslide_api.main import serve as run

    given = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    run(load_settings(**({"serving": given} if given else {})))


def worker(
    queues: Annotated[str, typer.Option(help="What to work on, comma-separated.")] = "compress,export",
) -> None:
    """Run a worker in a process of its own; it needs a broker (ADASLIDE_BROKER__URL)."""
    from adaslide.settings import load_settings
    from adaslide_worker.main import run_worker

    run_worker(load_settings(), tuple(filter(None, queues.split(","))))


def migrate() -> None:
    """Bring the database to this version's shape; once, before the service of a cluster starts."""
    from adaslide.backend import migrate as run
    from adaslide.settings import load_settings

    run(load_settings())
    console.print("the database has this version's shape")


COMMANDS = (serve, worker, migrate)
