"""The servers of the tests: their data outlives a restart, and none is left behind."""

import subprocess
import sys
import time

import psutil
import pytest
import redis
import sqlalchemy as sa

from servers.process import ServerProcess


def test_objects_outlive_a_restart_and_a_kill(s3):
    bucket, client = s3.fresh_bucket(), s3.client()
    client.put_object(Bucket=bucket, Key="k", Body=b"kept")
    for end in (s3.stop, s3.kill):
        end()
        assert s3.pid is None
        s3.start()
        assert client.get_object(Bucket=bucket, Key="k")["Body"].read() == b"kept"


def test_rows_outlive_a_restart_and_a_kill(postgres):
    engine = sa.create_engine(postgres.fresh_database(), poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE t AS SELECT 7 AS n"))
    for end in (postgres.stop, postgres.kill):
        end()
        assert postgres.pid is None
        postgres.start()
        with engine.connect() as connection:
            assert connection.execute(sa.text("SELECT n FROM t")).scalar() == 7


def test_a_fresh_database_is_empty(postgres):
    first, second = postgres.fresh_database(), postgres.fresh_database()
    assert first != second
    tables = sa.inspect(sa.create_engine(second, poolclass=sa.NullPool)).get_table_names()
    assert first.startswith("postgresql+psycopg://")
    assert tables == []


def test_messages_outlive_a_restart_and_a_kill(valkey):
    url = valkey.fresh_database()
    assert url != valkey.fresh_database()
    with redis.Redis.from_url(url) as client:
        client.rpush("queue", "message")
    for end in (valkey.stop, valkey.kill):
        end()
        assert valkey.pid is None
        valkey.start()
        with redis.Redis.from_url(url) as client:
            assert client.lrange("queue", 0, -1) == [b"message"]


START_AND_DIE = """
import os, sys, pathlib
sys.path.insert(0, {tests!r})
from servers.process import ServerProcess
server = ServerProcess(["sleep", "300"], pathlib.Path({log!r}), lambda: True)
server.start()
print(server.pid, flush=True)
os._exit(1)
"""


def test_a_server_ends_with_tests_that_were_killed(tmp_path, request):
    code = START_AND_DIE.format(tests=str(request.config.rootpath / "tests"), log=str(tmp_path / "log"))
    died = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    pid = int(died.stdout)
    end = time.monotonic() + 10
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_server_that_does_not_start_says_why(tmp_path):

    server = ServerProcess(["sh", "-c", "echo no such disk; exit 1"], tmp_path / "log", lambda: False)
    with pytest.raises(RuntimeError, match="no such disk"):
        server.start()
    assert not server.running
