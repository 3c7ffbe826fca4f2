"""A small server on a port of its own: metrics and health, for Prometheus and probes. It knows no users."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlsplit

from adaslide.domain.errors import Unavailable
from adaslide.observability.metrics import CONTENT_TYPE, Metrics
from adaslide.observability.readiness import Outcome, Readiness

JSON_TYPE = "application/json"
IDLE_S = 10


@contextmanager
def metrics_server(
    port: int, host: str, metrics: Metrics, readiness: Readiness | None = None
) -> Iterator[int]:
    """Serves ``/metrics``, ``/healthz`` and, with ``readiness``, ``/readyz?exclude=`` in threads until
    left.

    Gives the port, which the system chooses for 0. Raises `Unavailable` when it is taken.
    """

    class Handler(BaseHTTPRequestHandler):
        timeout = IDLE_S

        def do_GET(self) -> None:
            asked = urlsplit(self.path)
            path = asked.path
            if path == "/metrics":
                self._answer(200, CONTENT_TYPE, metrics.text())
            elif path == "/healthz":
                self._answer(200, JSON_TYPE, b'{"status": "ok"}')
            elif path == "/readyz" and readiness is not None:
                outcomes = readiness.check(parse_qs(asked.query).get("exclude", ()))
                ready = all(outcome is Outcome.OK for outcome in outcomes.values())
                body = {"status": "ok" if ready else "unavailable", "checks": outcomes}
                self._answer(200 if ready else 503, JSON_TYPE, json.dumps(body).encode())
            else:
                self._answer(404, JSON_TYPE, b'{"status": "not-found"}')

        def _answer(self, status: int, media_type: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def version_string(self) -> str:
            return "adaslide"

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: whoever scrapes does so for ever."""

    try:
        server = ThreadingHTTPServer((host, port), Handler)
    except OSError as error:
        raise Unavailable(f"{host} port {port} is taken or not this machine's") from error
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, name="adaslide-metrics", daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
