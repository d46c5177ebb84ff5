"""How long a number of calls takes: the very gate that a run uses, in virtual time.

Pure: no clock is read, the instants are made here. The calls are all of one kind, always ready, and
at most `room` of them are in flight; each takes `latency` seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush

from headway.limits.gate import Gate
from headway.limits.headers import Remaining
from headway.limits.limits import SECOND, Limit, nanoseconds
from headway.limits.meters.meter import EVENT
from headway.limits.ticket import Ticket

__all__ = ["Prediction", "predict"]


@dataclass(frozen=True, slots=True)
class Prediction:
    """Seconds from the first call to the last reply, and the limit that held the calls up longest ('' for none).

    `longest`: by limit, the longest that a call had to wait for it at once, in seconds.
    """

    seconds: float
    binding_limit: str
    longest: Mapping[str, float] = field(default_factory=dict)


def predict(
    calls: int,
    limits: Iterable[Limit],
    *,
    latency: float,
    room: int,
    wall: float,
    share: float = 1.0,
    reserve: int = 0,
    pacing: str | None = None,
    used: Mapping[str, int] | None = None,
    paused: Mapping[str, float] | None = None,
    opening: int = 0,
) -> Prediction:
    """Run the gate for so many calls. `wall` is now in Unix seconds; `used` the calls of each quota used before.

    `paused`: seconds for which a limit lets nothing pass; `opening`: so many calls go one after the other before the
    rest.
    """
    gate = Gate(limits, share=share, reserve=reserve, pacing=pacing)
    start = nanoseconds(wall)
    gate.look_at(0, start)
    for name, count in (used or {}).items():
        meter = gate.meters[name]  # as if a reply had said so
        meter.hear(Remaining("daily", meter.amount, max(0, meter.amount - count), name=name), 0, 1, Ticket(()))
    for name, seconds in (paused or {}).items():
        gate.meters[name].pause(nanoseconds(seconds))
    return _Simulation(gate, start, nanoseconds(latency), max(1, room), opening).run(calls)


class _Simulation:
    def __init__(self, gate: Gate, start: int, latency: int, room: int, opening: int) -> None:
        self._gate = gate
        self._start = start
        self._latency = latency
        self._room = room
        self._opening = opening
        self._waited: dict[str, int] = {}
        self._longest: dict[str, float] = {}
        self._now = 0

    def run(self, calls: int) -> Prediction:
        gate, latency = self._gate, self._latency
        meters = gate.choose(None)
        flying: list[tuple[int, int, Ticket]] = []
        left, number = calls, 0
        while left or flying:
            at = EVENT
            room = 1 if number - len(flying) < self._opening else self._room
            if left and len(flying) < room:
                ticket = Ticket(meters)
                at = gate.take(ticket, self._now)
                if not at:
                    left -= 1
                    number += 1
                    heappush(flying, (self._now + latency, number, ticket))
                    continue
                self._note(ticket, at)
            self._now = max(self._now, min(at, flying[0][0] if flying else EVENT))
            if self._now >= EVENT:
                raise RuntimeError("no call in flight, and nothing that will ever free a place")
            if self._now >= gate.next_look:
                gate.look_at(self._now, self._start + self._now)
            while flying and flying[0][0] <= self._now:
                gate.settle(heappop(flying)[2], self._now)
        binding = max(self._waited, key=lambda name: self._waited[name], default="")
        return Prediction(self._now / SECOND, binding, self._longest)

    def _note(self, ticket: Ticket, at: int) -> None:
        if at >= EVENT:
            return
        _, name = self._gate.reason(ticket, self._now)
        wait = max(0, at - self._now)
        self._waited[name] = self._waited.get(name, 0) + wait
        self._longest[name] = max(self._longest.get(name, 0.0), wait / SECOND)
