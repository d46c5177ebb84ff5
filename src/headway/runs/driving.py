"""Starting, stopping and listening to a run, from threads, signal handlers and event loops."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from headway.engine.engine import Engine
from headway.errors import UsageError
from headway.events import Event, Observer

__all__ = ["Driver"]

T = TypeVar("T")


class Driver:
    """The one piece of a run that other threads may touch."""

    def __init__(self, observer: Observer | None) -> None:
        self._observer = observer
        self._stopped = False
        self._code = 130
        self._engine: Engine | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Future[Any] | None = None
        self._working = False
        self._begun = False

    def tell(self, event: Event) -> None:
        """Pass an event on."""
        if self._observer is not None:
            self._observer(event)

    def stopped(self) -> bool:
        """Whether to stop."""
        return self._stopped

    def exit_code(self) -> int:
        """What a stop ends the process with."""
        return self._code

    def begun(self) -> None:
        """From now on there is a run, which a stop brings to an orderly end."""
        self._begun = True

    def drives(self, engine: Engine) -> None:
        """This engine works from now on."""
        self._engine = engine

    def stop(self, exit_code: int) -> None:
        """Finish what is in flight. What waits before anything was loaded is broken off at once."""
        self._code = exit_code
        self._stopped = True
        if self._engine is not None:
            self._engine.stop()
        elif not self._begun:
            self.abort()

    def abort(self) -> None:
        """Leave at once."""
        self._stopped = True
        if self._loop is not None and self._task is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._task.cancel)

    async def drive(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run the work of one session."""
        if self._working:
            raise UsageError("this run is being worked on already: make another Sync, or resume it when it has stopped")
        self._working = True
        self._loop = asyncio.get_running_loop()
        task: asyncio.Future[T] = asyncio.ensure_future(work())
        self._task = task
        try:
            return await task
        except BaseException:
            task.cancel()
            raise
        finally:
            self._working = self._begun = False
            self._engine = None

    def run(self, main: Callable[[], Awaitable[T]]) -> T:
        """Run a coroutine function in an event loop of its own, the fastest that is installed."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            raise UsageError("this thread runs an event loop already: use `await astart()` or `await aplan()`")

        async def entered() -> T:
            return await main()

        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            try:
                return runner.run(entered())
            except asyncio.CancelledError:
                raise KeyboardInterrupt from None


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
