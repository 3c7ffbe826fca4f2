"""Services for end-to-end tests. What does not need one way of running is tested on both."""

import pytest

from e2e.processes import Cluster, Service


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
        if service.alive:
            service.stop()


@pytest.fixture(scope="session")
def start_cluster(postgres, valkey, s3, tmp_path_factory):
    """Starts clusters and makes sure that none is left behind."""
    started = []

    def start(**settings):
        cluster = Cluster(tmp_path_factory.mktemp("cluster"), postgres, valkey, s3, **settings)
        started.append(cluster)
        cluster.ready()
        return cluster

    yield start
    for cluster in started:
        cluster.stop()


@pytest.fixture(scope="session", params=["embedded", "cluster"])
def service(request, tmp_path_factory, sample_slide):
    """One service for all tests that leave others alone: in one process, and as two APIs with three
    workers. May read slides beside the sample."""
    root = sample_slide.parent
    if request.param == "embedded":
        start = request.getfixturevalue("start_service")
        return start(tmp_path_factory.mktemp("service") / "data", ALLOWED_ROOTS=root)
    return request.getfixturevalue("start_cluster")(ALLOWED_ROOTS=root)


@pytest.fixture(scope="session")
def archived(service, sample_slide):
    """The sample as the slide ``sample``, compressed with the default profile: its finished job."""
    service.client.put("/slides/sample", json={"uri": sample_slide.as_uri()}).raise_for_status()
    job = service.compress("sample")
    assert job["state"] == "succeeded", job
    return job
