"""Services for end-to-end tests. What has a meaning in both ways of running is tested in both."""

import os

import pytest

from e2e.services import Cluster, Service
from servers.collector import Collector
from servers.receiver import SECRET


@pytest.fixture(scope="session")
def start_service():
    """Starts embedded services and makes sure that none is left behind."""
    started = []

    def start(data, **settings):
        service = Service(data, **settings)
        started.append(service)
        service.ready()
        return service

    yield start
    for service in started:
        service.stop()


@pytest.fixture(scope="session")
def collector():
    """What receives the traces of `service`."""
    collector = Collector()
    yield collector
    collector.close()


@pytest.fixture(scope="session")
def inbox(tmp_path_factory):
    """A folder whose slides `service` may read in place."""
    return tmp_path_factory.mktemp("inbox")


@pytest.fixture(scope="session")
def shared_settings(sample_slide, inbox, collector):
    """Of the service that tests share."""
    return {
        "ALLOWED_ROOTS": os.pathsep.join([str(sample_slide.parent), str(inbox)]),
        "TELEMETRY__ENDPOINT": collector.url,
        "WEBHOOKS__HOSTS": "localhost",
        "WEBHOOKS__SECRET": SECRET,
        "WEBHOOKS__ALLOW_PRIVATE": "true",
    }


@pytest.fixture(scope="session")
def embedded(start_service, shared_settings, tmp_path_factory):
    """`adaslide serve`."""
    return start_service(tmp_path_factory.mktemp("service") / "data", **shared_settings)


@pytest.fixture(scope="session")
def cluster(postgres, valkey, s3, shared_settings, tmp_path_factory):
    """Two APIs and three workers on real servers."""
    cluster = Cluster(tmp_path_factory.mktemp("cluster"), postgres, valkey, s3, **shared_settings)
    try:
        cluster.ready()
        yield cluster
    finally:
        statuses = cluster.stop()
    assert set(statuses) == {0}


@pytest.fixture(scope="session", params=["embedded", "cluster"])
def service(request):
    """One service for all tests that leave it as they found it: in one process, and as a cluster."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def archived(service, sample_slide):
    """The sample as the slide ``sample``, compressed with the default profile: its finished job."""
    service.client.put("/slides/sample", json={"uri": sample_slide.as_uri()}).raise_for_status()
    job = service.compress("sample")
    assert job["state"] == "succeeded", job
    return job
