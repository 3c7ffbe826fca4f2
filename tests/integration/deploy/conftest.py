"""Servers of docker-compose.yml, started by its very commands from the same programs, without Docker."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import boto3
import botocore.config
import botocore.exceptions
import pytest
import yaml

ROOT = Path(__file__).parents[3]
START_S = 30
KEY, SECRET = "0c5f" * 12, "5f0c" * 12


@pytest.fixture(scope="session")
def compose_services():
    """The services of the stack."""
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


def free_ports(count):
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


@contextmanager
def running_program(command, folder, **environment):
    """The command until left, with ``environment`` alone beside PATH."""
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={"PATH": os.environ["PATH"], "HOME": str(folder), **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):  # ended by itself: what waited for it says why
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def until(attempt, error, process, folder):
    end = time.monotonic() + START_S
    while True:
        try:
            return attempt()
        except error:
            if time.monotonic() > end or process.poll() is not None:
                pytest.fail((folder / "log").read_text())
            time.sleep(0.05)


@pytest.fixture
def running():
    """``running(command, folder, **environment)``: a context that holds the process."""
    return running_program


@pytest.fixture
def weed(compose_services):
    """``weed(folder)``: the object store on a folder, as a context that gives a client of its keys."""

    @contextmanager
    def start(folder):
        program = shutil.which("weed", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        folder.mkdir(exist_ok=True)
        log = folder.with_name(f"{folder.name}-log")
        log.mkdir()
        s3, *others = free_ports(4)
        command = [
            part.replace("/data", str(folder)).replace("0.0.0.0", "127.0.0.1")
            for part in compose_services["object-store"]["command"]
        ]
        flags = zip(("master", "volume", "filer"), others, strict=True)
        ports = [f"-s3.port={s3}", *(f"-{name}.port={port}" for name, port in flags)]
        keys = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
        refused = (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError)
        with running_program([program, *command, "-ip=127.0.0.1", *ports], log, **keys) as process:
            client = s3_client(s3, SECRET)
            until(lambda: client.head_bucket(Bucket="adaslide"), refused, process, log)
            yield client

    return start


def s3_client(port, secret):
    return boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name="us-east-1",
        aws_access_key_id=KEY,
        aws_secret_access_key=secret,
        config=botocore.config.Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=10),
    )
