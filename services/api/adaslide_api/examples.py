"""What bodies and answers look like, for the service's description of itself."""

from typing import Any

_SLIDE = "01k2q7m3c8v5x0r9t4y6w1z2ab"
_JOB = "01k2q7n9e4h6j8k0m2p4r6s8tv"
_PACKAGE = "01k2q7n9e5a1b2c3d4e5f6g7hj"
_AT = "2026-03-01T09:30:00Z"

COMPRESS: dict[str, Any] = {
    "profile": "archive",
    "urgency": "routine",
    "source": {"uri": "file:///slides/one.svs"},
    "callback_url": "https://lis.example/adaslide",
}
RESTORE: dict[str, Any] = {"format": "tiff", "level": 0}
HOLD: dict[str, Any] = {"reason": "court order 4711"}
PACKAGE: dict[str, Any] = {
    "id": _PACKAGE,
    "slide": _SLIDE,
    "job": _JOB,
    "profile": "archive@8",
    "created_at": _AT,
    "totals": {
        "source_bytes": 1938955,
        "package_bytes": 402113,
        "patches": {"total": 35, "by_rung": {"background": 6, "fine": 12, "x2": 17}},
        "violations": 0,
    },
    "hold": None,
    "links": {
        "slide": f"/slides/{_SLIDE}",
        "viewer": f"/viewer/{_SLIDE}?package={_PACKAGE}",
        "dzi": f"/slides/{_SLIDE}.dzi?package={_PACKAGE}",
        "zarr": f"/slides/{_SLIDE}/package/zarr.json?package={_PACKAGE}",
    },
}
SLIDE: dict[str, Any] = {
    "id": _SLIDE,
    "alias": "case-7",
    "created_at": _AT,
    "sha256": "9f2b1c7d" * 8,
    "facts": {"width": 2220, "height": 2967, "mpp": 0.499, "vendor": "aperio"},
    "packages": [PACKAGE],
    "hold": None,
    "links": {
        "self": f"/slides/{_SLIDE}",
        "compress": f"/slides/{_SLIDE}/compress",
        "viewer": f"/viewer/{_SLIDE}",
    },
}
JOB: dict[str, Any] = {
    "id": _JOB,
    "slide": _SLIDE,
    "alias": "case-7",
    "kind": "compress",
    "state": "running",
    "urgency": "routine",
    "progress": {"done": 12, "total": 35, "unit": "patches"},
    "attempts": 1,
    "problem": None,
    "request": {
        "profile": "archive@8",
        "lambda": None,
        "dice_floor": None,
        "mpp": None,
        "protect": None,
        "target_ratio": None,
    },
    "created_at": _AT,
    "started_at": _AT,
    "finished_at": None,
    "seconds": 4.2,
    "package": None,
    "result": None,
    "links": {"self": f"/jobs/{_JOB}", "events": f"/jobs/{_JOB}/events", "slide": f"/slides/{_SLIDE}"},
}
