"""What replies teach a gate: pauses after rejections, limits learned, calls of others.

Rules:
* A rejection pauses the limit it names, or the account when it names none: until Retry-After, else for a window its
  `per`, for a quota until the reset, else 1 s doubling to 60 s, with jitter.
* One flight of rejections is one event: calls sent before the last pause began say nothing new.
* Retry-After is believed up to a ceiling (1 h, or a quota's reset if that is later); beyond it we still wait, and
  say so.
* A surprise rejection under `burst` turns to `smooth` and withdraws `arrival_bound` for the rest of the run.
* A limit learned from the platform is enforced exactly, never above what the user set.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from headway.limits.gate import Gate, Ticket, usable
from headway.limits.headers import Remaining
from headway.limits.history import History
from headway.limits.limits import SECOND
from headway.limits.meters.adaptive import AdaptiveMeter
from headway.limits.meters.places import BucketMeter, ConcurrencyMeter, Meter, WindowMeter
from headway.limits.meters.quota import QuotaMeter

__all__ = ["CEILING", "Pause", "Rejections", "learn", "learn_date", "learn_limit"]

CEILING = 3600 * SECOND
_LONGEST = 60 * SECOND
_ASK_AGAIN = 900 * SECOND


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing goes to `limit` ('' for the account) for `nanoseconds`.

    `fresh` is False for a rejection of a flight that was seen before. `refuted` says in words what is no longer
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

    def rejected(self, now: int, wall: int, sent: int, limit: str, retry_after: int | None) -> Pause:
        """A call sent at `sent` was refused for its rate; `retry_after` in ns as the platform said it."""
        self._gate.express = None
        meter = self._gate.meters.get(limit)
        name = limit if meter is not None else ""
        again = sent <= self._cut.get(name, -1)
        if retry_after is None and again:
            return Pause(name, max(0, self._until(meter) - now), fresh=False)
        wait = self._wait(now, wall, name, meter, retry_after)
        until = max(now + wait, self._until(meter))
        if meter is None:
            self._gate.paused_until = until
        else:
            meter.paused_until = until
        if not again:
            self._cut[name] = now
            self._streak[name] = self._streak.get(name, 0) + 1
        refuted = "" if again else _refute(meter, self._gate)
        parked = retry_after is not None and retry_after > CEILING
        return Pause(name, until - now, not again, refuted, parked)

    def _until(self, meter: Meter | None) -> int:
        return self._gate.paused_until if meter is None else meter.paused_until

    def _wait(self, now: int, wall: int, name: str, meter: Meter | None, retry_after: int | None) -> int:
        if retry_after is not None:
            return max(0, retry_after)
        if isinstance(meter, QuotaMeter):
            believed = meter.roll(now, wall)
            return meter.end + meter.skew - believed
        if isinstance(meter, WindowMeter) and not (meter.slot or isinstance(meter, AdaptiveMeter)):
            return meter.per + meter.guard
        if isinstance(meter, WindowMeter) and meter.slot:
            return min(_ASK_AGAIN, meter.per // 24)  # no clock tells when places come free: one call asks now and then
        doubled: int = SECOND << min(self._streak.get(name, 0), 6)
        doubled += doubled * (now // 1000 % 997) // 1994  # up to half as much again: who was refused together parts
        searched = [each.pause for each in self._gate.adaptive if meter is None or meter is each]
        return min(doubled, _LONGEST, *searched)


def _refute(meter: Meter | None, gate: Gate) -> str:
    """What a surprise rejection disproves, changed for the rest of the run and said in words."""
    touched = [meter] if meter is not None else list(gate.meters.values())
    said = []
    for one in touched:
        if isinstance(one, WindowMeter) and one.withdraw_bound():
            said.append(f"{one.name}: arrival_bound is no longer believed")
        if isinstance(one, WindowMeter | BucketMeter) and one.bursts and one.spacing:
            one.bursts = False
            said.append(f"{one.name}: paced smoothly from now on")
    return "; ".join(said)


def learn_limit(meter: Meter, amount: int, share: float) -> bool:
    """The platform says that the limit is `amount`: never above what the user set. True if the cap went down."""
    if isinstance(meter, ConcurrencyMeter) or amount < 1:
        return False
    cap = max(1, min(meter.cap, int(amount * share + 1e-9)))
    if cap >= meter.cap:
        return False
    meter.cap = cap
    if isinstance(meter, WindowMeter):
        meter.allowed = cap
        if not meter.slot:
            meter.spacing = meter.per // cap
    return True


def learn(
    gate: Gate, ticket: Ticket, said: Sequence[Remaining], now: int, wall: int, refuted: list[str] | None = None
) -> dict[str, int]:
    """Take up what a reply says is left of the ticket's limits.

    Returns, per limit, the calls that the platform had counted, everybody's. What others used of a calendar quota is
    kept until the reset, what they hold of a window that is paced smoothly for one window; a lower limit than ours is
    enforced. What a count disproves is added to `refuted` in words.
    """
    heard: dict[str, int] = {}
    if said:
        gate.express = None
    for word in said:
        meter = gate.meters.get(word.name) if word.name else _meant(ticket.lane.meters, word)
        if meter is None:
            continue
        counted = max(0, word.limit - word.remaining)
        learn_limit(meter, word.limit, gate.share)
        heard[meter.name] = counted
        if isinstance(meter, WindowMeter) and meter.slot:
            _leave_to_others(meter, gate, word, now)
        elif isinstance(meter, WindowMeter):
            told = _compare(meter, ticket, word, now)
            if told and refuted is not None:
                refuted.append(told)
        if isinstance(meter, QuotaMeter) and meter.places is None:
            meter.roll(now, wall)
            if not meter.in_zone:  # near a reset nobody knows which period the platform meant
                meter.foreign = max(meter.foreign, counted - meter.used)
    return heard


def _leave_to_others(meter: WindowMeter, gate: Gate, word: Remaining, now: int) -> None:
    """A rolling quota: no more may go than the platform says is left, whoever used the rest; one may always ask."""
    left = usable(word.limit, gate.share, gate.reserve) - (word.limit - word.remaining)
    meter.cap = max(1, min(meter.allowed, meter.held(now, 0) + left))


def _compare(meter: WindowMeter, ticket: Ticket, word: Remaining, now: int) -> str:
    """What the platform counted beside what we sent: how much is others', and whether our profile can be true."""
    alone = meter.places is None or meter.places >= meter.allowed
    if not alone:  # other processes of ours send as well, and their calls are not in our history
        meter.history = None
        return ""
    if meter.history is None:
        meter.history = History(now, meter.per)
        return ""
    grant = next(grant for of, grant in zip(ticket.lane.meters, ticket.grants, strict=True) if of is meter)
    bounds = meter.history.bounds(grant, now, meter.in_flight)
    if bounds is None:
        return ""
    low, high = bounds
    counted = word.limit - word.remaining
    if not meter.bursts:
        held = meter.history.foreign(now, max(0.0, counted - (low + high) / 2))
        meter.cap = max(1, min(meter.allowed, int(min(meter.amount, word.limit) - held)))
    if counted < low and word.limit == meter.amount and meter.history.refutes(now):
        meter.withdraw_bound()
        meter.guard *= 2
        return f"{meter.name}: the platform counts later than was believed: guard doubled to {meter.guard / SECOND:g} s"
    return ""


def learn_date(ticket: Ticket, date: int | None, now: int) -> None:
    """The platform's clock, where ours has jumped and a calendar quota no longer believes it."""
    if date is not None:
        for meter in ticket.lane.meters:
            if isinstance(meter, QuotaMeter):
                meter.clock.platform_says(now, date)


def _meant(meters: Iterable[Meter], word: Remaining) -> Meter | None:
    """The one meter of the ticket's that a header speaks of, None if it could be several or none."""
    found: list[Meter]
    if word.kind == "daily":
        found = [
            meter
            for meter in meters
            if isinstance(meter, QuotaMeter)
            or (meter.name == "daily" and isinstance(meter, WindowMeter) and meter.slot)
        ]
    else:
        windows = [each for each in meters if isinstance(each, WindowMeter) and not each.slot and each.kind == "window"]
        found = [meter for meter in windows if word.per is None or abs(meter.per - word.per * SECOND) < SECOND // 100]
    return found[0] if len(found) == 1 else None
