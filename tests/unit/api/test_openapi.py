"""What the service says of itself is true: its examples, its problems, and who may ask."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from adaslide.domain.errors import AdaSlideError
from adaslide.settings import load_settings
from adaslide_api import schemas
from adaslide_api.errors import status_of
from adaslide_api.main import create_app
from adaslide_api.problems import MEANINGS, as_markdown
from integration.security.secured import served

ROOT = Path(__file__).parents[3]
SOURCES = sorted((ROOT / "services/api/adaslide_api").rglob("*.py"))


def tree(kind):
    return [kind, *(found for sub in kind.__subclasses__() for found in tree(sub))]


OURS = [kind for kind in tree(AdaSlideError) if kind.__module__ == AdaSlideError.__module__]


@pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.__name__)
def test_every_error_has_a_meaning_and_its_status(kind):
    assert MEANINGS[kind.code].status == status_of(kind(""))


def test_every_code_of_the_api_itself_has_one():
    told = re.compile(r'problem\(\s*\d+, "([a-z-]+)"')
    used = {code for path in SOURCES for code in told.findall(path.read_text())}
    assert {"wrong-host", "wrong-origin", "range-not-satisfiable"} <= used
    assert used <= set(MEANINGS)
    assert set(MEANINGS) == used | {kind.code for kind in OURS} | {"method-not-allowed", "too-large"}


def test_the_page_of_problems_is_the_same_table():
    assert as_markdown() in (ROOT / "docs/problems.md").read_text()


MODELS = [
    model
    for model in vars(schemas).values()
    if isinstance(model, type)
    and issubclass(model, BaseModel)
    and (model.model_config.get("json_schema_extra") or {}).get("examples")
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_examples_are_of_their_model(model):
    (example,) = model.model_config["json_schema_extra"]["examples"]
    assert set(example) <= {field.alias or name for name, field in model.model_fields.items()}
    assert model.model_validate(example)


def test_the_main_bodies_have_examples():
    names = {model.__name__ for model in MODELS}
    assert {"CompressBody", "RestoreBody", "HoldBody", "JobOut", "SlideOut", "PackageOut"} <= names


@pytest.fixture(params=["none", "required"])
def app(request, tmp_path):
    auth = {"mode": request.param}
    return create_app(
        load_settings(data_dir=tmp_path, auth=auth, broker={"queue": "openapi"}), worker=False
    ), request.param


def test_credentials_are_described(app):
    application, mode = app
    with served(application) as client:
        paths = client.get("/openapi.json").json()["paths"]
    keyed = [{"bearer": []}, {"apiKey": []}]
    anybody = [{}] if mode == "none" else []
    assert paths["/slides"]["post"]["security"] == keyed + anybody
    assert paths["/slides/{key}.dzi"]["get"]["security"] == [*keyed, {"tileToken": []}, *anybody]
    assert paths["/healthz"]["get"]["security"] == []
    assert "401" not in paths["/healthz"]["get"]["responses"]
    assert {"401", "403", "404", "409", "413", "421", "422", "503"} <= set(
        paths["/slides/{key}/compress"]["post"]["responses"]
    )


def test_every_problem_has_a_page(app):
    application, _ = app
    with served(application) as client:
        for code in MEANINGS:
            answer = client.get(f"/problems/{code}")
            assert (answer.status_code, str(MEANINGS[code].status) in answer.text) == (200, True)
        assert client.get("/problems/no-such").status_code == 404


def test_a_body_that_is_no_text_is_bad_input(tmp_path):
    application = create_app(load_settings(data_dir=tmp_path, broker={"queue": "openapi"}), worker=False)
    with served(application) as client:
        answer = client.post(
            "/slides/x/compress", content=b"\xff\xfe{", headers={"Content-Type": "application/json"}
        )
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-input")
