"""The database: engine, transactions, and the unit of work that sends messages after its commit."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from adaslide.adapters.db.clock import db_now
from adaslide.adapters.db.ids import new_id
from adaslide.adapters.db.jobs import SqlJobs
from adaslide.adapters.db.repositories import SqlIdempotencyKeys, SqlPackages, SqlSlides
from adaslide.adapters.db.security import SqlApiKeys, SqlAudit
from adaslide.adapters.db.tables import JobRow, OutboxRow
from adaslide.adapters.db.uploads import SqlUploads
from adaslide.adapters.db.work import SqlWork
from adaslide.domain.errors import BrokerUnavailable, StoreUnavailable
from adaslide.ports.jobs import IdempotencyRepository, JobRepository, PackageRepository, SlideRepository
from adaslide.ports.queue import Message, TaskQueue
from adaslide.ports.security import ApiKeyRepository, AuditRepository
from adaslide.ports.uploads import UploadRepository
from adaslide.ports.work import WorkRepository

BUSY_TIMEOUT_S = 30
"""How long a writer waits for another one."""
CONNECT_TIMEOUT_S = 5
HANDOVER_S = 5.0
"""How long whoever wrote a message has to hand it to the queue before others may."""


def create_engine(url: str, pool: int = 8) -> sa.Engine:
    """An engine that keeps ``pool`` connections; SQLite gets write-ahead logging, foreign keys and real
    transactions."""
    if not url.startswith("sqlite:"):
        connect = {"connect_timeout": CONNECT_TIMEOUT_S}
        return sa.create_engine(
            url, pool_pre_ping=True, pool_size=pool, max_overflow=pool, connect_args=connect
        )
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
        self._session = session
        self.slides: SlideRepository = SqlSlides(session)
        self.uploads: UploadRepository = SqlUploads(session)
        self.packages: PackageRepository = SqlPackages(session)
        self.jobs: JobRepository = SqlJobs(session, self.send)
        self.keys: IdempotencyRepository = SqlIdempotencyKeys(session)
        self.api_keys: ApiKeyRepository = SqlApiKeys(session)
        self.audit: AuditRepository = SqlAudit(session)
        self.work: WorkRepository = SqlWork(session)
        self.doorbells: list[Message] = []
        self.outbox: dict[str, Message] = {}
        """By the id of their row: those to be sent as soon as the unit is committed."""

    def send(self, message: Message) -> None:
        if message.task.doorbell:
            self.doorbells.append(message)
            return
        row_id, due = new_id(), db_now() + message.delay
        late = due if message.delay else due + HANDOVER_S
        self._session.add(OutboxRow(id=row_id, task=message.task.value, args=list(message.args), due=late))
        self._session.execute(sa.update(JobRow).where(JobRow.id == message.args[0]).values(woken=due))
        if not message.delay:
            self.outbox[row_id] = message


class SqlDatabase:
    """`Database` on SQLAlchemy; ``queue`` receives what a committed unit of work sends."""

    def __init__(self, engine: sa.Engine, queue: TaskQueue) -> None:
        self._engine = engine
        self._reading = engine.execution_options(adaslide_reading=True)
        self._queue = queue

    @contextmanager
    def write(self) -> Iterator[SqlUnitOfWork]:
        with _typed_errors(), Session(self._engine) as session, session.begin():
            unit = SqlUnitOfWork(session)
            yield unit
        self._send(unit)

    def _send(self, unit: SqlUnitOfWork) -> None:
        """What could not be sent stays in the outbox, for whoever reconciles."""
        sent: list[str] = []
        with suppress(BrokerUnavailable):
            for row_id, message in unit.outbox.items():
                self._queue.send(message)
                sent.append(row_id)
            for message in unit.doorbells:
                self._queue.send(message)
        if sent:
            # Sent twice does no harm: the caller's own work is committed and must not seem to have failed.
            with (
                suppress(StoreUnavailable),
                _typed_errors(),
                Session(self._engine) as session,
                session.begin(),
            ):
                SqlWork(session).sent(sent)

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
    except (OperationalError, InterfaceError) as error:
        raise StoreUnavailable("the database does not answer") from error
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
        raise StoreUnavailable("the database does not answer") from error
