"""A receiver of webhooks: a real HTTP server that remembers what it got and answers as it is told."""

import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = "whsec_" + "A" * 32
"""What messages to it may be signed with."""


class Receiver:
    """``answers`` are the next statuses, then it is 204; with ``tls`` (an SSL context) it is https."""

    def __init__(self, tls=None):
        self.received, self.answers, self.headers = [], deque(), {}
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.received.append((self.path, dict(self.headers), body))
                self.send_response(receiver.answers.popleft() if receiver.answers else 204)
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args): ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self._thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self):
        return f"http://localhost:{self.port}/hook"

    def close(self):
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()
