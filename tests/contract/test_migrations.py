"""The scripts make exactly the tables that the code declares, keep what is there, and can be taken back."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from adaslide.adapters.db.migrate import check_current, configuration, head, upgrade
from adaslide.adapters.db.session import create_engine
from adaslide.adapters.db.tables import Base
from adaslide.domain.errors import StoreUnavailable

SLIDE = "INSERT INTO slides (id, alias, source, staged, facts, sha256, created_at) VALUES "
JOB = (
    "INSERT INTO jobs (id, slide_id, package_id, request, request_digest, state, done, total, attempts,"
    " seconds, peak_rss_bytes, created_at, finished_at) VALUES "
)
PACKAGE = (
    "INSERT INTO packages (id, slide_id, job_id, request, request_digest, totals, created_at) VALUES "
    "('p', 's', 'j', '{}', 'd', '{}', '2026-01-01')"
)
SHARD = (
    "INSERT INTO shards (job_id, row, col, patches, done, finished, attempts)"
    " VALUES ('k', 0, 0, 4, 1, false, 1)"
)
EVENT = "INSERT INTO job_events (job_id, at, kind, data) VALUES ('j', '2026-01-01', 's', '{}')"


class MigrationContract:
    """What every kind of database must go through."""

    def test_migrated_database_equals_the_declared_tables(self, engine):
        upgrade(engine)
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            assert compare_metadata(context, Base.metadata) == []

    def test_the_newest_script_is_alembics_head(self, engine):
        assert ScriptDirectory.from_config(configuration(engine)).get_current_head() == head()

    def test_a_database_of_another_version_is_refused(self, engine):
        upgrade(engine)
        command.downgrade(configuration(engine), "-1")
        with pytest.raises(StoreUnavailable, match="migrate"):
            check_current(engine)

    def test_upgrade_twice_changes_nothing(self, engine):
        with pytest.raises(StoreUnavailable, match="migrate"):
            check_current(engine)
        upgrade(engine)
        upgrade(engine)
        check_current(engine)
        assert set(sa.inspect(engine).get_table_names()) == {*Base.metadata.tables, "alembic_version"}

    def test_downgrade_leaves_no_table(self, engine):
        upgrade(engine)
        command.downgrade(configuration(engine), "base")
        assert set(sa.inspect(engine).get_table_names()) == {"alembic_version"}

    def test_what_is_there_survives_both_ways(self, engine):
        command.upgrade(configuration(engine), "0001")
        with engine.begin() as connection:
            for row in (
                f"{SLIDE}('s', 'case', 'f', true, '{{}}', 'x', '2026-01-01')",
                f"{JOB}('j', 's', 'p', '{{}}', 'd', 'succeeded', 4, 4, 1, 1, 1, '2026-01-01', '2026-01-01')",
                f"{JOB}('k', 's', 'q', '{{}}', 'e', 'running', 1, 4, 1, 1, 1, '2026-01-01', NULL)",
                PACKAGE,
                SHARD,
                EVENT,
            ):
                connection.execute(sa.text(row))
        upgrade(engine)
        with engine.connect() as connection:
            slide = connection.execute(sa.text("SELECT tenant, alias, hold FROM slides")).one()
            assert slide == ("default", "case", None)
            assert connection.scalar(sa.text("SELECT location FROM packages")) == "p.zarr"
            # Half-done work began under other rules: it begins again.
            assert connection.scalar(sa.text("SELECT count(*) FROM shards")) == 0
            assert connection.scalar(sa.text("SELECT total FROM jobs WHERE id = 'k'")) == 0
        command.downgrade(configuration(engine), "0001")
        with engine.connect() as connection:
            assert connection.scalar(sa.text("SELECT alias FROM slides")) == "case"
            assert connection.scalar(sa.text("SELECT count(*) FROM job_events")) == 1

    @pytest.mark.parametrize("change", ["UPDATE job_events SET kind = 'x'", "DELETE FROM job_events"])
    def test_the_log_is_append_only(self, engine, change):
        upgrade(engine)
        with engine.connect() as connection:
            for row in (
                f"{SLIDE}('s', NULL, 'f', true, '{{}}', 'x', '2026-01-01')",
                f"{JOB}('j', 's', 'p', '{{}}', 'd', 'queued', 0, 0, 0, 0, 0, '2026-01-01', NULL)",
                EVENT,
            ):
                connection.execute(sa.text(row))
            with pytest.raises(sa.exc.IntegrityError, match="append-only"):
                connection.execute(sa.text(change))


class TestSqlite(MigrationContract):
    """The embedded database."""

    @pytest.fixture
    def engine(self, tmp_path):
        engine = create_engine(f"sqlite:///{tmp_path / 'state.sqlite'}")
        yield engine
        engine.dispose()

    def test_sqlite_writes_ahead_and_holds_foreign_keys(self, engine):
        upgrade(engine)
        with engine.connect() as connection:
            assert connection.scalar(sa.text("PRAGMA journal_mode")) == "wal"
            assert connection.scalar(sa.text("PRAGMA foreign_keys")) == 1


class TestPostgres(MigrationContract):
    """The cluster's database."""

    @pytest.fixture
    def engine(self, postgres):
        engine = create_engine(postgres.fresh_database())
        yield engine
        engine.dispose()

    def test_many_processes_may_start_at_once(self, engine):
        with ThreadPoolExecutor(4) as executor:
            list(executor.map(lambda _: upgrade(engine), range(4)))
        check_current(engine)
