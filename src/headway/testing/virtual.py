"""Time that a test owns: a clock to advance, and an event loop in which waiting costs nothing.

Idea: trio's MockClock with autojump. When nothing is ready to run, time jumps to the next timer.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

__all__ = ["VirtualClock", "run_virtually"]

T = TypeVar("T")
_SECOND = 1_000_000_000


class VirtualClock:
    """For `Limiter(clock=…)`: stands still until `advance`; `wall` is nanoseconds since the epoch at its start."""

    def __init__(self, wall: int = 1_790_000_000 * _SECOND) -> None:
        self._now = _SECOND
        self._wall = wall

    def monotonic_ns(self) -> int:
        """Nanoseconds; moves only when told."""
        return self._now

    def wall_ns(self) -> int:
        """Nanoseconds since the epoch; moves alike, unless `jump`ed."""
        return self._wall + self._now

    @property
    def seconds(self) -> float:
        """Seconds since the clock was made."""
        return self._now / _SECOND - 1

    def advance(self, seconds: float) -> None:
        """Let time pass. Raises ValueError for a negative span."""
        if not seconds >= 0:
            raise ValueError(f"time cannot pass backwards: {seconds!r}")
        self._now += round(seconds * _SECOND)

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward or back, as an administrator may; monotonic time does not notice."""
        self._wall += round(seconds * _SECOND)


class _Jumping(selectors.DefaultSelector):
    """A selector that does not wait for a timer but moves the clock there."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:  # only another thread can wake the loop
            return super().select(0.05)
        # One nanosecond more: a timer of asyncio is due when its instant has passed.
        self._clock.advance(max(timeout, 0) + 1e-9)
        return ready


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(_Jumping(clock))
        self._virtual = clock
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self._virtual.monotonic_ns() / _SECOND


def run_virtually(main: Callable[[VirtualClock], Coroutine[Any, Any, T]], clock: VirtualClock | None = None) -> T:
    """Run `main(clock)` in a loop whose time jumps whenever everybody waits; give the clock to the limiters inside.

    An hour of `await limiter.acquire_async()` or `asyncio.sleep` takes a millisecond. For code without sockets: time
    does not wait for a network.
    """
    clock = clock or VirtualClock()
    made = clock
    with asyncio.Runner(loop_factory=lambda: _VirtualLoop(made)) as runner:
        return runner.run(main(clock))
