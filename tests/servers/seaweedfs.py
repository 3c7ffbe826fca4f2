"""SeaweedFS: the S3 server. TEST_S3_ENDPOINT, TEST_S3_ACCESS_KEY, TEST_S3_SECRET_KEY name another one."""

import json
import os
import sysconfig
from pathlib import Path
from uuid import uuid4

import pytest

from adaslide.adapters.objects.s3_client import s3_client
from adaslide.settings import Store
from servers.process import Server, ServerProcess, free_ports, started

ACCESS_KEY, SECRET_KEY = "test-access", "test-secret"
READER_KEY, READER_SECRET = "test-reader", "test-reader-secret"
"""Of somebody who may read and list, in the server that the tests start."""
_IDENTITIES = {
    "identities": [
        {
            "name": "administrator",
            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        },
        {
            "name": "reader",
            "credentials": [{"accessKey": READER_KEY, "secretKey": READER_SECRET}],
            "actions": ["Read", "List"],
        },
    ]
}
PROBE = "probe"
TELEMETRY_OFF = "-master.telemetry=false"


class S3Server(Server):
    """An S3 server at ``endpoint`` and the keys of its administrator."""

    def __init__(self, endpoint, access_key, secret_key, process=None):
        super().__init__(process)
        self.endpoint, self.access_key, self.secret_key = endpoint, access_key, secret_key

    def settings(self, bucket=None, **more):
        """A `settings.Store` of this server; ``more`` wins."""
        own = {"endpoint": self.endpoint, "access_key": self.access_key, "secret_key": self.secret_key}
        return Store(**({"url": f"s3://{bucket}"} if bucket else {}) | own | more)

    def environment(self, bucket):
        """The same as ``ADASLIDE_STORE__*``, for a service in a process of its own."""
        return {
            "ADASLIDE_STORE__URL": f"s3://{bucket}",
            "ADASLIDE_STORE__ENDPOINT": self.endpoint,
            "ADASLIDE_STORE__ACCESS_KEY": self.access_key,
            "ADASLIDE_STORE__SECRET_KEY": self.secret_key,
        }

    def client(self, **more):
        """A boto3 client, made as the services make theirs."""
        return s3_client(self.settings(), **more)

    def reader(self):
        """Settings of somebody who may not write; skips where the server is not the tests' own."""
        assert self.pid
        return {"access_key": READER_KEY, "secret_key": READER_SECRET}

    def fresh_bucket(self):
        """The name of a new, empty bucket."""
        name = f"test-{uuid4().hex}"
        self.client().create_bucket(Bucket=name)
        return name


def serve(folder):
    """Yields an `S3Server`."""
    data = folder / "data"
    data.mkdir()
    s3_port, master, volume, filer, admin = free_ports(5)
    endpoint = f"http://127.0.0.1:{s3_port}"
    identities = folder / "identities.json"
    identities.write_text(json.dumps(_IDENTITIES))
    command = [
        Path(sysconfig.get_path("scripts")) / "weed",
        "mini",
        f"-dir={data}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-s3.port={s3_port}",
        f"-master.port={master}",
        f"-volume.port={volume}",
        f"-filer.port={filer}",
        f"-admin.port={admin}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-admin.ui=false",
        "-webdav=false",
        # A bucket that is not there is an error, as it is everywhere else.
        "-s3.autoCreateBucket=false",
        f"-s3.config={identities}",
        TELEMETRY_OFF,
    ]
    server = S3Server(endpoint, ACCESS_KEY, SECRET_KEY)

    def ready():
        # It answers before it can store, and when started again before it knows what it holds.
        client = server.client(attempts=1, read_s=5)
        try:
            return client.get_object(Bucket=PROBE, Key=PROBE)["Body"].read() == b"1"
        except client.exceptions.NoSuchBucket:
            client.create_bucket(Bucket=PROBE)
        except client.exceptions.NoSuchKey:
            client.put_object(Bucket=PROBE, Key=PROBE, Body=b"1")
        return False

    process = ServerProcess(command, folder / "log", ready, cwd=folder)
    server = S3Server(endpoint, ACCESS_KEY, SECRET_KEY, process)
    # In order it takes its time, for data that nobody needs any more.
    yield from started(process, server, end=ServerProcess.kill)


@pytest.fixture(scope="session")
def s3(tmp_path_factory):
    """An `S3Server`."""
    if endpoint := os.environ.get("TEST_S3_ENDPOINT"):
        yield S3Server(endpoint, os.environ["TEST_S3_ACCESS_KEY"], os.environ["TEST_S3_SECRET_KEY"])
        return
    yield from serve(tmp_path_factory.mktemp("s3"))
