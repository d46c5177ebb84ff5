"""What was counted against one limit, and what every kind of limit has in common: pauses, pacing, lent places.

A meter belongs to one gate and answers for itself. Rules:
* `take(now, cost)` takes places and returns 0, or says why not: the earliest instant at which it could, or `EVENT`
  where only an event can tell (a reply, the lender). Nothing is taken then.
* A step is undone or finished by whoever is interrupted in it (see gate.py), so every method that counts stores its
  figures last, after all that can raise.
* A place in flight has no instant at which it frees itself, unless the limit has an `arrival_bound`.
* `places` is None for a meter of one's own; a meter with shared state may use only the places lent to it, and only
  before `lease_until` (see sharing/). Nothing that happens to a lease makes it forget what is in flight or cooling.
* Every belief that a reply changed has a bound and a way back: see `relax`.
* Instants are integer nanoseconds of the monotonic clock.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Protocol

from headway.limits.clock import WallClock
from headway.limits.headers import Remaining
from headway.limits.limits import Limit

__all__ = ["EVENT", "FOREVER", "TOLD", "Call", "Meter", "usable"]

FOREVER = 1 << 62
EVENT = FOREVER
_QUIET_WINDOWS = 10
TOLD = "told-"
"""How the names of limits begin that replies told of and the profile lacks."""


class Call(Protocol):
    """What a meter may know of a call that it counted."""

    @property
    def granted(self) -> int: ...
    @property
    def sent_at(self) -> int: ...
    @property
    def refused(self) -> bool: ...

    @property
    def rare(self) -> object | None:
        """None: there is nothing unusual about it. It was not refused and its writing was not stamped."""


class _Gone:
    """A call of which nothing is known."""

    granted = sent_at = 0
    refused = False
    rare = None


_GONE = _Gone()


def usable(amount: int, share: float, reserve: int = 0) -> int:
    """How much of a limit we use: its share, less the reserve, at least 1."""
    return max(1, min(int(amount * share + 1e-9), amount) - reserve)


class Meter(ABC):
    """One limit's books. `amount`: what the user or the profile says; `cap`: what may be used of it just now."""

    __slots__ = (
        "allowed", "amount", "bit", "bursts", "cap", "crowded", "due", "in_flight", "lanes", "learned", "learned_at",
        "lease_until",
        "limit", "name", "opens", "opens_at", "paced", "paused_until", "places", "reserve", "share", "shuts",
        "smooth_until", "spacing", "whole",
    )  # fmt: skip
    kind = ""
    weighs = True
    """Whether a call may turn out to cost another amount than was taken for it."""
    sharing = "places"
    """How shared state lends it: "places", "lots" (of a calendar quota), "" for not at all."""

    def __init__(self, name: str, amount: int, share: float, reserve: int = 0) -> None:
        self.name = name
        self.amount = amount
        self.share = share
        self.reserve = reserve
        self.allowed = self.cap = self.limit = usable(amount, share, reserve)
        self.learned: int | None = None  # the amount that the platform named …
        self.learned_at = 0  # … or what else it taught, and when (wall)
        self.places: int | None = None
        self.lease_until = FOREVER
        self.whole = 0  # how many there are in all to be lent, as far as we heard
        self.opens_at = 0  # when a state that is not open yet lends at the latest; 0 if unknown
        self.in_flight = 0
        self.paused_until = 0
        self.bursts = True
        self.smooth_until = FOREVER
        self.crowded = False
        self.spacing = 0
        self.due = 0
        self.paced = False
        # The plain case is opens <= now < shuts: not paused, paced or without a lease, nothing to be tidied up first.
        self.opens = 0
        self.shuts = FOREVER
        self.bit = 0  # set by the gate
        self.lanes = 0

    # -- admission

    @abstractmethod
    def take(self, now: int, cost: int) -> int:
        """0 if `cost` places were taken, else the earliest instant at which they could be, or EVENT."""

    def when(self, now: int, cost: int) -> int:
        """As `take`, and takes nothing: 0, an instant after `now`, or EVENT."""
        if now < self.paused_until:
            return self.paused_until
        if now >= self.lease_until:
            return self.opens_at if self.opens_at > now else EVENT
        # What costs more than there is goes alone, and where places are lent that takes all that there are.
        at = self.room(now, cost if cost <= self.cap else max(self.cap, self.whole))
        if at == 0 and self.paced and now < self.due:
            return self.due
        return at

    @abstractmethod
    def room(self, now: int, cost: int) -> int:
        """As `when`, without pauses, leases and pacing."""

    def soonest(self, now: int, cost: int) -> int:
        """The earliest instant at which `cost` could fit if all that is in flight settled now; 0 for at once."""
        at = max(self.paused_until, self.due if self.paced else 0, self.opens_at)
        free = self.hoped(now, min(cost, self.cap))
        at = max(at, free)
        return 0 if at <= now else at

    @abstractmethod
    def hoped(self, now: int, cost: int) -> int:
        """As `soonest`, without pauses, leases and pacing."""

    @property
    def may_grow(self) -> bool:
        """Whether the lender may have more than is lent now, so that no instant is certain."""
        return self.places is not None and self.places < self.cap

    @property
    def turnaround(self) -> int:
        """Nanoseconds from a reply until its place is free again."""
        return 0

    def pace(self, now: int, cost: int) -> None:
        """Keep the next call at a distance. A timer late by less than one spacing is made good by the next call."""
        begin = self.due if now - self.due < self.spacing else now
        self.due = begin + cost * self.spacing
        self.tidy()

    def unpace(self, cost: int) -> None:
        """Undo the `pace` of a call that was not sent: another limit refused it, or nobody came for it."""
        self.due -= cost * self.spacing
        self.tidy()

    def tidy(self) -> None:
        """Recompute what the plain case is told by, after a change."""
        self.paced = self.spacing > 0 and (self.crowded or not self.bursts)
        self.opens = max(self.paused_until, self.due) if self.paced else self.paused_until
        self.shuts = self.lease_until
        self.limit = self.cap if self.places is None else min(self.cap, self.places)

    # -- after the grant

    @abstractmethod
    def settle(self, now: int, cost: int, call: Call) -> None:
        """The reply is there."""

    @abstractmethod
    def lose(self, now: int, cost: int, call: Call, linger: int) -> None:
        """No reply comes; the platform has counted the call within `linger` nanoseconds, or never will."""

    @abstractmethod
    def give_back(self, cost: int, call: Call) -> None:
        """The call was certainly not sent."""

    @abstractmethod
    def correct(self, now: int, cost: int, actual: int, call: Call) -> None:
        """A call in flight, for which `cost` was taken, costs `actual`."""

    def stamp(self, now: int, cost: int, call: Call) -> bool:
        """The last byte was written at `now`, on an open connection; True if the place now frees itself."""
        del now, cost, call
        return False

    def refused(self, now: int, call: Call | None, *, named: bool) -> None:
        """The platform refused a call for its rate: because of this limit if `named`."""

    def reconcile(self, now: int, flying: list[tuple[int, int]], linger: int) -> int:
        """Of the calls in flight only these exist, (granted, cost): what the rest holds lingers. Returns its cost."""
        missing = self.in_flight - sum(cost for _, cost in flying)
        if missing > 0:
            self.lose(now, missing, _GONE, linger)
        return max(0, missing)

    # -- what a gate is told

    def began(self, now: int, counted: int, flying: int, trip: int) -> None:
        """The limit was learned just now, when the platform had counted so many calls of it.

        `flying` more are under way; the one that told took `trip` nanoseconds.
        """

    @property
    def told(self) -> bool:
        """Whether the platform's replies alone tell of this limit."""
        return self.name.startswith(TOLD)

    def used_before(self, count: int) -> None:
        """So many calls of a quota were used before, by anybody; of other limits what was used comes back at once."""

    @property
    def rate(self) -> float | None:
        """Calls per second that a limit which is searched for allows now."""
        return None

    def pause(self, until: int) -> None:
        """Nothing goes before `until`."""
        self.paused_until = max(self.paused_until, until)
        self.tidy()

    def backoff_limit(self, now: int) -> tuple[int, int]:
        """(least, most) nanoseconds of a pause after a refusal that says nothing of how long."""
        del now
        return 0, FOREVER

    def surprised(self, now: int) -> str:
        """A refusal that our books did not foresee: no longer believed is what made it possible, said in words."""
        if not self.spacing:
            return ""
        said = f"{self.name}: paced smoothly for {_QUIET_WINDOWS} quiet windows" if self.bursts else ""
        if self.bursts or self.smooth_until < FOREVER:  # smooth for ever is what the user asked for
            self.bursts = False
            self.smooth_until = now + _QUIET_WINDOWS * max(self.turnaround, 1)
            self.tidy()
        return said

    def meant_by(self, word: Remaining) -> bool:
        """Whether a reply's word on a limit that it does not name speaks of this one."""
        del word
        return False

    def current(self, call: Call) -> bool:
        """Whether what the reply to this call says of the limit is about the present."""
        del call
        return True

    def hear(self, word: Remaining, now: int, cost: int, call: Call) -> str:
        """Take up what the reply to `call` says is left; returns what it disproves, in words."""
        del now, cost, call
        self.told_amount(word.limit)
        return ""

    def told_amount(self, amount: int) -> bool:
        """The platform says that the limit is `amount`: never above what the user set. True if the cap changed."""
        if amount < 1 or amount == self.learned:
            return False
        before = self.cap
        self.learned = amount
        self.set_cap(min(self.allowed, usable(amount, self.share, self.reserve)))
        return self.cap != before

    def set_cap(self, cap: int) -> None:
        """At most `cap` from now on."""
        self.cap = max(1, cap)
        self.tidy()

    def relax(self, now: int, wall: int) -> int:
        """Give up beliefs whose time is over; returns when to look again. `wall`: what is believed of the calendar."""
        del wall
        if self.smooth_until <= now:
            self.bursts, self.smooth_until = True, FOREVER
            self.tidy()
        return self.smooth_until

    def take_up(self, limit: Limit) -> None:
        """The limit as it is known now: a calendar quota learns when it begins anew; nothing else changes."""

    def turn_by(self, clock: WallClock) -> None:
        """This clock is believed for calendars."""

    # -- lent places

    def lend(self, places: int, until: int) -> None:
        """So many places are lent to us now, usable before `until`."""
        self.places, self.lease_until = places, until
        self.tidy()

    def stricten(self, amount: int, turnaround: int) -> None:
        """Of all who share the limit the strictest figures hold: so many places, each free so long after a reply."""
        del turnaround
        self.set_cap(amount)

    def forget(self) -> None:
        """After a fork: what is in flight and cooling is the parent's."""
        self.in_flight = 0
        self.lend(0, 0)

    def held(self, now: int) -> int:
        """Places in flight and cooling."""
        del now
        return self.in_flight

    def cooling(self, now: int) -> list[tuple[int, int]]:
        """(Nanoseconds left, places) of all that cools, soonest first."""
        del now
        return []

    def surrender(self, now: int, count: int) -> list[tuple[int, int]]:
        """Give back up to `count` lent places, those first that are free soonest: (nanoseconds left, places)."""
        places = self.places or 0
        free = min(count, max(0, places - self.held(now)))
        if free <= 0:
            return []
        self.lend(places - free, self.lease_until)
        return [(0, free)]

    # -- for people, and for the next process

    def counts(self, now: int) -> tuple[int, int, int]:
        """(In flight, cooling, free), as far as this process knows."""
        held = self.held(now)
        flying = min(self.in_flight, held)
        return flying, held - flying, max(0, self.cap - held)

    def memory(self) -> dict[str, int]:
        """What replies taught that the next process should know: plain numbers."""
        return {} if self.learned is None else {"amount": self.learned}

    def recall(self, said: Mapping[str, int]) -> None:
        """Take up what another process learned."""
        amount = said.get("amount")
        if isinstance(amount, int):
            self.told_amount(amount)
