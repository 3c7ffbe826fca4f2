"""Brings a database to the shape this version needs: Alembic, driven from code, scripts in the package."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

SCRIPTS = Path(__file__).parent / "migrations"


def configuration(engine: sa.Engine) -> Config:
    """Alembic's configuration for this package's scripts; no file is read."""
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.attributes["engine"] = engine
    return config


def upgrade(engine: sa.Engine) -> None:
    """Runs every migration that has not been run yet."""
    command.upgrade(configuration(engine), "head")
