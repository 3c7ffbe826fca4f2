"""An HTTP proxy on this machine that, told to, fails as networks and servers do."""

import http.client
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from urllib.parse import unquote, urlsplit

import pytest

_UPSTREAM_S = 30
_ERROR = "<Error><Code>{}</Code><Message>made by the test</Message></Error>"
_NOT_PASSED_ON = {"connection", "expect", "keep-alive", "transfer-encoding"}


@dataclass
class Fault:
    """What happens to requests of ``method`` whose path matches ``key`` (with wildcards, query included).

    Of ``kind``: "500", "503" (answered by the proxy, with S3's code), "reset" (cut before the server sees the
    request), "lost" (carried out by the server, then cut before its answer), "truncate" (half the body, then
    cut), "latency" (``seconds`` late).
    """

    kind: str
    method: str = "*"
    key: str = "*"
    times: float = float("inf")
    """How many requests it still happens to."""
    share: float = 1.0
    seconds: float = 0.0


@dataclass
class FaultProxy:
    """A proxy of ``upstream`` at ``endpoint``. Faults follow ``seed``; ``seen`` has (method, path, kind)."""

    upstream: str
    seed: int = 0
    seen: list = field(default_factory=list)

    def __post_init__(self):
        self._random, self._lock, self._faults = Random(self.seed), threading.Lock(), []
        parts = urlsplit(self.upstream)
        self.host, self.port = parts.hostname, parts.port
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def fault(self, kind, **more):
        """From now on requests fail so (see `Fault`), those that no earlier fault took."""
        self._faults.append(Fault(kind, **more))

    def clear(self):
        """No more faults, and nothing seen."""
        self._faults.clear()
        self.seen.clear()

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def draw(self, method, path):
        """The fault that this request meets, else None."""
        with self._lock:
            for fault in self._faults:
                if (
                    fault.times > 0
                    and fnmatchcase(method, fault.method)
                    and fnmatchcase(unquote(path), fault.key)
                    and self._random.random() < fault.share
                ):
                    fault.times -= 1
                    self.seen.append((method, path, fault.kind))
                    return fault
            self.seen.append((method, path, None))
            return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request, client_address):
        """A client that hung up is none."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _handle(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.server.proxy.draw(self.command, self.path)
        kind = fault.kind if fault else None
        if kind == "latency":
            time.sleep(fault.seconds)
        if kind == "reset":
            self._cut()
        elif kind in ("500", "503"):
            code = "SlowDown" if kind == "503" else "InternalError"
            self._answer(int(kind), [("Content-Type", "application/xml")], _ERROR.format(code).encode())
        else:
            status, headers, answer = self._ask(body)
            if kind == "lost":
                self._cut()
            elif kind == "truncate" and answer:
                self._answer(status, headers, answer, send=len(answer) // 2)
                self._cut()
            else:
                self._answer(status, headers, answer)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _handle

    def _ask(self, body):
        """(status, headers, body) of the server's answer."""
        proxy = self.server.proxy
        upstream = http.client.HTTPConnection(proxy.host, proxy.port, timeout=_UPSTREAM_S)
        try:
            # With the client's own Host, which it has signed.
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in _NOT_PASSED_ON:
                    upstream.putheader(name, value)
            upstream.endheaders(body or None)
            answer = upstream.getresponse()
            headers = [(n, v) for n, v in answer.getheaders() if n.lower() not in _NOT_PASSED_ON]
            return answer.status, headers, answer.read()
        finally:
            upstream.close()

    def _answer(self, status, headers, body, send=None):
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() != "content-length" or self.command == "HEAD":
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:send])

    def _cut(self):
        """Ends the connection with a reset, what was sent before it included or not."""
        self.wfile.flush()
        if self.command != "GET":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def log_message(self, *_):
        """Tests print nothing."""


@pytest.fixture
def fault_proxy(s3):
    """A `FaultProxy` in front of the S3 server."""
    proxy = FaultProxy(s3.endpoint)
    yield proxy
    proxy.close()
