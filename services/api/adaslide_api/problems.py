"""Every ``type`` of problem that the service answers with. docs/problems.md is the same table, for people."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

PROBLEM_TYPE = "application/problem+json"


class Problem(BaseModel):
    """A problem document (RFC 9457). Some have further members."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "type": "/problems/not-found",
                    "title": "Not found",
                    "status": 404,
                    "code": "not-found",
                    "detail": "no such slide",
                }
            ]
        },
    )

    type: str
    title: str
    status: int
    code: str
    detail: str


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """``responses=`` of a route that answers with these, besides what every route does (`openapi`)."""
    return {status: {"description": DESCRIPTIONS[status]} for status in statuses}


DESCRIPTIONS = {
    401: "The credential is missing or not valid",
    403: "Whoever asks may not",
    404: "There is no such thing",
    409: "It contradicts what is already there",
    412: "This version of the protocol is not spoken here; Tus-Version names the one that is",
    413: "Too large",
    415: "Not a format that is read",
    416: "The object has no such bytes",
    421: "The Host header is not one of this machine's own names",
    422: "The request does not have the form or the values it needs",
    500: "The service failed",
    503: "Try again later, after Retry-After",
    504: "The pixels were not there in time",
}


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a problem means and what helps."""

    status: int
    text: str


MEANINGS: dict[str, Meaning] = {
    "unauthenticated": Meaning(401, "The request carries no credential, or one that is not valid here."),
    "forbidden": Meaning(403, "Whoever asks is known but has none of the roles that this needs."),
    "restored-not-for-primary": Meaning(
        403,
        "Restored pixels were asked for primary diagnosis, which this site does not allow. `exact` names a "
        "package without restored patches, if there is one; `preview=true` shows what was stored.",
    ),
    "wrong-origin": Meaning(403, "A page of another site may not change anything here."),
    "not-found": Meaning(404, "There is no such thing, or it belongs to somebody else."),
    "method-not-allowed": Meaning(405, "This address knows the methods that `Allow` names."),
    "conflict": Meaning(409, "The request contradicts what is already there; `detail` says what."),
    "held": Meaning(409, "A legal hold forbids the removal. An approver may lift it."),
    "unsupported-protocol": Meaning(
        412, "The request does not say that it speaks tus 1.0.0; `Tus-Version` names what is spoken here."
    ),
    "slide-too-large": Meaning(413, "A slide, an upload, a region or a map is beyond this site's limits."),
    "too-large": Meaning(413, "The request is larger than the service reads."),
    "unsupported-format": Meaning(415, "The file is not a slide that this version can read."),
    "unsupported-media-type": Meaning(
        415, "The body is of a kind that is not read there; `detail` says which is."
    ),
    "range-not-satisfiable": Meaning(416, "The object has no such bytes; `Content-Range` says its size."),
    "wrong-host": Meaning(421, "Without users the service answers to this machine's own names only."),
    "invalid-input": Meaning(422, "A parameter or the body does not have the form or the values it needs."),
    "corrupt-slide": Meaning(422, "The slide is damaged, or its reader crashed or hung on it."),
    "missing-mpp": Meaning(422, "The slide does not say its micrometres per pixel: supply `mpp`."),
    "region-out-of-range": Meaning(422, "The region, level or patch lies outside the slide."),
    "profile-invalid": Meaning(422, "There is no such profile, or it does not allow these settings."),
    "ratio-out-of-reach": Meaning(
        422,
        "No package was found that has the size asked for and holds the floors; `detail` says which decides.",
    ),
    "internal": Meaning(500, "The service failed unexpectedly; its log says where."),
    "package-error": Meaning(500, "A package does not keep its promise. `adaslide verify` says where."),
    "checksum-mismatch": Meaning(500, "Stored bytes are not those that were written: the store is damaged."),
    "unsupported-version": Meaning(500, "A package was written by a newer version: update this one."),
    "quality-below-floor": Meaning(500, "A patch is below the floor that its package promises."),
    "model-error": Meaning(500, "A net failed."),
    "weights-missing": Meaning(500, "A net is needed that is not installed here (`adaslide doctor`)."),
    "digest-mismatch": Meaning(500, "Installed weights are not those that were named."),
    "runtime-mismatch": Meaning(500, "This machine's runtime gives other pixels than those measured."),
    "store-refused": Meaning(500, "The store says no: wrong keys, no such bucket, or a setting it lacks."),
    "unavailable": Meaning(503, "A part of the service does not work, or all places are taken."),
    "store-unavailable": Meaning(503, "The database or the store does not answer."),
    "broker-unavailable": Meaning(503, "The queue does not answer."),
    "identity-unavailable": Meaning(503, "The identity provider does not answer, so that nobody comes in."),
    "restore-timeout": Meaning(504, "The pixels were not there within the site's deadline."),
}
"""By code, in the order of their status."""


def as_markdown(codes: Iterable[str] = MEANINGS) -> str:
    """The table of docs/problems.md."""
    rows = (f"| `{code}` | {MEANINGS[code].status} | {MEANINGS[code].text} |" for code in codes)
    return "\n".join(("| Code | Status | Meaning |", "|---|---|---|", *rows))
