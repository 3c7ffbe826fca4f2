"""How much of a body is read, and by whom."""

import pytest

from adaslide.domain.errors import SlideTooLarge
from adaslide.settings import load_settings
from adaslide_api.guard import JSON_BYTES, Guard

FORM, PIECE = "multipart/form-data; boundary=x", "application/offset+octet-stream"


async def read(tmp_path, method, path, kind):
    """Bytes of an endless body that reach the application before it is stopped."""
    received = 0

    async def app(scope, receive, send):
        nonlocal received
        while True:
            received += len((await receive())["body"])

    async def receive():
        return {"type": "http.request", "body": bytes(2**18), "more_body": True}

    settings = load_settings(data_dir=tmp_path, limits={"upload_bytes": 4 * JSON_BYTES})
    headers = [(b"host", b"localhost"), (b"content-type", kind.encode())]
    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": headers}
    with pytest.raises(SlideTooLarge):
        await Guard(app, settings)(scope, receive, None)
    return received


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("method", "path", "kind", "limit"),
    [
        ("POST", "/slides", FORM, 4),
        ("PUT", "/slides/case-7", FORM, 4),
        ("PATCH", "/uploads/x", PIECE, 4),
        ("POST", "/slides", "application/json", 1),
        # Routes that hold their body in memory, even before they know who asks.
        ("POST", "/slides/case-7/compress", FORM, 1),
        ("PUT", "/slides/case-7/hold", FORM, 1),
        ("POST", "/slides", PIECE, 1),
        ("PATCH", "/slides", PIECE, 1),
        ("PATCH", "/uploads/x", FORM, 1),
    ],
)
async def test_only_routes_that_stream_read_more_than_a_mebibyte(tmp_path, method, path, kind, limit):
    assert await read(tmp_path, method, path, kind) == limit * JSON_BYTES


@pytest.fixture
def anyio_backend():
    return "asyncio"
