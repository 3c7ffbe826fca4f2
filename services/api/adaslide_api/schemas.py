"""What goes in and out as JSON."""

import json
from dataclasses import asdict
from datetime import datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from adaslide.domain.job import JobKind, JobState, Urgency
from adaslide.pipeline.protected import canonical
from adaslide.ports.jobs import CompressRequest, JobRecord, JobRequest, PackageRecord, SlideRecord
from adaslide_api import examples

UrgencyWord = Literal["stat", "routine", "bulk"]
PatchWord = Literal[
    "corrupt", "proposed", "demoted", "promoted", "protected", "unknown_stain", "unknown_focus"
]


URGENCY_WORDS: dict[Urgency, UrgencyWord] = {
    Urgency.STAT: "stat",
    Urgency.ROUTINE: "routine",
    Urgency.BULK: "bulk",
}


class Body(BaseModel):
    """A request's body: what it does not know it refuses."""

    model_config = ConfigDict(extra="forbid")


class SourceBody(Body):
    """A slide that the service reads in place, or a complete upload (``upload:ID``)."""

    uri: str = Field(max_length=4096, examples=["file:///slides/one.svs"])


CALLBACK = Field(
    None,
    max_length=2048,
    description="Is told how the job ended, if the installation allows that host",
    examples=["https://lis.example/adaslide"],
)


class CompressBody(Body):
    """How to compress; everything has a default."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [examples.COMPRESS]})

    profile: str = Field("archive", max_length=64)
    lambda_: float | None = Field(None, alias="lambda", allow_inf_nan=False)
    target_ratio: float | None = Field(
        None,
        allow_inf_nan=False,
        description="Bytes of the source's tiles over those of the package, in the place of lambda",
    )
    dice_floor: float | None = Field(None, allow_inf_nan=False)
    mpp: float | None = Field(None, allow_inf_nan=False, description="Micrometres per pixel at level 0")
    protect: dict[str, Any] | list[Any] | None = Field(
        None,
        description="GeoJSON polygons in pixels of level 0, as QuPath exports them: nothing of these regions "
        "is restored. Only the outlines are kept",
    )
    source: SourceBody | None = Field(None, description="Registers the slide first if it is not known")
    callback_url: str | None = CALLBACK
    urgency: UrgencyWord = Field("routine", description="Whose shards go first; also ahead of other tenants'")

    def request(self) -> CompressRequest:
        protect = None if self.protect is None else canonical(self.protect)
        return CompressRequest(
            self.profile, self.lambda_, self.dice_floor, self.mpp, protect, self.target_ratio
        )


class HoldBody(Body):
    """Why something must not be removed."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [examples.HOLD]})

    reason: str = Field(
        min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$", examples=["court order 4711"]
    )


class HoldOut(BaseModel):
    """A legal hold: while it lasts, nothing it is on is removed. ``by`` is a principal's id."""

    reason: str
    by: str
    at: datetime


class RestoreBody(Body):
    """The file to make of a package."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [examples.RESTORE]})

    format: Literal["tiff", "original"] = Field(
        "tiff", description="original: the source's own tiles, of a package that holds all of them"
    )
    level: int = Field(0, ge=0, le=30, description="0 is full resolution; each level halves it")
    callback_url: str | None = CALLBACK


class PackageOut(BaseModel):
    """A finished package."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.PACKAGE]})

    id: str
    slide: str
    job: str
    profile: str
    created_at: datetime
    totals: dict[str, Any]
    hold: HoldOut | None
    links: dict[str, str]

    @classmethod
    def of(cls, package: PackageRecord) -> Self:
        slide = f"/slides/{package.slide_id}"
        chosen = f"?package={package.id}"
        return cls(
            id=package.id,
            slide=package.slide_id,
            job=package.job_id,
            profile=package.request.profile,
            created_at=package.created_at,
            totals=package.totals,
            hold=HoldOut(**package.hold) if package.hold else None,
            links={
                "slide": slide,
                "viewer": f"/viewer/{package.slide_id}{chosen}",
                "dzi": f"{slide}.dzi{chosen}",
                "zarr": f"{slide}/package/zarr.json{chosen}",
            },
        )


class SlideOut(BaseModel):
    """A registered slide."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.SLIDE]})

    id: str
    alias: str | None
    created_at: datetime
    sha256: str
    facts: dict[str, Any]
    packages: list[PackageOut]
    hold: HoldOut | None
    links: dict[str, str]

    @classmethod
    def of(cls, slide: SlideRecord, packages: list[PackageRecord]) -> Self:
        own = f"/slides/{slide.id}"
        return cls(
            id=slide.id,
            alias=slide.alias,
            created_at=slide.created_at,
            sha256=slide.sha256,
            facts=slide.facts,
            packages=[PackageOut.of(package) for package in packages],
            hold=HoldOut(**slide.hold) if slide.hold else None,
            links={"self": own, "compress": f"{own}/compress", "viewer": f"/viewer/{slide.id}"},
        )


class SlidePage(BaseModel):
    """Slides, newest first. ``next`` goes into ``?before=``; null ends the list."""

    items: list[SlideOut]
    next: str | None


class ResultOut(BaseModel):
    """A restored file, as long as it is kept. ``reencoded`` is what its JPEG costs against the restored
    pixels; null where it holds the source's own tiles."""

    format: str
    bytes: int
    sha256: str
    width: int
    height: int
    level: int
    reencoded: dict[str, float] | None


class Progress(BaseModel):
    """``done`` of ``total``; ``total`` is 0 until the slide was looked at."""

    done: int
    total: int
    unit: str = "patches"


def _asked(request: JobRequest) -> dict[str, Any]:
    """The request without the outlines of protected regions, which may be long: how many there are."""
    fields = {name.rstrip("_"): value for name, value in asdict(request).items()}
    if fields.get("protect") is not None:
        fields["protect"] = {"outlines": len(json.loads(fields["protect"]))}
    return fields


class JobOut(BaseModel):
    """A job. ``package`` is there once one that compresses has succeeded, until the package is removed;
    ``result`` once one that restores has, until it expires."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.JOB]})

    id: str
    slide: str
    alias: str | None
    kind: JobKind
    state: JobState
    urgency: UrgencyWord
    progress: Progress
    attempts: int
    problem: dict[str, Any] | None
    request: dict[str, Any]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    seconds: float
    package: PackageOut | None
    result: ResultOut | None
    links: dict[str, str]

    @classmethod
    def of(cls, job: JobRecord, slide: SlideRecord, package: PackageRecord | None = None) -> Self:
        own = f"/jobs/{job.id}"
        links = {"self": own, "events": f"{own}/events", "slide": f"/slides/{slide.id}"}
        if job.result is not None:
            links["result"] = f"{own}/result"
        return cls(
            id=job.id,
            slide=slide.id,
            alias=slide.alias,
            kind=job.kind,
            state=job.state,
            urgency=URGENCY_WORDS[job.urgency],
            progress=Progress(done=job.done, total=job.total),
            attempts=job.attempts,
            problem=job.problem,
            request=_asked(job.request),
            created_at=job.created_at,
            started_at=job.started_at,
            finished_at=job.finished_at,
            seconds=round(job.seconds, 3),
            package=PackageOut.of(package) if package else None,
            result=ResultOut.model_validate(job.result) if job.result else None,
            links=links,
        )


class JobPage(BaseModel):
    """Jobs, newest first. ``next`` goes into ``?before=``; null ends the list."""

    items: list[JobOut]
    next: str | None


class PatchOut(BaseModel):
    """What is known of one patch."""

    row: int
    col: int
    rung: str
    provenance: str
    bytes: int
    source_bytes: int
    restorer: str | None = Field(description="bicubic or NAME@DIGEST; null where nothing was restored")
    p_compress: float | None = Field(description="The agent's probability; null where none estimated it")
    flags: list[PatchWord] = Field(
        description="proposed: kept as was proposed first; demoted, promoted: moved to a safer, cheaper "
        "rung; protected, unknown_stain, unknown_focus: why nothing of it was restored"
    )
    measurements: int = Field(description="Candidates that were encoded, restored and measured")
    quality: dict[str, float | None]
