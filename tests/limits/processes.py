"""One process of a world: its clocks, its limiter, its calls, those who wait, and what the world knows of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.limits.books import NEVER, SECOND, Books, Entry
from tests.limits.checker import Call
from tests.limits.driver import Driver, Waiting

__all__ = ["Clock", "Exchange", "Lesson", "Live", "Process", "Queued", "Refusal"]


class Time(Protocol):
    """True time: what a world has."""

    now: int

    @property
    def wall(self) -> int: ...


class Clock:
    """A process's clocks: monotonic at a rate of its own, wall with an error of its own."""

    def __init__(self, world: Time, ppm: int) -> None:
        self.world = world
        self.error = 0
        self._true, self._mine, self._parts = world.now, SECOND * 1000, 1_000_000 + ppm

    def monotonic_ns(self) -> int:
        return self._mine + (self.world.now - self._true) * self._parts // 1_000_000

    def wall_ns(self) -> int:
        return self.world.wall + self.error

    def run_at(self, ppm: int) -> None:
        """Go on at another rate."""
        self._mine, self._true, self._parts = self.monotonic_ns(), self.world.now, 1_000_000 + ppm

    def true(self, mine: int) -> int:
        """The first true instant at which this clock shows at least `mine`."""
        return max(self.world.now, self._true - (self._mine - mine) * 1_000_000 // self._parts)


@dataclass(eq=False, slots=True)
class Live:
    """A permit in somebody's hands. `counted`: when the platform really counts the call."""

    permit: Any
    call: Call
    entry: Entry
    counted: int


@dataclass(eq=False, slots=True)
class Queued:
    """Somebody who waits."""

    waiting: Waiting
    costs: dict[str, int]
    rank: int
    names: frozenset[str]


@dataclass(eq=False, slots=True)
class Refusal:
    """A platform's word to leave some limits alone until an instant."""

    names: frozenset[str]
    until: int


@dataclass(eq=False, slots=True)
class Lesson:
    """A lower limit that a process was told of.

    `knowers`: who knows it, and how many answers each had had when it had to tell the state. `since`: how many each
    process had had when the state knew. `bound`: everybody keeps it.
    """

    name: str
    cap: int
    amount: int
    knowers: dict[Process, int]
    since: dict[int, int] | None = None
    bound: bool = False


@dataclass(eq=False, slots=True)
class Exchange:
    """A request on its way. `at`: when the next thing happens to it."""

    requests: Any
    asked: int
    refusals: tuple[Refusal, ...]
    at: int
    back: int
    fate: str
    answers: Any = None
    answered: int = 0
    learned: tuple[Refusal, ...] = ()


@dataclass(eq=False)
class Process:
    """One process: its limiter and what the world knows of it."""

    number: int
    clock: Clock
    driver: Driver
    books: Books
    caps: dict[str, int]
    smooth: set[str]
    live: list[Live] = field(default_factory=list)
    queue: list[Queued] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    paused: dict[str, int] = field(default_factory=dict)
    due: dict[str, int] = field(default_factory=dict)
    draining: set[str] = field(default_factory=set)
    hazy: set[str] = field(default_factory=set)
    refused_at: int = -1
    exchange: Exchange | None = None
    fate: str = ""
    rounds: int = 0
    knows: int = 0  # the state as of this instant
    silent_until: int = 0
    stopped_until: int = 0
    wall_right_at: int = NEVER
    tick_at: int = NEVER
    unswept: bool = False
    ask_at: int = NEVER
    stale: bool = True  # something happened since `ask_at` was found
