"""The client."""

import hashlib
import io
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote
from uuid import uuid4

import httpx
import numpy as np

from adaslide.client import upload
from adaslide.client.follow import Progress, follow
from adaslide.client.problems import error_of
from adaslide.client.records import Job, Package, Slide
from adaslide.client.transport import Transport
from adaslide.domain.access import Use
from adaslide.domain.errors import ChecksumMismatch, InputError, NotFound
from adaslide.domain.job import JobState, Urgency
from adaslide.domain.pixels import Pixels

PAGE = 200


class Client:
    """A service at ``base_url``. Slides are named by id or by the caller's own name.

    Every method raises what the service answers, as the errors of `adaslide.domain.errors`, and `Unavailable`
    when it does not answer. A busy service (503) is asked again, ``attempts`` times in all, after the time
    that it names. Safe for use by several threads.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        *,
        timeout: float = 60.0,
        attempts: int = 5,
        use: Use | None = None,
        verify: Any = True,
    ) -> None:
        """``timeout`` is seconds without a byte; ``use`` is what pixels are for (`Use.SECONDARY` unless
        said); ``verify`` as in httpx."""
        headers = {"X-Api-Key": api_key} if api_key else {}
        if use is not None:
            headers["X-AdaSlide-Use"] = use.value
        http = httpx.Client(
            base_url=base_url, headers=headers, timeout=timeout, verify=verify, trust_env=False
        )
        self._transport = Transport(http, attempts)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends its connections."""
        self._transport.http.close()

    # Slides

    def register(self, source: str | Path, alias: str | None = None) -> Slide:
        """The slide at ``source``: a path is uploaded (`upload`); a URI (``file://``, ``s3://``) is read in
        place by the service. With an ``alias`` the same slide twice is one slide."""
        if not (isinstance(source, str) and "://" in source):
            return self.upload(Path(source), alias)
        method, path = _registering(alias)
        answer = self._transport.send(method, path, again=alias is not None, json={"uri": source})
        return Slide.of(answer.json())

    def begin_upload(self, path: Path) -> str:
        """The id of a new upload for the file at ``path``: note it, so that `upload` can go on with it after
        a restart. It expires a day after its last bytes, unless the service says otherwise."""
        return upload.begin(self._transport, path)

    def upload(
        self,
        path: Path,
        alias: str | None = None,
        *,
        resume: str | None = None,
        on_progress: Progress | None = None,
    ) -> Slide:
        """The slide at ``path``, sent over connections that may break; ``resume`` goes on with the upload of
        that id (`begin_upload`). ``on_progress`` is told (bytes kept, bytes in all) at each beginning.

        Raises `Unavailable` when it does not get on, `NotFound` for an upload that has expired, and
        `ChecksumMismatch` when other bytes arrived.
        """
        upload_id = resume or self.begin_upload(path)
        upload.send(self._transport, upload_id, path, on_progress)
        method, where = _registering(alias)
        try:
            answer = self._transport.send(method, where, json={"uri": f"upload:{upload_id}"})
        except InputError:
            upload.end(self._transport, upload_id)
            raise
        slide = Slide.of(answer.json())
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != slide.sha256:
                raise ChecksumMismatch("the file that was sent is not the one that arrived")
        return slide

    def slide(self, slide: str) -> Slide:
        """One slide."""
        return Slide.of(self._transport.send("GET", f"/slides/{_part(slide)}").json())

    def slides(self, *, sha256: str | None = None, alias: str | None = None) -> Iterator[Slide]:
        """Every slide, newest first; ``sha256`` and ``alias`` keep those of that file or name."""
        return map(Slide.of, self._pages("/slides", {"sha256": sha256, "alias": alias}))

    def package(self, slide: str) -> Package:
        """The slide's newest package. Raises `NotFound` without one."""
        packages = self.slide(slide).packages
        if not packages:
            raise NotFound("the slide has no such package")
        return packages[0]

    # Jobs

    def compress(
        self,
        slide: str,
        *,
        profile: str = "archive",
        lambda_: float | None = None,
        target_ratio: float | None = None,
        dice_floor: float | None = None,
        mpp: float | None = None,
        protect: dict[str, Any] | list[Any] | None = None,
        urgency: Urgency | Literal["stat", "routine", "bulk"] = Urgency.ROUTINE,
        callback_url: str | None = None,
        source: str | None = None,
        idempotency_key: str | None = None,
    ) -> Job:
        """The job that compresses the slide; one that has succeeded where the work is done already.
        ``target_ratio``, in the place of ``lambda_``, is what the source's tiles are to be of the package's
        bytes. ``protect`` is GeoJSON of regions of which nothing may be restored. ``source`` (a URI)
        registers the slide first if it is not known."""
        body: dict[str, Any] = {
            "profile": profile,
            "lambda": lambda_,
            "dice_floor": dice_floor,
            "mpp": mpp,
            "urgency": urgency.name.lower() if isinstance(urgency, Urgency) else urgency,
            "callback_url": callback_url,
            "source": {"uri": source} if source else None,
        }
        if target_ratio is not None:  # a service of an older version refuses what it does not know
            body["target_ratio"] = target_ratio
        if protect is not None:
            body["protect"] = protect
        answer = self._transport.send(
            "POST", f"/slides/{_part(slide)}/compress", json=body, headers=_once(idempotency_key)
        )
        made = answer.json()
        return self.job(made["job"]) if answer.status_code == 200 else Job.of(made)

    def job(self, job_id: str) -> Job:
        """One job."""
        return Job.of(self._transport.send("GET", f"/jobs/{_part(job_id)}").json())

    def jobs(self, *, state: JobState | str | None = None, slide: str | None = None) -> Iterator[Job]:
        """Every job, newest first; ``state`` (also its text) and ``slide`` (an id) keep those."""
        wanted = {"state": JobState(state).value if state else None, "slide": slide}
        return map(Job.of, self._pages("/jobs", wanted))

    def wait(self, job: Job | str, timeout: float = 86_400.0, on_progress: Progress | None = None) -> Job:
        """The job when it has succeeded.

        Follows its events, over connections that break. Raises the error that a failed job tells,
        `TimeoutError` after ``timeout`` seconds, and `Conflict` for a cancelled job.
        """
        job_id = job if isinstance(job, str) else job.id
        for event in follow(self._transport, _part(job_id), time.monotonic() + timeout):
            if event.kind == "progress" and on_progress is not None:
                on_progress(event.data["done"], event.data["total"])
        ended = self.job(job_id)
        if ended.state is JobState.SUCCEEDED:
            return ended
        problem = ended.problem or {"code": "conflict", "detail": f"the job was {ended.state.value}"}
        raise error_of(problem["code"], problem["detail"])

    def cancel(self, job_id: str) -> Job:
        """Asks for the job's end."""
        return Job.of(self._transport.send("DELETE", f"/jobs/{_part(job_id)}").json())

    def replay(self, job_id: str) -> Job:
        """Queues a failed job again."""
        return Job.of(self._transport.send("POST", f"/jobs/{_part(job_id)}/replay", again=False).json())

    # Pixels

    def tile(
        self,
        slide: str,
        level: int,
        col: int,
        row: int,
        *,
        suffix: Literal["jpg", "webp", "avif", "png"] = "png",
        package: str | None = None,
    ) -> bytes:
        """The encoded DeepZoom tile."""
        path = f"/slides/{_part(slide)}_files/{level}/{col}_{row}.{suffix}"
        return self._transport.send("GET", path, params=_given({"package": package})).content

    def region(
        self, slide: str, x: int, y: int, w: int, h: int, *, level: int = 0, package: str | None = None
    ) -> Pixels:
        """(h, w, 3) uint8: restored pixels, ``x y w h`` in pixels of ``level``, each of which halves the one
        before."""
        asked = {"x": x, "y": y, "w": w, "h": h, "level": level, "format": "npy", "package": package}
        answer = self._transport.send("GET", f"/slides/{_part(slide)}/region", params=_given(asked))
        pixels: Pixels = np.load(io.BytesIO(answer.content), allow_pickle=False)
        return pixels

    def restore(
        self,
        slide: str,
        out: str | Path,
        *,
        format: Literal["tiff", "original"] = "tiff",
        level: int = 0,
        package: str | None = None,
        timeout: float = 86_400.0,
        idempotency_key: str | None = None,
    ) -> Job:
        """Writes the slide's package out as the file ``out``, whole or not at all, and returns the job that
        made it. Raises `NotFound` where there is no folder for it, what `wait` raises, and
        `ChecksumMismatch` when other bytes arrived."""
        _place(out)  # asked before a job is begun for nothing
        answer = self._transport.send(
            "POST",
            f"/slides/{_part(slide)}/restore",
            params=_given({"package": package}),
            json={"format": format, "level": level},
            headers=_once(idempotency_key),
        )
        job = self.wait(answer.json()["id"], timeout)
        self.download(job, out)
        return job

    def download(self, job: Job, out: str | Path) -> None:
        """Writes the file that the job restored to ``out``, whole or not at all."""
        out = _place(out)
        part = out.with_name(f".{uuid4().hex}{out.suffix}")
        digest = hashlib.sha256()
        try:
            with (
                self._transport.stream("GET", f"/jobs/{_part(job.id)}/result") as answer,
                part.open("wb") as file,
            ):
                for block in answer.iter_bytes():
                    digest.update(block)
                    file.write(block)
            if job.result is None or digest.hexdigest() != job.result.sha256:
                raise ChecksumMismatch("the file that arrived is not the one that was made")
            part.replace(out)
        finally:
            part.unlink(missing_ok=True)

    def _pages(self, path: str, wanted: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        before: str | None = None
        while True:
            asked = _given({**wanted, "limit": PAGE, "before": before})
            page = self._transport.send("GET", path, params=asked).json()
            yield from page["items"]
            before = page["next"]
            if before is None:
                return


def _registering(alias: str | None) -> tuple[str, str]:
    """Method and path that register a slide."""
    return ("POST", "/slides") if alias is None else ("PUT", f"/slides/{_part(alias)}")


def _place(out: str | Path) -> Path:
    """Where a file is written. Raises `NotFound` where there is no folder for it."""
    path = Path(out)
    if not path.absolute().parent.is_dir():
        raise NotFound("there is no folder to write the file into")
    return path


def _part(name: str) -> str:
    """``name`` as one part of a path."""
    return quote(name, safe="")


def _given(asked: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in asked.items() if value is not None}


def _once(key: str | None) -> dict[str, str]:
    """What makes a request safe to send again."""
    return {"Idempotency-Key": key or uuid4().hex}
