"""Serving a mock: in a thread for tests, in a process for the command line."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from headway.errors import UsageError
from headway.mock.admin import statistics
from headway.mock.app import TRANSPORT, MockApp
from headway.mock.config import MockConfig
from headway.mock.platform import HubSpotMock

__all__ = ["Served", "bind", "run", "serve"]


class _Protocol(HttpToolsProtocol):
    """Leaves the connection where the application finds it, so that faults can reset it."""

    def on_headers_complete(self) -> None:
        self.scope[TRANSPORT] = self.transport  # type: ignore[literal-required]
        super().on_headers_complete()


@dataclass(frozen=True, slots=True)
class Served:
    """A mock that is being served."""

    url: str
    mock: HubSpotMock

    def stats(self) -> dict[str, Any]:
        """As GET /_mock/stats."""
        return statistics(self.mock)


def bind(port: int = 0, host: str = "127.0.0.1") -> socket.socket:
    """A listening socket; port 0 for a free one. UsageError when it is taken."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise UsageError(f"cannot listen on {host}:{port} ({error.strerror}): choose another with --port") from error
    listener.listen(1024)
    listener.setblocking(False)
    return listener


def _server(app: MockApp) -> uvicorn.Server:
    config = uvicorn.Config(
        app,
        http=_Protocol,
        loop="asyncio",
        log_config=None,
        log_level="critical",
        access_log=False,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=1,
        lifespan="off",
        ws="none",
    )
    return uvicorn.Server(config)


def run(config: MockConfig, listener: socket.socket, on_ready: Callable[[str], None] = lambda _: None) -> HubSpotMock:
    """Serve until SIGINT or SIGTERM; returns the mock with all that it counted."""
    app = MockApp(config)
    server = _server(app)
    on_ready(url_of(listener))
    try:
        _runner()(server.serve(sockets=[listener]))
    except KeyboardInterrupt:
        pass
    finally:
        listener.close()
    return app.mock


def _runner() -> Callable[[Any], Any]:
    try:
        import uvloop
    except ImportError:
        return asyncio.run
    runner: Callable[[Any], Any] = uvloop.run
    return runner


def url_of(listener: socket.socket) -> str:
    """The URL under which a socket is reached."""
    host, port = listener.getsockname()[:2]
    return f"http://{host}:{port}"


@contextmanager
def serve(config: MockConfig | None = None) -> Iterator[Served]:
    """A mock on a free port of 127.0.0.1, in a thread of its own, for as long as the block runs."""
    listener = bind()
    app = MockApp(config)
    server = _server(app)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]  # only the main thread may
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), name="headway-mock")
    thread.start()
    try:
        yield Served(url_of(listener), app.mock)
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()
