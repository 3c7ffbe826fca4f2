"""The service's description of itself: what FastAPI finds, with credentials and every refusal added."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import iter_route_contexts

from adaslide_api.access import TOKEN_PARAMETER, Requirement
from adaslide_api.auth import KEY_HEADER
from adaslide_api.guard import SAFE_METHODS
from adaslide_api.problems import DESCRIPTIONS, PROBLEM_TYPE, Problem

REFERENCE = {"schema": {"$ref": "#/components/schemas/Problem"}}
SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, or a token of the provider"},
    "apiKey": {"type": "apiKey", "in": "header", "name": KEY_HEADER},
    "tileToken": {
        "type": "apiKey",
        "in": "query",
        "name": TOKEN_PARAMETER,
        "description": "From /slides/{id}/tile-token; with the slide's id, not its name",
    },
}
ALWAYS = (421, 500, 503)


def describe(app: FastAPI, *, users: bool) -> None:
    """Makes `app.openapi` say more; without ``users`` a credential may be left out."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _described(app, users=users)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way


def _described(app: FastAPI, *, users: bool) -> dict[str, Any]:
    schema = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
    parts = schema.setdefault("components", {})
    parts["securitySchemes"] = SCHEMES
    schemas = parts["schemas"]
    schemas["Problem"] = Problem.model_json_schema()
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    for route in iter_route_contexts(app.routes):
        for method in route.methods or ():
            operation = schema["paths"].get(route.path_format, {}).get(method.lower())
            if operation is not None:
                _complete(operation, method, _requirement(route), users=users)
    return schema


def _requirement(route: Any) -> Requirement:
    found: Requirement = next(d.call for d in route.dependant.dependencies if isinstance(d.call, Requirement))
    return found


def _complete(operation: dict[str, Any], method: str, needs: Requirement, *, users: bool) -> None:
    operation["security"] = _security(needs, users=users)
    refusals = set(ALWAYS)
    if needs.roles:
        refusals |= {401, 403}
    if method not in SAFE_METHODS:
        refusals.add(403)
    if operation.get("parameters"):
        refusals |= {404, 422}
    if "requestBody" in operation:
        refusals |= {413, 422}
    responses = operation["responses"]
    for status in refusals:
        responses.setdefault(str(status), {"description": DESCRIPTIONS[status]})
    for status, response in responses.items():
        if status >= "400":
            response["description"] = DESCRIPTIONS[int(status)]
            response["content"] = {PROBLEM_TYPE: REFERENCE}
    operation["responses"] = dict(sorted(responses.items()))


def _security(needs: Requirement, *, users: bool) -> list[dict[str, list[str]]]:
    if not needs.roles:
        return []
    credentials = ["bearer", "apiKey", *(["tileToken"] if needs.tile_token else [])]
    listed: list[dict[str, list[str]]] = [{name: []} for name in credentials]
    return listed if users else [*listed, {}]
