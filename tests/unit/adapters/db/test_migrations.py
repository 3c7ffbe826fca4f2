"""The scripts make exactly the tables that the code declares, and can be taken back."""

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from adaslide.adapters.db.migrate import configuration, upgrade
from adaslide.adapters.db.session import create_engine
from adaslide.adapters.db.tables import Base


@pytest.fixture
def engine(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path / 'state.sqlite'}")
    yield engine
    engine.dispose()


def test_migrated_database_equals_the_declared_tables(engine):
    upgrade(engine)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


def test_upgrade_twice_changes_nothing(engine):
    upgrade(engine)
    upgrade(engine)
    assert set(sa.inspect(engine).get_table_names()) == {*Base.metadata.tables, "alembic_version"}


def test_downgrade_leaves_no_table(engine):
    upgrade(engine)
    command.downgrade(configuration(engine), "base")
    assert set(sa.inspect(engine).get_table_names()) == {"alembic_version"}


def test_sqlite_writes_ahead_and_holds_foreign_keys(engine):
    with engine.connect() as connection:
        assert connection.scalar(sa.text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(sa.text("PRAGMA foreign_keys")) == 1


@pytest.mark.parametrize("change", ["UPDATE job_events SET kind = 'x'", "DELETE FROM job_events"])
def test_the_log_is_append_only(engine, change):
    upgrade(engine)
    with engine.connect() as connection:
        connection.execute(
            sa.text("INSERT INTO slides VALUES ('s', NULL, 'f', 1, '{}', 'x', '2026-01-01')"),
        )
        connection.execute(
            sa.text(
                "INSERT INTO jobs VALUES ('j', 's', 'p', '{}', 'd', 'queued', 0, 0, 0,"
                " NULL, 0, 0, '2026-01-01', NULL, NULL)"
            )
        )
        connection.execute(
            sa.text("INSERT INTO job_events (job_id, at, kind, data) VALUES ('j', '2026-01-01', 's', '{}')")
        )
        with pytest.raises(sa.exc.IntegrityError, match="append-only"):
            connection.execute(sa.text(change))
