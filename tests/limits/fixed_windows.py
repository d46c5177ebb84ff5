"""A platform of fixed windows in virtual time, and callers that always have something to send it.

A fixed window is what most servers run: so many calls between two instants of the clock, all of them free again at the
second. Its replies carry what is left. Shares nothing with the limiter but its public door.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

from headway import Limiter
from headway.testing.virtual import VirtualClock, run_virtually

AMOUNT, PER, MINUTE = 100, 10.0, 60.0


def named(left: int, reset: float) -> dict[str, str]:
    """As HubSpot says it."""
    return {
        "X-HubSpot-RateLimit-Max": str(AMOUNT), "X-HubSpot-RateLimit-Remaining": str(left),
        "X-HubSpot-RateLimit-Interval-Milliseconds": str(round(PER * 1000)),
    }  # fmt: skip


def plain(left: int, reset: float) -> dict[str, str]:
    """As most others say it."""
    return {
        "X-RateLimit-Limit": str(AMOUNT), "X-RateLimit-Remaining": str(left), "X-RateLimit-Reset": str(round(reset)),
    }  # fmt: skip


WORDS = {"named": named, "plain": plain}


@dataclass
class FixedWindows:
    """Counts calls by the window in which they arrive, and those that it accepts by the minute."""

    clock: VirtualClock
    minutes: list[int] = field(default_factory=list)
    refused: int = 0
    _window: int = -1
    _used: int = 0

    def arrive(self) -> tuple[bool, int, float]:
        """Whether the call is accepted, how many are left, and seconds until the window is over."""
        window, past = divmod(self.clock.seconds, PER)
        if window != self._window:
            self._window, self._used = int(window), 0
        if self._used >= AMOUNT:
            self.refused += 1
            return False, 0, PER - past
        self._used += 1
        minute = int(self.clock.seconds // MINUTE)
        self.minutes += [0] * (minute + 1 - len(self.minutes))
        self.minutes[minute] += 1
        return True, AMOUNT - self._used, PER - past


def worked(limiter: Limiter, clock: VirtualClock, words: str, minutes: int, seed: int, callers: int = 30):
    """Let callers work for so many minutes, 0-50 ms away each way; returns the platform."""
    platform, rng = FixedWindows(clock), random.Random(seed)

    async def call() -> None:
        async with limiter.permit() as permit:
            await asyncio.sleep(rng.uniform(0, 0.05))
            accepted, left, reset = platform.arrive()
            await asyncio.sleep(rng.uniform(0, 0.05))
            permit.observe(200 if accepted else 429, WORDS[words](left, reset))
            if not accepted:
                permit.rejected("window")

    async def caller() -> None:
        while clock.seconds < minutes * MINUTE:
            await call()

    async def main(_: VirtualClock) -> None:
        await asyncio.gather(*(caller() for _ in range(callers)))

    run_virtually(main, clock)
    del platform.minutes[minutes:]
    return platform
