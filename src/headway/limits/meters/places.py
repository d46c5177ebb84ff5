"""What was counted against a limit so far: places in flight, cooling and free.

A meter belongs to one gate. Rules:
* `hold` is what is taken: in flight and cooling. A call fits when `hold + cost <= ceiling`.
* A place in flight has no instant at which it frees itself, unless the limit has an `arrival_bound`.
* `places` is None for a meter of one's own; a meter with shared state may use only the places lent to it, and only
  before `lease_until` (see lending.py).
* A grant remembers the meter's `generation`: when lent places were taken away (VOID), what settles later is nobody's.
* Instants are integer nanoseconds of the monotonic clock.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from bisect import bisect_right
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

from headway.limits.limits import Bucket, Concurrency, Window, guard_ns, nanoseconds

if TYPE_CHECKING:
    from headway.limits.history import History

__all__ = ["BucketMeter", "ConcurrencyMeter", "Grant", "Meter", "PlacesMeter", "RollingQuotaMeter", "WindowMeter"]


_FEW = 8  # places of one call that are worth a ring entry each


class Grant:
    """What one ticket took from one meter."""

    __slots__ = ("cost", "freed", "generation", "granted", "sent", "settled")

    def __init__(self, generation: int, cost: int, granted: int) -> None:
        self.generation = generation
        self.cost = cost
        self.granted = granted
        self.sent: int | None = None
        self.settled: int | None = None
        self.freed = False


class Meter(ABC):
    """The common part: pauses, pacing, lent places."""

    __slots__ = (
        "amount", "bursts", "cap", "crowded", "due", "generation", "in_flight", "lease_until", "name",
        "paused_until", "places", "spacing",
    )  # fmt: skip
    kind = ""

    def __init__(self, name: str, amount: int, cap: int) -> None:
        self.name = name
        self.amount = amount
        self.cap = cap
        self.places: int | None = None
        self.lease_until: int | None = None
        self.generation = 0
        self.in_flight = 0
        self.paused_until = 0
        self.bursts = True
        self.crowded = False
        self.spacing = 0
        self.due = 0

    @property
    def ceiling(self) -> int:
        """The places that may be taken just now: the cap, or what is lent of it."""
        return self.cap if self.places is None else min(self.cap, self.places)

    @property
    def may_grow(self) -> bool:
        """Whether the lender may have more places than are lent now, so that no instant is certain."""
        return self.places is not None and self.places < self.cap

    def fits(self, now: int, wall: int, cost: int) -> int | None:
        """0 if `cost` may go now, else the earliest instant that can be named, None if only an event can tell."""
        if now < self.paused_until:
            return self.paused_until
        if self.lease_until is not None and now >= self.lease_until:
            return None
        at = self.room(now, wall, min(cost, self.cap))
        if at == 0 and self.spacing and (self.crowded or not self.bursts) and now < self.due:
            return self.due
        return at

    @abstractmethod
    def room(self, now: int, wall: int, cost: int) -> int | None:
        """As `fits`, without pauses and pacing."""

    def take(self, now: int, wall: int, cost: int) -> Grant:
        """Take `cost` places; the caller has asked `fits`."""
        del wall  # calendars need it
        self.in_flight += cost
        if self.spacing:
            # A timer that was late by less than one spacing is made good by the next call.
            self.due = (self.due if now - self.due < self.spacing else now) + cost * self.spacing
        return Grant(self.generation, cost, now)

    def stamp(self, grant: Grant, now: int) -> None:
        """The last byte was written at `now`, on a connection that was open."""
        grant.sent = now

    @abstractmethod
    def settle(self, grant: Grant, now: int, wall: int, *, lost: int, actual: int | None) -> None:
        """The call is over: its reply came at `now`, or it is certain to be counted within `lost` nanoseconds."""

    @abstractmethod
    def cancel(self, grant: Grant) -> None:
        """The call was certainly not sent."""

    def _mine(self, grant: Grant) -> bool:
        """Whether the grant still counts here; takes it out of flight."""
        if grant.generation != self.generation:
            return False
        self.in_flight -= grant.cost
        return True

    def void(self) -> None:
        """All lent places were taken away; what is in flight is the lender's to count."""
        self.generation += 1
        self.in_flight = 0
        self.places = 0

    def held(self, now: int, wall: int) -> int:
        """Places in flight and cooling."""
        self.room(now, wall, 0)
        return self.in_flight

    def surrender(self, now: int, wall: int, count: int) -> list[tuple[int, int]]:
        """Give back up to `count` lent places, those first that are free soonest: (nanoseconds left, places)."""
        free = min(count, max(0, (self.places or 0) - self.held(now, wall)))
        if free:
            assert self.places is not None
            self.places -= free
            return [(0, free)]
        return []


class PlacesMeter(Meter):
    """Places that are taken, cool and become free again."""

    __slots__ = ("_heap", "_seq", "head", "hold", "ring")

    def __init__(self, name: str, amount: int, cap: int) -> None:
        super().__init__(name, amount, cap)
        self.hold = 0
        # Places that cool one by one, soonest first, from `head` on; what is not in order is in the heap.
        self.ring: array[int] = array("q")
        self.head = 0
        self._heap: list[tuple[int, int, int, Grant | None]] = []
        self._seq = 0

    def room(self, now: int, wall: int, cost: int) -> int | None:
        del wall
        heap = self._heap
        while heap and heap[0][0] <= now:
            _, _, count, grant = heappop(heap)
            if grant is None:
                self.hold -= count
            elif not grant.freed:
                grant.freed = True
                self.hold -= grant.cost
        self.drain(now)
        missing = self.hold + cost - self.ceiling
        if missing <= 0:
            return 0
        if not heap:
            at = self.head + missing - 1
            return self.ring[at] if at < len(self.ring) else None
        if heap[0][3] is None:
            alone = self.head == len(self.ring)
            if missing == 1 or (alone and heap[0][2] >= missing):
                return heap[0][0] if alone else min(heap[0][0], self.ring[self.head])
        return self._when_freed(missing)

    @property
    def cooling_heap(self) -> bool:
        """Whether places cool out of order."""
        return bool(self._heap)

    def drain(self, now: int) -> None:
        """Free the places of the ring that have cooled."""
        ring, head = self.ring, self.head
        end = len(ring)
        if head == end or ring[head] > now:
            return
        head = bisect_right(ring, now, head)
        self.hold -= head - self.head
        self.head = head
        if head * 2 >= end:
            del ring[:head]
            self.head = 0

    def _when_freed(self, missing: int) -> int | None:
        seen: set[int] = set()
        cooling = [(at, 0, 1, None) for at in self.ring[self.head :]]
        for at, _, count, grant in sorted([*cooling, *self._heap], key=lambda entry: entry[:2]):
            if grant is not None and (grant.freed or id(grant) in seen):
                continue
            if grant is not None:
                seen.add(id(grant))
            missing -= count
            if missing <= 0:
                return at
        return None

    def push(self, at: int, count: int, grant: Grant | None = None) -> None:
        """`count` places cool until `at`."""
        self._seq += 1
        heappush(self._heap, (at, self._seq, count, grant))

    def cool(self, at: int, count: int) -> None:
        """As `push`; in the ring, which is far smaller, where that is in order."""
        ring = self.ring
        if count <= _FEW and self.places is None and (self.head == len(ring) or ring[-1] <= at):
            for _ in range(count):
                ring.append(at)
        else:
            self.push(at, count)

    def take(self, now: int, wall: int, cost: int) -> Grant:
        self.hold += cost
        return super().take(now, wall, cost)

    def cancel(self, grant: Grant) -> None:
        if self._mine(grant) and not grant.freed:
            grant.freed = True
            self.hold -= grant.cost

    def reconcile(self, grant: Grant, actual: int | None) -> None:
        """The true cost is known: take or give back the difference. Does nothing for a place that is free again."""
        if actual is None or grant.freed:
            return
        self.hold += actual - grant.cost
        grant.cost = actual

    def void(self) -> None:
        super().void()
        self.hold = 0
        self._heap.clear()
        del self.ring[:]
        self.head = 0

    def held(self, now: int, wall: int) -> int:
        self.room(now, wall, 0)
        return self.hold

    def surrender(self, now: int, wall: int, count: int) -> list[tuple[int, int]]:
        given = super().surrender(now, wall, count)
        left = count - sum(n for _, n in given)
        kept: list[tuple[int, int, int, Grant | None]] = []
        for entry in sorted(self._heap, key=lambda entry: entry[:2]):
            at, seq, places, grant = entry
            part = min(places, left)
            if part <= 0 or grant is not None:
                kept.append(entry)
                continue
            left -= part
            self.hold -= part
            assert self.places is not None
            self.places -= part
            given.append((max(0, at - now), part))
            if places > part:
                kept.append((at, seq, places - part, grant))
        self._heap = kept  # sorted, hence a heap
        return given


class WindowMeter(PlacesMeter):
    """A window: a place is free again one `per` and a guard after the call was certainly counted."""

    __slots__ = ("allowed", "arrival_bound", "guard", "history", "lag", "per", "slot", "span")
    kind = "window"

    def __init__(self, limit: Window, cap: int, *, slot: int = 0) -> None:
        super().__init__(limit.name, limit.amount, cap)
        self.per = nanoseconds(limit.per)
        self.guard = guard_ns(self.per) if limit.guard is None else nanoseconds(limit.guard)
        self.lag = nanoseconds(limit.lag)
        self.arrival_bound = None if limit.arrival_bound is None else nanoseconds(limit.arrival_bound)
        self.slot = slot
        self.spacing = 0 if slot else self.per // max(1, cap)
        self.allowed = cap
        self.history: History | None = None
        self.span = 0  # set where the express way is offered

    def stamp(self, grant: Grant, now: int) -> None:
        grant.sent = now
        if self.arrival_bound is not None and grant.generation == self.generation:
            self.push(now + self.arrival_bound + self.per + self.guard, grant.cost, grant)

    def settle(self, grant: Grant, now: int, wall: int, *, lost: int, actual: int | None) -> None:
        del wall
        if not self._mine(grant):
            return
        self.reconcile(grant, actual)
        if self.history is not None:
            self.history.settled(grant, now, lost=lost > 0, cost=grant.cost)
        at = now + self.lag + lost
        if self.slot:
            at += self.slot - at % self.slot
        if grant.sent is not None and self.arrival_bound is not None:
            grant.settled = at
            at = min(at, grant.sent + self.arrival_bound)
            self.push(at + self.per + self.guard, grant.cost, grant)
        elif self.slot and self._heap and self._heap[-1][0] == at + self.per + self.guard:
            last, seq, count, nobody = self._heap[-1]
            self._heap[-1] = (last, seq, count + grant.cost, nobody)
        elif lost:
            self.push(at + self.per + self.guard, grant.cost)  # far out of order: the ring would stand still behind it
        else:
            self.cool(at + self.per + self.guard, grant.cost)

    def withdraw_bound(self) -> bool:
        """Stop believing `arrival_bound`: places in flight no longer free themselves. True if there was one."""
        if self.arrival_bound is None:
            return False
        self.arrival_bound = None
        grants = {id(entry[3]): entry[3] for entry in self._heap if entry[3] is not None and not entry[3].freed}
        self._heap = [entry for entry in self._heap if entry[3] is None]
        heapify(self._heap)
        for grant in grants.values():
            if grant.settled is not None:
                self.push(grant.settled + self.per + self.guard, grant.cost, grant)
        return True


class RollingQuotaMeter(WindowMeter):
    """A quota of any span of `per`, in coarse slots: each place is free `per` after the end of its slot."""

    __slots__ = ()
    kind = "quota"


class ConcurrencyMeter(PlacesMeter):
    """Calls in flight; one without a reply keeps its slot for the linger. With `longer_than`, only old calls count.

    `draining`, after a refusal: nothing goes before all that is in flight has come back.
    """

    __slots__ = ("_ages", "draining", "longer_than")
    kind = "concurrency"

    def __init__(self, limit: Concurrency, cap: int) -> None:
        super().__init__(limit.name, limit.amount, cap)
        self.longer_than = None
        if limit.longer_than is not None:
            self.longer_than = max(0, nanoseconds(limit.longer_than) - nanoseconds(limit.margin))
        self._ages: dict[int, Grant] = {}
        self.draining = False

    def room(self, now: int, wall: int, cost: int) -> int | None:
        at = super().room(now, wall, cost)
        if self.draining:
            if self.in_flight:
                return None
            self.draining = False
        if self.longer_than is None:
            return at
        # Those lost and lingering are in `hold` but no longer in `_ages`: they count as old.
        old = self.hold - sum(grant.cost for grant in self._ages.values())
        for grant in self._ages.values():
            if grant.granted + self.longer_than > now:
                break
            old += grant.cost
        if old + cost <= self.ceiling or (cost == 0):
            return 0
        return self._heap[0][0] if self._heap else None

    def take(self, now: int, wall: int, cost: int) -> Grant:
        grant = super().take(now, wall, cost)
        if self.longer_than is not None:
            self._ages[id(grant)] = grant
        return grant

    def cancel(self, grant: Grant) -> None:
        self._ages.pop(id(grant), None)
        super().cancel(grant)

    def settle(self, grant: Grant, now: int, wall: int, *, lost: int, actual: int | None) -> None:
        del wall, actual
        self._ages.pop(id(grant), None)
        if not self._mine(grant):
            return
        if lost:
            self.push(now + lost, grant.cost)
        else:
            grant.freed = True
            self.hold -= grant.cost

    def void(self) -> None:
        super().void()
        self._ages.clear()


class BucketMeter(Meter):
    """A virtual bucket into which each call falls when it settles: level + in flight + cost <= capacity.

    Lent places are lent bucket: of K places, k drain at k/K of the rate, and no sum of such buckets can be fuller
    than the server's own.
    """

    __slots__ = ("_empty_at", "_losing", "_rate")
    kind = "bucket"

    def __init__(self, limit: Bucket, cap: int) -> None:
        super().__init__(limit.name, limit.amount, cap)
        self._rate = limit.rate * cap / limit.amount
        self._empty_at = 0
        self._losing: list[tuple[int, int]] = []
        self.spacing = nanoseconds(1 / self._rate)

    def _drain(self) -> int:
        """Nanoseconds for one call to drain, 500 ppm and 1 us slower than the server says."""
        mine = 1.0 if self.places is None else max(1, self.places) / self.cap
        each = 1_000_000_000 / (self._rate * min(1.0, mine))
        return int(each * 1.0005) + 1_000

    def _fall(self, now: int, cost: int) -> None:
        self._empty_at = max(self._empty_at, now) + cost * self._drain()

    def room(self, now: int, wall: int, cost: int) -> int | None:
        del wall
        while self._losing and self._losing[0][0] <= now:
            at, count = heappop(self._losing)
            self._fall(at, count)
            self.in_flight -= count
        spare = self.ceiling - self.in_flight - cost
        if spare < 0:
            return self._losing[0][0] if self._losing else None
        at = self._empty_at - spare * self._drain()
        return 0 if at <= now else at

    def settle(self, grant: Grant, now: int, wall: int, *, lost: int, actual: int | None) -> None:
        del wall
        if grant.generation != self.generation:
            return
        if lost:
            heappush(self._losing, (now + lost, grant.cost))
            return
        self.in_flight -= grant.cost
        self._fall(now, grant.cost if actual is None else actual)

    def cancel(self, grant: Grant) -> None:
        self._mine(grant)

    def held(self, now: int, wall: int) -> int:
        self.room(now, wall, 0)
        level = max(0, self._empty_at - now)
        return self.in_flight + -(-level // self._drain())

    def void(self) -> None:
        super().void()
        self._losing.clear()
        self._empty_at = 0
