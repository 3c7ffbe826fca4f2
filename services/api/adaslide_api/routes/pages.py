"""Pages for people: the viewer, the list of jobs, what a problem means."""

import base64
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any

import jinja2
import numpy as np
from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse, RedirectResponse

from adaslide.domain.access import Principal, Role
from adaslide.domain.errors import NotFound
from adaslide.domain.profile import PROFILES
from adaslide.domain.rung import PROVENANCE, RESTORED_RUNGS, Provenance, Rung
from adaslide.pipeline.made_with import BICUBIC, MadeWith
from adaslide.pipeline.maps import AGENT_NOTE, RUNG_COLOURS, legend
from adaslide.pipeline.report import human_bytes
from adaslide_api.access import PUBLIC, PrincipalDep, require
from adaslide_api.deps import PackageId, ServicesDep
from adaslide_api.packages import OpenPackage
from adaslide_api.problems import MEANINGS
from adaslide_api.tile_tokens import LONGEST_TOKEN
from adaslide_api.wiring import Services

router = APIRouter(include_in_schema=False)

SECOND = "dice_second"
FIDELITY_LAYERS = {
    "dice": "nuclei, Dice",
    "dice_window_min": "nuclei, worst 128 px window",
    SECOND: "nuclei, second judge",
    "ssim": "structure, SSIM of luma",
    "colour_min": "colour, worst 32 px square",
    "psnr": "PSNR, dB",
}
DECISION_LAYERS = {"rung": "how patches are kept", "p_compress": "agent: can it be made small?"}


@cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("adaslide_api"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["bytes"] = human_bytes
    return environment


def _page(name: str, status: int = 200, **context: Any) -> HTMLResponse:
    return HTMLResponse(_templates().get_template(name).render(**context), status)


@router.get("/", dependencies=[PUBLIC])
async def root() -> RedirectResponse:
    """To the list of jobs."""
    return RedirectResponse("/admin")


@router.get("/admin", dependencies=[require(Role.VIEWER, Role.INTEGRATOR, Role.OPERATOR)])
async def admin(principal: PrincipalDep) -> HTMLResponse:
    """Slides and jobs, live."""
    may = {"cancel": principal.has(Role.INTEGRATOR), "replay": principal.has(Role.OPERATOR)}
    return _page("admin.html", profiles=list(PROFILES), may=[name for name, does in may.items() if does])


@router.get("/viewer/{key}", dependencies=[require(Role.VIEWER, tile_token=True)])
async def viewer(
    key: str,
    parts: ServicesDep,
    principal: PrincipalDep,
    package_id: PackageId = None,
    token: Annotated[str | None, Query(max_length=LONGEST_TOKEN)] = None,
) -> HTMLResponse:
    """A slide in the browser; a page that waits while it has no package."""
    try:
        return await parts.decode.run(_viewer, parts, principal, key, package_id, token)
    except NotFound:
        title, text = await parts.decode.run(_why_not, parts, key, principal.tenant)
        return _page("message.html", 404, title=title, text=text)


def _viewer(
    parts: Services, principal: Principal, key: str, package_id: str | None, token: str | None
) -> HTMLResponse:
    package = parts.packages.open(parts.packages.find(key, package_id, principal.tenant))
    with parts.backend.database.read() as unit:
        slide = unit.slides.get(package.record.slide_id)
        packages = unit.packages.of_slide(slide.id)
    totals = package.record.totals
    rungs = _rungs(totals)
    return _page(
        "viewer.html",
        slide=slide,
        package=package.record,
        packages=packages,
        totals=totals,
        rungs=rungs,
        note=_note(rungs, totals["patches"]["total"]),
        made=MadeWith.of(package.reader.info.attributes),
        bicubic=BICUBIC,
        agent_note=AGENT_NOTE,
        restored=any(row["provenance"] == Provenance.RESTORED for row in rungs),
        layers=known_layers(package, FIDELITY_LAYERS),
        decision_layers=known_layers(package, DECISION_LAYERS),
        data=_view_data(package) | _images(parts, principal, package, token),
    )


def known_layers(package: OpenPackage, layers: dict[str, str]) -> dict[str, str]:
    """Those of which the package has a value; the first always. Kept pixels have the best of every
    measure, also of one that nothing measured."""
    values = package.reader.maps.quality | package.reader.maps.decision
    known = [layer for layer in layers if np.isfinite(values[layer]).any()]
    if not MadeWith.of(package.reader.info.attributes).second_judge and SECOND in known:
        known.remove(SECOND)
    return {layer: layers[layer] for layer in known or list(layers)[:1]}


def _rungs(totals: dict[str, Any]) -> list[dict[str, Any]]:
    """The legend: every rung in use, in its colour, with its patches and bytes."""
    patches = totals["patches"]
    return [
        {
            "label": rung.label,
            "colour": colour,
            "patches": patches["by_rung"][rung.label],
            "bytes": patches["bytes_by_rung"][rung.label],
            "provenance": PROVENANCE[rung].value,
        }
        for rung, colour in RUNG_COLOURS.items()
        if rung.label in patches["by_rung"]
    ]


def _note(rungs: list[dict[str, Any]], total: int) -> str:
    """What a reader must know of the pixels shown."""
    patches = {kind: sum(row["patches"] for row in rungs if row["provenance"] == kind) for kind in Provenance}
    restored = patches[Provenance.RESTORED]
    if restored:
        return (
            f"{restored} of {total} patches are restored: their finest detail is interpolated or "
            "synthesised, not measured by the scanner."
        )
    if patches[Provenance.ORIGINAL] + patches[Provenance.LOSSLESS] == total:
        return "Every pixel is the scanner's own."
    return "No patch is restored; patches kept lossily are shown as they decode."


def _view_data(package: OpenPackage) -> dict[str, Any]:
    """What the page's script needs."""
    info, record = package.reader.info, package.record
    return {
        "slide": f"/slides/{record.slide_id}",
        "package": record.id,
        "width": info.size.width,
        "height": info.size.height,
        "patch": info.patch,
        "rows": package.reader.grid.rows,
        "cols": package.reader.grid.cols,
        "mpp": info.mpp,
        "restored": _restored_bits(package),
        "second_judge": MadeWith.of(info.attributes).second_judge,
        "colours": {rung.label: colour for rung, colour in RUNG_COLOURS.items()},
        "provenances": {rung.label: PROVENANCE[rung].value for rung in Rung},
        "legends": {
            layer: legend(layer) for layer in (*FIDELITY_LAYERS, *DECISION_LAYERS) if layer != "rung"
        },
    }


def _images(parts: Services, principal: Principal, package: OpenPackage, token: str | None) -> dict[str, Any]:
    """How the page's images are let in. A page that came with a token has no other credential to renew it."""
    if token is not None or not parts.auth.required:
        return {"token": token, "renew_s": None}
    now = datetime.now(UTC)
    grant = parts.tile_tokens.grant(principal, package.record.slide_id, package.record.id, now)
    return {"token": parts.tile_tokens.sign(grant), "renew_s": (grant.expires - now.timestamp()) / 2}


def _restored_bits(package: OpenPackage) -> str:
    """One bit a patch, row by row, set where it is restored; base64."""
    bits = np.isin(package.reader.maps.decision["rung"], [int(rung) for rung in RESTORED_RUNGS])
    return base64.b64encode(np.packbits(bits).tobytes()).decode()


def _why_not(parts: Services, key: str, tenant: str) -> tuple[str, str]:
    with parts.backend.database.read() as unit:
        try:
            slide = unit.slides.find(key, tenant)
        except NotFound:
            return "No such slide", "Nothing is registered under that name."
        jobs = unit.jobs.page(1, slide_id=slide.id, tenant=tenant)
    if not jobs:
        return "Not compressed yet", "The slide is registered, but no job has made a package of it."
    return "Not ready yet", f"The slide's latest job is {jobs[0].state.value}."


@router.get("/problems/{code}", dependencies=[PUBLIC])
async def problem_page(code: str) -> HTMLResponse:
    """What a problem's ``type`` leads to."""
    meaning = MEANINGS.get(code)
    if meaning is None:
        return _page("message.html", 404, title="No such problem", text="No answer has that code.")
    again = (
        "The same request may succeed later."
        if meaning.status in (503, 504)
        else "The same request will fail again."
    )
    title, text = code.replace("-", " ").capitalize(), meaning.text.replace("`", "")
    return _page("message.html", title=title, text=f"HTTP status {meaning.status}. {text} {again}")
