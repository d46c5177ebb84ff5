"""What replies teach a gate: pauses after refusals, limits learned, calls of others.

Rules:
* A refusal pauses the limit that it names; if it names none, the one limit that the call counted against if there is
  but one; else the account. Until Retry-After (0 or past is honoured once, the second in a row backs off), else until
  the reset that the reply tells, else 1 s doubling to what the limit's kind allows, with jitter.
* One flight of refusals is one event: calls sent before the last pause began say nothing new.
* Retry-After is believed up to a ceiling (1 h, or a quota's reset if that is later); beyond it we still wait, and
  say so.
* A refusal that our books did not foresee turns a window smooth and withdraws `arrival_bound`; every belief has its
  way back (docs/architecture.md, "Beliefs").
* A limit learned from the platform is enforced exactly, never above what the user set; a window that it names and we
  lack is added.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from headway.limits.gate import Gate
from headway.limits.headers import Remaining
from headway.limits.limits import SECOND, Window
from headway.limits.meters.meter import FOREVER, TOLD, Meter
from headway.limits.sharing.learned import merge
from headway.limits.ticket import Ticket

__all__ = ["CEILING", "Learned", "Pause", "Rejections", "learn", "memories", "recall"]

CEILING = 3600 * SECOND
_LONGEST = 60 * SECOND
_MOST_TOLD = 4


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing goes to `limit` ('' for the account) for `nanoseconds`.

    `fresh` is False for a refusal of a flight that was seen before. `refuted` says in words what is no longer
    believed, '' if nothing. `parked`: the platform asked for more than the ceiling.
    """

    limit: str
    nanoseconds: int
    fresh: bool
    refuted: str = ""
    parked: bool = False


class Rejections:
    """The memory of one gate's rate-limit replies."""

    __slots__ = ("_cut", "_gate", "_streak")

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._cut: dict[str, int] = {}
        self._streak: dict[str, int] = {}

    def delivered(self, sent: int) -> None:
        """A call sent at `sent` was accepted: back-offs that began before it start over."""
        if self._streak:
            for name in [name for name, cut in self._cut.items() if sent > cut]:
                self._streak.pop(name, None)

    def rejected(
        self, now: int, ticket: Ticket | None, limit: str, retry_after: int | None, reset: int | None = None
    ) -> Pause:
        """A call was refused for its rate; `retry_after` and `reset` in ns from now, as the reply tells them."""
        gate = self._gate
        gate.refused(ticket, limit, now)
        meter = gate.meters.get(limit)
        if meter is None and ticket is not None and len(ticket.meters) == 1:
            meter = ticket.meters[0]
        name = "" if meter is None else meter.name
        sent = now if ticket is None else ticket.granted
        again = sent <= self._cut.get(name, -1)
        until = gate.paused_until if meter is None else meter.paused_until
        if again and not retry_after:
            return Pause(name, max(0, until - now), fresh=False)
        until = max(until, now + self._wait(now, name, meter, retry_after, reset))
        if meter is None:
            gate.pause(until)
        else:
            meter.pause(until)
        refuted = ""
        if not again:
            self._cut[name] = now
            self._streak[name] = self._streak.get(name, 0) + 1
            refuted = self._refute(meter, ticket, now)
        parked = retry_after is not None and retry_after > CEILING
        return Pause(name, until - now, not again, refuted, parked)

    def _wait(self, now: int, name: str, meter: Meter | None, retry_after: int | None, reset: int | None) -> int:
        streak = self._streak.get(name, 0)
        if retry_after is not None and (retry_after > 0 or streak == 0):
            return max(0, retry_after)
        if retry_after is None and reset is not None and reset > 0:
            return reset
        least, most = (0, _LONGEST) if meter is None else meter.backoff_limit(now)
        if meter is None:  # what is searched for recovers sooner
            most = min(most, *(each.backoff_limit(now)[1] for each in self._gate.all if not each.sharing), FOREVER)
        doubled = SECOND << min(streak - (1 if retry_after is not None else 0), 6)
        doubled += doubled * (now // 1000 % 997) // 1994  # up to half as much again: who was refused together parts
        return max(least, min(doubled, most))

    def _refute(self, meter: Meter | None, ticket: Ticket | None, now: int) -> str:
        """What a surprise disproves, changed for a while and said in words."""
        touched: Iterable[Meter] = (
            (meter,) if meter is not None else self._gate.all if ticket is None else ticket.meters
        )
        said = []
        for each in touched:
            said.append(each.surprised(now))
            self._gate.unsettled(each)
        return "; ".join(word for word in said if word)


@dataclass(slots=True)
class Learned:
    """What one reply taught.

    Per limit the calls that the platform had counted, everybody's; windows that it names and the gate lacks; what it
    disproves, in words.
    """

    counted: dict[str, int] = field(default_factory=dict)
    windows: list[Window] = field(default_factory=list)
    refuted: list[str] = field(default_factory=list)
    paused: int = 0
    flying: int = 0  # other calls under way, which such a window counts as well
    news: bool = False  # other processes should know


def learn(gate: Gate, ticket: Ticket, said: Sequence[Remaining], now: int, wall: int) -> Learned:
    """Take up what the reply to the ticket's call says is left of limits."""
    learned = Learned()
    for word in said:
        meter = gate.meters.get(word.name) if word.name else _meant(ticket.meters, word)
        if meter is None:
            _unknown(gate, ticket, word, now, learned)
            continue
        before, told = meter.memory(), ""
        if meter.current(ticket):
            learned.counted[meter.name] = max(0, word.limit - word.remaining)
            told = meter.hear(word, now, ticket.cost_of(meter), ticket)
        else:
            meter.told_amount(word.limit)  # what was counted is of a period that is over; the amount is not
        if meter.memory() != before:
            meter.learned_at, learned.news = wall, True
        gate.unsettled(meter)
        if told:
            learned.refuted.append(told)
    return learned


def _unknown(gate: Gate, ticket: Ticket, word: Remaining, now: int, learned: Learned) -> None:
    """A limit that the profile lacks: added if its window is known, else respected when nothing of it is left."""
    if word.kind != "window" or any(meter.meant_by(word) for meter in ticket.meters):
        return
    told = sum(1 for meter in gate.all if meter.told)
    if word.per is not None and told < _MOST_TOLD:
        name = f"{TOLD}{word.per:g}s"
        if name not in gate.meters:
            learned.windows.append(Window(word.limit, word.per, name))
            learned.counted[name] = word.limit - word.remaining
            learned.flying = max((meter.in_flight for meter in ticket.meters), default=1) - 1
            learned.news = True
    elif word.reset is not None and word.remaining <= max(meter.in_flight for meter in ticket.meters) - ticket.cost:
        gate.pause(now + int(word.reset * SECOND))
        learned.paused = gate.paused_until - now


def _meant(meters: Iterable[Meter], word: Remaining) -> Meter | None:
    """The one meter of the ticket's that a header speaks of, None if it could be several or none."""
    found = [meter for meter in meters if meter.meant_by(word)]
    return found[0] if len(found) == 1 else None


def memories(gate: Gate) -> dict[str, dict[str, int]]:
    """What replies taught of each limit that the next process should know, as plain numbers; `at`: when (wall, ns)."""
    found = {meter.name: (meter.memory(), meter.learned_at) for meter in gate.all}
    return {name: {**said, "at": at} for name, (said, at) in found.items() if said}


def recall(gate: Gate, said: Mapping[str, Mapping[str, Any]]) -> list[Meter]:
    """Take up what other processes learned of these limits; returns those that only they had heard of."""
    added: list[Meter] = []
    for name, words in said.items():
        meter = gate.meters.get(name)
        amount, per = words.get("amount"), words.get("per")
        if meter is None and name.startswith(TOLD) and isinstance(amount, int) and isinstance(per, int) and per > 0:
            meter = gate.add(Window(amount, per / SECOND, name))
            added.append(meter)
        if meter is not None:
            at, mine = int(words.get("at", 0)), meter.memory()
            # What we learned since they were told is not undone.
            both = merge({name: {**mine, "at": meter.learned_at}}, {name: words}, at) if mine else {}
            meter.recall(both.get(name, words))
            meter.learned_at = max(meter.learned_at, at)
            gate.unsettled(meter)
    return added
