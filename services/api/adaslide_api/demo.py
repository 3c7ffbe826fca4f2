"""``make demo``: the real service, the sample slide, and what came of it.

Starts `adaslide serve` on a free loopback port in a process of its own, asks it over HTTP like any
integrator would, writes the report of its package, and stops it again.
"""

import argparse
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from adaslide import library
from adaslide.domain.errors import AdaSlideError, Conflict, InputError, Unavailable
from adaslide.package.reader import PackageReader
from adaslide.pipeline.made_with import MadeWith, restored_by
from adaslide.terminal import not_restored

SLIDE_ID = "CMU-1-Small-Region"
MARKER = ".adaslide-demo"
"""Only a folder that holds it is ever removed."""
START_SECONDS = 60.0
STOP_SECONDS = 20.0
POLL_SECONDS = 0.25
DONE = {"succeeded", "failed", "cancelled"}
TILES = 4
"""DeepZoom tiles fetched along each side of the slide's middle."""

_SERVE = (
    "import os, sys; from adaslide.adapters.child import exit_with_parent; "
    "exit_with_parent(os.getppid()); from adaslide.cli import main; main()"
)
"""The command line, in a process that ends with this one however this one ends."""

console = Console(highlight=False)


def main() -> None:
    """The entry point. Exits with 1 when anything is not as it should be."""
    arguments = argparse.ArgumentParser(prog="make demo", description="Show AdaSlide on its sample slide.")
    arguments.add_argument("--once", action="store_true", help="stop when everything was shown")
    arguments.add_argument("--slide", type=Path, default=Path("samples/CMU-1-Small-Region.svs"))
    arguments.add_argument("--data", type=Path, default=Path("demo-data"), help="the service's folder")
    given = arguments.parse_args()
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        demo(given.slide.resolve(), given.data.resolve(), once=given.once)
    except KeyboardInterrupt:
        console.print("\nstopped")
    except AdaSlideError as error:
        console.print(f"[bold red]{error.code}[/] {error.message}")
        sys.exit(1)


def _interrupted(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def demo(slide: Path, data: Path, *, once: bool) -> None:
    """Compresses ``slide`` in a service whose folder is ``data``, and prints what came of it.

    Raises `InputError` without a slide, `Conflict` when ``data`` is no folder of a former demo,
    `Unavailable` when the service does not start or answer.
    """
    if not slide.is_file():
        raise InputError("the slide to show is not there")
    _clear(data)
    with service(data, slide.parent) as client:
        console.print(f"[bold]AdaSlide[/] serves on {client.base_url}\n")
        started = time.monotonic()
        made = _compress(client, slide)["package"]
        took = time.monotonic() - started
        (path,) = (data / "packages").glob(f"{made['id']}-*.zarr")
        _show(made["totals"], library.open_package(path), took)
        _fetch(client)
        report = data / "report.html"
        library.write_report(path, report, slide, formats=False)
        _show_pages(client, report)
        if not once:
            console.print("Press Ctrl-C to stop.")
            while True:
                time.sleep(3600)


def _clear(data: Path) -> None:
    """A demo starts from nothing, and removes nothing but a former demo."""
    if data.exists() and any(data.iterdir()):
        if not (data / MARKER).is_file():
            raise Conflict("the demo's folder holds something else; move it away or choose another")
        shutil.rmtree(data)
    data.mkdir(parents=True, exist_ok=True)
    (data / MARKER).touch()


@contextlib.contextmanager
def service(data: Path, allowed: Path) -> Iterator[httpx.Client]:
    """A running service and a client of it; ended, killed if need be, on the way out."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {name: value for name, value in os.environ.items() if not name.startswith("ADASLIDE_")}
    settings |= {"ADASLIDE_DATA_DIR": str(data), "ADASLIDE_ALLOWED_ROOTS": str(allowed)}
    with (data / "service.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 our own interpreter
            [sys.executable, "-P", "-c", _SERVE, "serve", "--host", "127.0.0.1", "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=settings,
            start_new_session=True,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:
            _wait_until_ready(client, process)
            yield client
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(client: httpx.Client, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_SECONDS
    with console.status("starting the service"):
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise Unavailable("the service ended while starting; demo-data/service.log says why")
            with contextlib.suppress(httpx.TransportError):
                if client.get("/readyz").is_success:
                    return
            time.sleep(POLL_SECONDS)
    raise Unavailable(f"the service was not ready after {START_SECONDS:.0f} seconds")


def _checked(response: httpx.Response) -> httpx.Response:
    """The response, or the problem it carries as an error."""
    if response.is_success:
        return response
    kind = Unavailable if response.status_code >= 500 else InputError
    if response.headers.get("content-type", "").startswith("application/problem+json"):
        raise kind(response.json()["detail"])
    raise kind(f"the service answered {response.status_code}")


def _get(client: httpx.Client, path: str, **parameters: Any) -> httpx.Response:
    try:
        return _checked(client.get(path, params=parameters))
    except httpx.TransportError as error:
        raise Unavailable("the service does not answer any more") from error


def _compress(client: httpx.Client, slide: Path) -> dict[str, Any]:
    """One request registers and compresses the slide; follows the job to its end and returns it."""
    body = {"profile": "archive", "source": {"uri": slide.as_uri()}}
    accepted = _checked(client.post(f"/slides/{SLIDE_ID}/compress", json=body))
    columns = (
        TextColumn("{task.description:11}"),
        BarColumn(40),
        MofNCompleteColumn(),
        TextColumn("patches"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("queued", total=None)
        while True:
            job: dict[str, Any] = _get(client, accepted.headers["location"]).json()
            done, total = job["progress"]["done"], job["progress"]["total"]
            progress.update(bar, description=job["state"], completed=done, total=total or None)
            if job["state"] in DONE:
                break
            time.sleep(POLL_SECONDS)
    if job["state"] != "succeeded":
        raise Unavailable(
            f"the job is {job['state']}: {(job['problem'] or {}).get('detail', 'nobody says why')}"
        )
    return job


def _show(totals: dict[str, Any], package: PackageReader, seconds: float) -> None:
    before, after = totals["source_bytes"], totals["package_bytes"]
    table = Table(show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_row("bytes", f"{before:,} became [bold green]{after:,}[/], {before / after:.1f} times smaller")
    table.add_row("", f"{totals['ratio_tiles']:.1%} of the image tiles in the file")
    rungs = ", ".join(f"{count} {name}" for name, count in totals["patches"]["by_rung"].items())
    table.add_row("patches", f"{totals['patches']['total']}: {rungs}")
    made, restorers = MadeWith.of(package.info.attributes), Counter(restored_by(package).values())
    for place, (name, count) in enumerate(restorers.most_common()):
        share = f"{count} of the {restorers.total()} restored ({count / restorers.total():.0%})"
        table.add_row("" if place else "restored by", f"{name}: {share}")
    table.add_row("judged by", made.judge)
    if made.second_judge:
        table.add_row("", f"{made.second_judge}, which can only reject")
    if made.agent:
        table.add_row("proposed by", made.agent)
    for metric, label in (
        ("dice", "nuclei Dice"),
        ("dice_window_min", "worst window"),
        ("dice_second", "second judge"),
        ("ssim", "luma SSIM"),
        ("colour_min", "worst colour"),
    ):
        seen, floor = totals["fidelity"][metric], totals["floor"][metric]
        if not seen["n"]:
            continue
        table.add_row(
            label,
            f"mean {seen['mean']:.3f}, 5th percentile {seen['p5']:.3f}, "
            f"least [bold]{seen['min']:.3f}[/] (floor {floor:.2f})",
        )
    if barred := not_restored(totals):
        table.add_row("not restored", barred)
    table.add_row("below a floor", f"{totals['violations']} patches")
    table.add_row("time", f"{seconds:.1f} s, every patch decoded again and verified")
    console.print(Panel(table, title=f"{SLIDE_ID}, profile {totals['profile']}", border_style="magenta"))


def _fetch(client: httpx.Client) -> None:
    """Tiles from the middle of the deepest DeepZoom level, and one region."""
    descriptor = ET.fromstring(_get(client, f"/slides/{SLIDE_ID}.dzi").text)  # noqa: S314 our own service
    tile, form = int(descriptor.attrib["TileSize"]), descriptor.attrib["Format"]
    size = next(child.attrib for child in descriptor if child.tag.endswith("Size"))
    width, height = int(size["Width"]), int(size["Height"])
    level = (max(width, height) - 1).bit_length()
    cols, rows = -(-width // tile), -(-height // tile)
    wanted = [
        (col, row)
        for row in range(rows // 2, min(rows, rows // 2 + TILES))
        for col in range(cols // 2, min(cols, cols // 2 + TILES))
    ]
    started, received, provenance = time.monotonic(), 0, set()
    for col, row in wanted:
        answer = _get(client, f"/slides/{SLIDE_ID}_files/{level}/{col}_{row}.{form}")
        received += len(answer.content)
        provenance.add(answer.headers["x-adaslide-provenance"])
    each = 1000 * (time.monotonic() - started) / len(wanted)
    console.print(
        f"fetched {len(wanted)} DeepZoom tiles at full resolution: {received:,} bytes, {each:.0f} ms each, "
        f"{' and '.join(sorted(provenance))}"
    )
    side = min(512, width, height)
    region = _get(
        client,
        f"/slides/{SLIDE_ID}/region",
        x=width // 2 - side // 2,
        y=height // 2 - side // 2,
        w=side,
        h=side,
        level=0,
    )
    console.print(f"fetched a region of {side} x {side} px: {len(region.content):,} bytes\n")


def _show_pages(client: httpx.Client, report: Path) -> None:
    base = str(client.base_url).rstrip("/")
    _get(client, f"/viewer/{SLIDE_ID}")
    _get(client, "/admin")
    console.print(f"viewer  [link]{base}/viewer/{SLIDE_ID}[/link]")
    console.print(f"jobs    [link]{base}/admin[/link]")
    console.print(f"report  [link={report.as_uri()}]{report}[/link]\n", soft_wrap=True)


if __name__ == "__main__":
    main()
