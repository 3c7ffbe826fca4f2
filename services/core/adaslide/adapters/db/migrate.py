"""Brings a database to the shape this version needs: Alembic, driven from code, scripts in the package."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import OperationalError

from adaslide.domain.errors import StoreUnavailable

SCRIPTS = Path(__file__).parent / "migrations"
ONE_AT_A_TIME = 0x0ADA511DE
"""The advisory lock under which Postgres is migrated: several processes may start at once."""


def configuration(engine: sa.Engine) -> Config:
    """Alembic's configuration for this package's scripts; no file is read."""
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.attributes["engine"] = engine
    return config


def upgrade(engine: sa.Engine) -> None:
    """Runs every migration that has not been run yet. Raises `StoreUnavailable`."""
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
    head = ScriptDirectory.from_config(configuration(engine)).get_current_head()
    try:
        with engine.connect() as connection:
            found = MigrationContext.configure(connection).get_current_revision()
    except OperationalError as error:
        raise StoreUnavailable("the database does not answer") from error
    if found != head:
        raise StoreUnavailable("the database has not been migrated to this version: adaslide migrate")
