"""How long a number of calls takes: the very gate that a run uses, in virtual time.

Pure: no clock is read, the instants are made here. The calls are all of one kind, always ready, and
at most `room` of them are in flight; each takes `latency` seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush

from headway.limits.gate import Gate
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
        gate.meters[name].used_before(max(0, count))
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
        flying: list[tuple[int, int, Ticket]] = []
        left, number = calls, 0
        while left or flying:
            wake = EVENT
            room = 1 if number - len(flying) < self._opening else self._room
            if left and len(flying) < room:
                ticket = Ticket(gate.all)
                wake = self._take(ticket)
                if not wake:
                    left -= 1
                    number += 1
                    heappush(flying, (self._now + latency, number, ticket))
                    continue
            at = min(wake, flying[0][0]) if flying else wake
            if at >= EVENT:
                break  # nothing can ever free a place: a limit without an end of its own
            self._now = max(self._now, at)
            while flying and flying[0][0] <= self._now:
                gate.settle(heappop(flying)[2], self._now)
        binding = max(self._waited, key=lambda name: self._waited[name], default="")
        return Prediction(self._now / SECOND, binding, self._longest)

    def _take(self, ticket: Ticket) -> int:
        """0 if the call goes now, else the instant before which it cannot; notes what it waits for."""
        gate, now = self._gate, self._now
        if now >= gate.next_look:
            gate.look_at(now, self._start + now)
        at = gate.take(ticket, now)
        if 0 < at < EVENT and gate.blamed is not None:
            name, wait = gate.blamed.name, at - now
            self._waited[name] = self._waited.get(name, 0) + wait
            self._longest[name] = max(self._longest.get(name, 0.0), wait / SECOND)
        return at
