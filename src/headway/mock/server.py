"""Serving a mock: in a thread for tests, in a process for the command line.

    with serve(MockConfig(window=(100, 10.0), latency=0.05)) as served:
        client(served.url) …
        assert served.stats()["rate_limited"] == 0

uvicorn's protocol carries the requests; what starts and stops it is ours, so that it stops at once: requests that still
wait get a reset, no thread, task or socket is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from headway.errors import UsageError
from headway.mock.app import TRANSPORT, MockApp
from headway.mock.clock import Clock
from headway.mock.platform import Config

__all__ = ["Served", "aserve", "bind", "run", "run_all", "serve", "url_of"]

T = TypeVar("T")
_KEEP_ALIVE = 75  # seconds: longer than any window, as at a real platform
_LINGER = 2.0  # seconds that replies under way may take when the mock stops


class _Protocol(HttpToolsProtocol):
    """Leaves the connection where the application finds it, so that faults can reset it."""

    def on_headers_complete(self) -> None:
        self.scope[TRANSPORT] = self.transport  # type: ignore[literal-required]
        super().on_headers_complete()


@dataclass(frozen=True, slots=True)
class Served:
    """A mock that is being served: its URL and the platform behind it.

    `mock` may be read from any thread; what must not change while it is read or changed, pass to `call`.
    """

    url: str
    mock: Any  # HubSpotMock by MockConfig, GenericMock by EntryConfig
    _loop: asyncio.AbstractEventLoop = field(repr=False)

    def call(self, act: Callable[[Any], T]) -> T:
        """What `act(mock)` returns, done in the mock's own thread between two requests."""
        if self._loop.is_closed():
            return act(self.mock)

        async def done() -> T:
            return act(self.mock)

        try:
            return asyncio.run_coroutine_threadsafe(done(), self._loop).result(30)
        except RuntimeError:  # it has stopped meanwhile
            return act(self.mock)

    def stats(self) -> dict[str, Any]:
        """As GET /_mock/stats."""
        told: dict[str, Any] = self.call(lambda mock: mock.statistics())
        return told


def bind(port: int = 0, host: str = "127.0.0.1") -> socket.socket:
    """A listening socket; port 0 for a free one. UsageError when it is taken."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)
    except (OSError, OverflowError) as error:
        listener.close()
        said = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot listen on {host}:{port} ({said}): choose another with --port") from error
    listener.setblocking(False)
    return listener


def url_of(listener: socket.socket) -> str:
    """The URL under which a socket is reached."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run(
    config: Config | None = None,
    listener: socket.socket | None = None,
    on_ready: Callable[[str], None] = lambda _: None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    clock: Clock | None = None,
) -> Any:
    """Serve until SIGINT or SIGTERM, for the command line; returns the mock with all that it counted.

    Listens on `listener` (see `bind`), else on `host` and `port` (0: a free one; UsageError when it is taken).
    `on_ready` is called with the URL as soon as connections are accepted.
    """
    return run_all([(config, listener or bind(port, host))], lambda urls: on_ready(urls[0]), clock)[0]


def run_all(
    what: Sequence[tuple[Config | None, socket.socket]],
    on_ready: Callable[[list[str]], None],
    clock: Clock | None = None,
) -> list[Any]:
    """Serve several mocks, each on its socket, as `run` does one; `on_ready` gets all URLs."""
    apps = [(MockApp(config, clock), listener) for config, listener in what]
    for app, listener in apps:
        app.mock.url = url_of(listener)

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        with contextlib.suppress(NotImplementedError):  # Windows: KeyboardInterrupt ends it
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, stop.set)
        ready = 0

        def one_more() -> None:
            nonlocal ready
            ready += 1
            if ready == len(apps):
                on_ready([app.mock.url for app, _ in apps])

        await asyncio.gather(*(_serve(app, listener, stop, one_more) for app, listener in apps))

    with contextlib.suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(main())
    return [app.mock for app, _ in apps]


@contextmanager
def serve(config: Config | None = None, *, port: int = 0, clock: Clock | None = None) -> Iterator[Served]:
    """A mock on a free port of 127.0.0.1, in a thread of its own, for as long as the block runs."""
    listener = bind(port)
    app = MockApp(config, clock)
    ready = threading.Event()
    running: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
    failed: list[BaseException] = []

    async def main() -> None:
        stop = asyncio.Event()
        running.append((asyncio.get_running_loop(), stop))
        await _serve(app, listener, stop, ready.set)

    def work() -> None:
        try:
            with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                runner.run(main())
        except BaseException as error:  # noqa: BLE001  # told to the thread that started this one
            failed.append(error)
        finally:
            ready.set()

    url = app.mock.url = url_of(listener)
    thread = threading.Thread(target=work, name="headway-mock")
    thread.start()
    ready.wait()
    try:
        if not failed:
            yield Served(url, app.mock, running[0][0])
    finally:
        if running:
            with contextlib.suppress(RuntimeError):  # the loop has ended by itself
                running[0][0].call_soon_threadsafe(running[0][1].set)
        thread.join()
        listener.close()
        if failed:
            raise failed[0]


@asynccontextmanager
async def aserve(config: Config | None = None, *, port: int = 0, clock: Clock | None = None) -> AsyncIterator[Served]:
    """As `serve`, for use inside an event loop: the mock runs in the caller's own loop."""
    listener = bind(port)
    app = MockApp(config, clock)
    stop, ready = asyncio.Event(), asyncio.Event()
    url = app.mock.url = url_of(listener)
    task = asyncio.create_task(_serve(app, listener, stop, ready.set))
    waiting = asyncio.create_task(ready.wait())
    try:
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            yield _Here(url, app.mock, asyncio.get_running_loop())
    finally:
        waiting.cancel()
        stop.set()
        await task
        listener.close()


class _Here(Served):
    """Served by the loop that asks: no thread to go to."""

    def call(self, act: Callable[[Any], T]) -> T:
        return act(self.mock)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # Windows
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


async def _serve(app: MockApp, listener: socket.socket, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    """Answer requests until `stop` is set, then end those that wait."""
    config = uvicorn.Config(
        app, log_config=None, log_level="critical", access_log=False, lifespan="off", ws="none", http=_Protocol,
        timeout_keep_alive=_KEEP_ALIVE, proxy_headers=False,
    )  # fmt: skip
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: _Protocol(config=config, server_state=state, app_state={}, _loop=loop), sock=listener, backlog=2048
    )
    ready()
    try:
        await stop.wait()
    finally:
        server.close()
        app.stop()
        for connection in list(state.connections):
            connection.shutdown()  # idle ones close, the others after their reply
        if state.tasks:
            await asyncio.wait(list(state.tasks), timeout=_LINGER)
        for task in list(state.tasks):
            task.cancel()
        for connection in list(state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)
        await server.wait_closed()
