"""The database: engine, transactions, and the unit of work that sends messages after its commit."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from adaslide.adapters.db.jobs import SqlJobs
from adaslide.adapters.db.repositories import SqlIdempotencyKeys, SqlPackages, SqlSlides
from adaslide.adapters.db.security import SqlApiKeys, SqlAudit
from adaslide.domain.errors import StoreUnavailable
from adaslide.ports.jobs import IdempotencyRepository, JobRepository, PackageRepository, SlideRepository
from adaslide.ports.queue import Message, TaskQueue
from adaslide.ports.security import ApiKeyRepository, AuditRepository

BUSY_TIMEOUT_S = 30
"""How long a writer waits for another one."""


def create_engine(url: str) -> sa.Engine:
    """An engine; SQLite gets write-ahead logging, foreign keys and real transactions."""
    if not url.startswith("sqlite:"):
        return sa.create_engine(url, pool_pre_ping=True)
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})
    sa.event.listen(engine, "connect", _configure_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _configure_sqlite(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    # The driver begins transactions late and by its own rules; None leaves them to `_begin_sqlite`.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    # A writer takes the lock at once: one that reads first and writes later could only fail.
    reading = connection.get_execution_options().get("adaslide_reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


class SqlUnitOfWork:
    """`UnitOfWork` on one session."""

    def __init__(self, session: Session) -> None:
        self.slides: SlideRepository = SqlSlides(session)
        self.packages: PackageRepository = SqlPackages(session)
        self.jobs: JobRepository = SqlJobs(session)
        self.keys: IdempotencyRepository = SqlIdempotencyKeys(session)
        self.api_keys: ApiKeyRepository = SqlApiKeys(session)
        self.audit: AuditRepository = SqlAudit(session)
        self.messages: list[Message] = []

    def send(self, message: Message) -> None:
        self.messages.append(message)


class SqlDatabase:
    """`Database` on SQLAlchemy; ``queue`` receives what a committed unit of work sends."""

    def __init__(self, engine: sa.Engine, queue: TaskQueue) -> None:
        self._engine = engine
        self._reading = engine.execution_options(adaslide_reading=True)
        self._queue = queue

    @contextmanager
    def write(self) -> Iterator[SqlUnitOfWork]:
        with _typed_errors():
            with Session(self._engine) as session, session.begin():
                unit = SqlUnitOfWork(session)
                yield unit
            for message in unit.messages:
                self._queue.send(message)

    @contextmanager
    def read(self) -> Iterator[SqlUnitOfWork]:
        with _typed_errors(), Session(self._reading) as session:
            yield SqlUnitOfWork(session)

    def ping(self) -> None:
        with _typed_errors(), self._reading.connect() as connection:
            connection.execute(sa.text("SELECT 1"))

    def close(self) -> None:
        self._engine.dispose()


@contextmanager
def _typed_errors() -> Iterator[Any]:
    """A database that is locked, full or gone is `StoreUnavailable`: the same call may succeed later."""
    try:
        yield
    except OperationalError as error:
        raise StoreUnavailable("the database does not answer") from error
