"""A small real HTTP server for the adapters: counts what is in flight, redirects, refuses and drops connections."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.serving import serving


class Platform(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lock = threading.Lock()
        self.paths: list[str] = []
        self.in_flight = 0
        self.most = 0
        self.refusals = 0

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are part of the tests."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Platform

    def _handle(self) -> None:
        server, path = self.server, self.path
        length = int(self.headers.get("content-length") or 0)
        self.rfile.read(length)
        with server.lock:
            server.paths.append(f"{self.command} {path}")
            server.in_flight += 1
            server.most = max(server.most, server.in_flight)
        try:
            self._reply(server, path)
        finally:
            with server.lock:
                server.in_flight -= 1

    do_GET = do_POST = do_PUT = do_DELETE = _handle  # noqa: N815

    def _reply(self, server: Platform, path: str) -> None:
        if path == "/drop":
            self.close_connection = True
            self.connection.close()
            return
        headers = {}
        status, body = 200, b'{"ok": true}'
        if path.startswith("/hop/"):
            left = int(path.rpartition("/")[2])
            if left:
                status, body = 302, b""
                headers["Location"] = f"/hop/{left - 1}"
        elif path == "/limited":
            with server.lock:
                server.refusals -= 1
                refused = server.refusals >= 0
            if refused:
                status, body = 429, b'{"policyName": "TEN_SECONDLY_ROLLING"}'
                headers["Retry-After"] = "0.2"
        elif path == "/flaky":
            with server.lock:
                server.refusals -= 1
                if server.refusals >= 0:
                    status = 503
        elif path == "/long":
            body = b"x" * 2_000_000
        elif path == "/slow":
            time.sleep(0.05)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def platform() -> Iterator[Platform]:
    with serving(Platform()) as server:
        yield server
