"""What every database promises of API keys and the audit log, on SQLite and on a real Postgres."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Thread

import pytest
import sqlalchemy as sa

from adaslide.adapters.db.ids import new_id
from adaslide.adapters.db.migrate import upgrade
from adaslide.adapters.db.session import SqlDatabase, create_engine
from adaslide.domain.access import Role
from adaslide.domain.audit import GENESIS, AuditEntry, AuditHead, Outcome, breaks
from adaslide.domain.errors import Conflict, NotFound
from adaslide.ports.security import ApiKeyRecord, AuditFilter

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
WRITERS, EACH = 4, 12
EVERYTHING = AuditFilter()


def key_record(**changes):
    key = ApiKeyRecord(new_id(), "north", frozenset({Role.VIEWER, Role.INTEGRATOR}), "d" * 64, NOW)
    return replace(key, **changes)


def entry(**changes):
    return replace(AuditEntry("north", "key-1", "slide.register", Outcome.OK, {"slide": new_id()}), **changes)


class SecurityContract:
    """The promises."""

    def write(self, database, *entries):
        records = []
        for one in entries:
            with database.write() as unit:
                records.append(unit.audit.append(one))
        return records

    def broken(self, database, anchor=None):
        with database.read() as unit:
            records = unit.audit.oldest(EVERYTHING, 10_000)
            return list(breaks(records, unit.audit.head, anchor))

    def tamper(self, engine, *statements):
        """As one with the database's own password could."""
        off, on = self.append_only_off_and_on
        with engine.begin() as connection:
            for statement in (*off, *statements, *on):
                connection.execute(sa.text(statement))

    def test_a_key_is_kept_as_it_was_made(self, database):
        key = key_record(expires_at=NOW + timedelta(days=1))
        with database.write() as unit:
            unit.api_keys.add(key)
        with database.read() as unit:
            assert unit.api_keys.find(key.id) == key
            assert unit.api_keys.find(new_id()) is None
        with pytest.raises(Conflict), database.write() as unit:
            unit.api_keys.add(key)

    def test_keys_of_one_tenant(self, database):
        keys = [key_record(), key_record(tenant="south"), key_record()]
        with database.write() as unit:
            for key in keys:
                unit.api_keys.add(key)
        newest_first = sorted(keys, key=lambda key: key.id, reverse=True)
        with database.read() as unit:
            assert unit.api_keys.all() == newest_first
            assert unit.api_keys.all("north") == [key for key in newest_first if key.tenant == "north"]

    def test_a_revoked_key_stays_revoked_since_the_first_time(self, database):
        key = key_record()
        with database.write() as unit:
            unit.api_keys.add(key)
            assert unit.api_keys.revoke(key.id, NOW).revoked_at == NOW
            assert unit.api_keys.revoke(key.id, NOW + timedelta(1)).revoked_at == NOW
        with pytest.raises(NotFound), database.write() as unit:
            unit.api_keys.revoke(new_id(), NOW)

    def test_uses_are_kept_to_the_hour(self, database):
        key = key_record()
        seen = []
        with database.write() as unit:
            unit.api_keys.add(key)
            for minutes in (0, 59, 60):
                unit.api_keys.used(key.id, NOW + timedelta(minutes=minutes))
                seen.append(unit.api_keys.find(key.id).last_used_at)
        assert seen == [NOW, NOW, NOW + timedelta(hours=1)]

    def test_the_chain_grows_from_its_beginning(self, database):
        with database.read() as unit:
            assert unit.audit.head() == GENESIS
        first, second = self.write(database, entry(), entry())
        assert (first.seq, first.previous, second.seq, second.previous) == (1, GENESIS.hash, 2, first.hash)
        with database.read() as unit:
            assert unit.audit.head() == AuditHead(2, second.hash)
            assert unit.audit.oldest(EVERYTHING, 10) == [first, second]
        assert self.broken(database) == []

    def test_what_is_undone_leaves_no_record(self, database):
        def fail():
            with database.write() as unit:
                unit.audit.append(entry())
                unit.api_keys.revoke(new_id(), NOW)

        with pytest.raises(NotFound):
            fail()
        with database.read() as unit:
            assert unit.audit.head() == GENESIS

    def test_writers_at_the_same_time_keep_one_chain(self, database):
        threads = [Thread(target=self.write, args=(database, *[entry()] * EACH)) for _ in range(WRITERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with database.read() as unit:
            assert unit.audit.head().seq == WRITERS * EACH
        assert self.broken(database) == []

    def test_records_are_found_and_paged(self, database):
        one, two, three = self.write(
            database,
            entry(),
            entry(tenant="south", principal="key-2", action="job.cancel", outcome=Outcome.DENIED),
            entry(),
        )

        def found(**wanted):
            with database.read() as unit:
                return unit.audit.newest(AuditFilter(**wanted), 10)

        assert found() == [three, two, one]
        assert found(tenant="north") == [three, one]
        assert (
            found(principal="key-2") == found(action="job.cancel") == found(outcome=Outcome.DENIED) == [two]
        )
        assert found(object_id=one.entry.objects["slide"]) == [one]
        assert found(object_id="%") == found(object_id="_" * 26) == []
        assert found(since=three.at) == [three]
        assert found(until=three.at) == [two, one]
        with database.read() as unit:
            assert unit.audit.newest(EVERYTHING, 1, before=3) == [two]
            assert unit.audit.oldest(EVERYTHING, 1, after=1) == [two]

    @pytest.mark.parametrize(
        ("change", "finds"),
        [
            ("UPDATE audit SET principal = 'key-9' WHERE seq = 2", "record 2 was changed"),
            ("UPDATE audit SET outcome = 'denied' WHERE seq = 2", "record 2 was changed"),
            ("UPDATE audit SET at = '2020-01-01 00:00:00' WHERE seq = 2", "record 2 was changed"),
            ("UPDATE audit SET objects = '{}' WHERE seq = 2", "record 2 was changed"),
            ("DELETE FROM audit WHERE seq = 2", "record 3 follows 1: records are missing or moved"),
            ("DELETE FROM audit WHERE seq = 1", "record 2 follows 0: records are missing or moved"),
            ("DELETE FROM audit WHERE seq = 4", "the chain ends with record 3, not with the 4"),
            ("DELETE FROM audit", "the chain ends with record 0, not with the 4"),
        ],
    )
    def test_a_changed_or_removed_record_is_found(self, database, engine, change, finds):
        self.write(database, *[entry() for _ in range(4)])
        self.tamper(engine, change)
        assert any(finds in problem for problem in self.broken(database))

    def test_records_that_changed_places_are_found(self, database, engine):
        self.write(database, *[entry() for _ in range(4)])
        self.tamper(
            engine,
            "UPDATE audit SET seq = 9 WHERE seq = 2",
            "UPDATE audit SET seq = 2 WHERE seq = 3",
            "UPDATE audit SET seq = 3 WHERE seq = 9",
        )
        problems = self.broken(database)
        assert {"record 2 does not continue 1", "record 3 does not continue 2"} <= set(problems)

    def test_a_chain_written_anew_is_found_by_what_was_noted(self, database, engine):
        noted = AuditHead(*[(r.seq, r.hash) for r in self.write(database, entry(), entry())][-1])
        self.tamper(engine, "DELETE FROM audit", f"UPDATE audit_head SET seq = 0, hash = '{GENESIS.hash}'")
        assert self.broken(database, noted) == ["record 2, which was noted, is gone"]
        self.write(database, entry(), entry(), entry())
        assert self.broken(database) == []
        assert self.broken(database, noted) == ["record 2 is not the one that was noted"]

    @pytest.mark.parametrize("change", ["UPDATE audit SET principal = 'x'", "DELETE FROM audit"])
    def test_the_log_is_append_only(self, database, engine, change):
        self.write(database, entry())
        with pytest.raises(sa.exc.DBAPIError, match="append-only"), engine.begin() as connection:
            connection.execute(sa.text(change))


class TestSqlite(SecurityContract):
    append_only_off_and_on = (["DROP TRIGGER audit_update", "DROP TRIGGER audit_delete"], [])

    @pytest.fixture
    def engine(self, tmp_path):
        engine = create_engine(f"sqlite:///{tmp_path / 'state.sqlite'}")
        upgrade(engine)
        yield engine
        engine.dispose()

    @pytest.fixture
    def database(self, engine):
        return SqlDatabase(engine, None)


class TestPostgres(SecurityContract):
    append_only_off_and_on = (
        ["ALTER TABLE audit DISABLE TRIGGER audit_append_only"],
        ["ALTER TABLE audit ENABLE TRIGGER audit_append_only"],
    )

    @pytest.fixture
    def engine(self, postgres):
        engine = create_engine(postgres.fresh_database())
        upgrade(engine)
        yield engine
        engine.dispose()

    @pytest.fixture
    def database(self, engine):
        return SqlDatabase(engine, None)

    def test_the_log_cannot_be_emptied_at_once(self, database, engine):
        self.write(database, entry())
        with pytest.raises(sa.exc.DBAPIError, match="append-only"), engine.begin() as connection:
            connection.execute(sa.text("TRUNCATE audit"))
