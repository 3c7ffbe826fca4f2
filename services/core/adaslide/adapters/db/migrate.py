"""Brings a database to the shape this version needs: Alembic, driven from code, scripts in the package.

Alembic is imported only where there is something to do: every process of the service looks, and loading it
takes longer than all else that opening a database needs.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from adaslide.domain.errors import StoreUnavailable

if TYPE_CHECKING:
    from alembic.config import Config

SCRIPTS = Path(__file__).parent / "migrations"
ONE_AT_A_TIME = 0x0ADA511DE
"""The advisory lock under which Postgres is migrated: several processes may start at once."""


def configuration(engine: sa.Engine) -> "Config":
    """Alembic's configuration for this package's scripts; no file is read."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.attributes["engine"] = engine
    return config


def upgrade(engine: sa.Engine) -> None:
    """Runs every migration that has not been run yet. Raises `StoreUnavailable`."""
    if _revision(engine) == head():
        return
    from alembic import command

    try:
        if engine.dialect.name != "postgresql":
            command.upgrade(configuration(engine), "head")
            return
        with engine.connect() as connection:
            connection.execute(sa.select(sa.func.pg_advisory_lock(ONE_AT_A_TIME)))
            try:
                command.upgrade(configuration(engine), "head")
            finally:
                connection.execute(sa.select(sa.func.pg_advisory_unlock(ONE_AT_A_TIME)))
    except OperationalError as error:
        raise StoreUnavailable("the database does not answer") from error


def check_current(engine: sa.Engine) -> None:
    """Raises `StoreUnavailable` unless the database has exactly the shape this version needs."""
    if _revision(engine) != head():
        raise StoreUnavailable("the database has not been migrated to this version: adaslide migrate")


def head() -> str:
    """The newest revision. Scripts are named by their revisions, which are numbers."""
    return max(script.name.partition("_")[0] for script in (SCRIPTS / "versions").glob("[0-9]*.py"))


def _revision(engine: sa.Engine) -> str | None:
    """The database's; None before its first migration."""
    try:
        with engine.connect() as connection:
            if not sa.inspect(connection).has_table("alembic_version"):
                return None
            found: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
            return found
    except OperationalError as error:
        raise StoreUnavailable("the database does not answer") from error
