"""The whole API against its own description: whatever is sent, the answer is one that is documented.

A real server with a slide, two packages and a finished job. Examples are few and always the same, so that
this takes about a minute.
"""

import os
from dataclasses import dataclass

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from adaslide import library
from adaslide.settings import load_settings
from adaslide_api.main import create_app
from integration.security.secured import Secured, served

schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")

EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "15"))
CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
UNDOCUMENTED_FAILURES = {500, 501, 502, 504}
LAST = ("DELETE",)
"""Methods that take away what the others need."""


@dataclass
class Api:
    """A running service and its description."""

    secured: Secured
    schema: object
    upload: str

    @property
    def known(self):
        """What path parameters may be, beside what is made up."""
        return {
            "key": self.secured.slide,
            "job_id": self.secured.job,
            "package_id": self.secured.packages["exact"],
            "upload_id": self.upload,
            "path": "zarr.json",
            "layer": "rung",
            "name": "0_0.png",
            "level": 0,
            "row": 0,
            "col": 0,
        }


@pytest.fixture(scope="module")
def api(tmp_path_factory, restored_package):
    folder = tmp_path_factory.mktemp("packages")
    packages = {
        name: (path, library.compress(restored_package[0], path, profile="exact", mpp=0.499, workers=1))
        for name in ("exact", "newest")
        if (path := folder / f"{name}.zarr")
    }
    given_settings = {
        "data_dir": tmp_path_factory.mktemp("schemathesis") / "data",
        "broker": {"queue": "schemathesis"},
        "webhooks": {"hosts": "hooks.example", "secret": "whsec_" + "A" * 32},
        "compression": {"unfinished_jobs": 10_000, "unfinished_jobs_per_tenant": 10_000},
    }
    app = create_app(load_settings(**given_settings), worker=False)
    with served(app) as client:
        secured = Secured(app, client, None)
        secured.hold(tenant="default", **packages)
        schema = schemathesis.openapi.from_url(f"{client.base_url}/openapi.json")
        begun = client.post("/uploads", headers={"Tus-Resumable": "1.0.0", "Upload-Length": "1000000"})
        yield Api(secured, schema, begun.headers["location"].rpartition("/")[2])


def operations(schema):
    """Every operation, those that remove something last."""
    found = [result.ok() for result in schema.get_all_operations()]
    return sorted(found, key=lambda operation: operation.method.upper() in LAST)


def test_no_answer_is_undocumented(api):
    wrong, answered = {}, {}
    for operation in operations(api.schema):
        label = operation.label
        try:
            _examine(api, operation, answered.setdefault(label, set()))
        except Exception as error:  # every operation is examined, whatever the others did
            wrong[label] = error
    assert not wrong, "\n\n".join(f"{label}: {error}" for label, error in wrong.items())
    # It was not all refused: what is known was reached.
    assert sum(any(status < 300 for status in statuses) for statuses in answered.values()) > 20


def _examine(api, operation, statuses):
    @given(case=operation.as_strategy())
    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def examine(case):
        made_up = dict(case.path_parameters or {})
        for parameters in [made_up, {name: api.known.get(name, made_up[name]) for name in made_up}]:
            case.path_parameters = parameters
            response = case.call()
            statuses.add(response.status_code)
            assert response.status_code not in UNDOCUMENTED_FAILURES, response.text
            case.validate_response(response, checks=CHECKS)
            if not made_up:
                return

    examine()


def test_every_operation_is_described(api):
    described = api.schema.raw_schema
    assert set(described["components"]["securitySchemes"]) == {"bearer", "apiKey", "tileToken"}
    for path, operations_ in described["paths"].items():
        for method, operation in operations_.items():
            assert operation.get("description"), (method, path)
            for status, response in operation["responses"].items():
                if status >= "400":
                    assert list(response["content"]) == ["application/problem+json"], (method, path, status)
