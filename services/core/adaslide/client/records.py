"""What the service answers, typed. ``data`` is the whole JSON, for members that are not named here."""

from dataclasses import dataclass, field
from typing import Any, Self

from adaslide.domain.job import JobKind, JobState, Urgency


@dataclass(frozen=True, slots=True)
class Package:
    """A finished package."""

    id: str
    slide: str
    job: str
    profile: str
    totals: dict[str, Any]
    held: bool
    data: dict[str, Any] = field(repr=False, compare=False)

    @classmethod
    def of(cls, data: dict[str, Any]) -> Self:
        """From the service's JSON."""
        return cls(
            data["id"],
            data["slide"],
            data["job"],
            data["profile"],
            data["totals"],
            data["hold"] is not None,
            data,
        )


@dataclass(frozen=True, slots=True)
class Slide:
    """A registered slide; ``packages`` newest first."""

    id: str
    alias: str | None = field(repr=False)
    """The caller's own name, which may name a patient: it stands in no repr."""
    sha256: str
    packages: tuple[Package, ...]
    held: bool
    data: dict[str, Any] = field(repr=False, compare=False)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels of full resolution."""
        return self.data["facts"]["width"], self.data["facts"]["height"]

    @classmethod
    def of(cls, data: dict[str, Any]) -> Self:
        """From the service's JSON."""
        packages = tuple(Package.of(package) for package in data["packages"])
        held = data["hold"] is not None
        return cls(data["id"], data["alias"], data["sha256"], packages, held, data)


@dataclass(frozen=True, slots=True)
class Result:
    """A file that a job restored."""

    bytes: int
    sha256: str
    format: str
    width: int
    height: int
    level: int

    @classmethod
    def of(cls, data: dict[str, Any]) -> Self:
        """From the service's JSON."""
        return cls(**{name: data[name] for name in cls.__slots__})


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it stood when asked for. ``done`` of ``total`` patches; ``total`` is 0 until planned."""

    id: str
    slide: str
    kind: JobKind
    state: JobState
    urgency: Urgency
    done: int
    total: int
    attempts: int
    problem: dict[str, Any] | None
    package: Package | None
    result: Result | None
    data: dict[str, Any] = field(repr=False, compare=False)

    @property
    def ended(self) -> bool:
        """Nothing happens to it by itself any more."""
        return self.state.terminal

    @classmethod
    def of(cls, data: dict[str, Any]) -> Self:
        """From the service's JSON."""
        return cls(
            id=data["id"],
            slide=data["slide"],
            kind=JobKind(data["kind"]),
            state=JobState(data["state"]),
            urgency=Urgency[data["urgency"].upper()],
            done=data["progress"]["done"],
            total=data["progress"]["total"],
            attempts=data["attempts"],
            problem=data["problem"],
            package=Package.of(data["package"]) if data["package"] else None,
            result=Result.of(data["result"]) if data["result"] else None,
            data=data,
        )
