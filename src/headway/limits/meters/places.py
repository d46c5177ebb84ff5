"""Places that are taken, cool and become free again: what windows and slots have in common."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from heapq import heappop, heappush

from headway.limits.meters.meter import EVENT, Call, Meter

__all__ = ["PlacesMeter"]

_SOME = 64  # places that may have cooled without being cleared away
_FEW = 8  # places of one call that are worth a ring entry each


class PlacesMeter(Meter):
    """A call fits while in flight + cooling + cost <= limit.

    What is held is never stored but added up from what is there, so that no interruption can tear it from its places.
    """

    __slots__ = ("_heap", "brim", "extra", "head", "last", "ring")

    def __init__(self, name: str, amount: int, share: float, reserve: int = 0) -> None:
        super().__init__(name, amount, share, reserve)
        # Places that cool one by one, soonest first, from `head` on; what is not in order is in the heap.
        self.ring: array[int] = array("q")
        self.head = 0
        self.last = 0  # no place of the ring is free later
        self._heap: list[tuple[int, int]] | None = None
        self.extra = 0  # places in the heap
        self.brim = min(_SOME, self.limit)  # what may be held before what has cooled is cleared away; at most the limit

    def take(self, now: int, cost: int) -> int:
        held = self.in_flight + self.extra + len(self.ring) - self.head
        if not self.opens <= now < self.shuts or held + cost > self.brim:
            at = self.when(now, cost)
            if at:
                return at
        if self.paced:
            self.pace(now, cost)
        self.in_flight += cost
        return 0

    def drain(self, now: int) -> None:
        """Free the places of the ring that have cooled."""
        ring = self.ring
        head = bisect_right(ring, now, self.head)
        if head * 2 >= len(ring):
            kept = ring[head:]
            self.head = 0
            self.ring = kept
        else:
            self.head = head

    def release(self, now: int) -> None:
        """Free everything that has cooled."""
        ring = self.ring
        if self.head < len(ring) and ring[self.head] <= now:
            self.drain(now)
        heap = self._heap
        while heap and heap[0][0] <= now:
            self.extra -= heap[0][1]
            heappop(heap)

    def tidy(self) -> None:
        super().tidy()
        self.brim = min(self.brim, self.limit)
        if self._heap:
            self.shuts = min(self.shuts, self._heap[0][0])

    def room(self, now: int, cost: int) -> int:
        if now >= self.shuts:
            self.release(now)
            self.tidy()
        else:
            self.release(now)
        self.brim = min(self.limit, 2 * self.holds + _SOME)
        missing = self.holds + cost - self.limit
        return 0 if missing <= 0 else self.freed(missing)

    @property
    def holds(self) -> int:
        """Places in flight and cooling, as of the last `release`."""
        return self.in_flight + self.extra + len(self.ring) - self.head

    def freed(self, missing: int) -> int:
        """When so many of the places that cool are free; EVENT if there are fewer."""
        ring, head, heap = self.ring, self.head, self._heap
        if not heap:
            at = head + missing - 1
            return ring[at] if at < len(ring) else EVENT
        for at, count in sorted([*((at, 1) for at in ring[head : head + missing]), *heap]):
            missing -= count
            if missing <= 0:
                return at
        return EVENT

    def hoped(self, now: int, cost: int) -> int:
        self.release(now)
        missing = self.holds + cost - (self.cap if self.may_grow else self.limit)
        if missing <= 0:
            return 0
        found = self.freed(missing)
        if not self.in_flight:
            return found if found < EVENT else 0
        return min(found, now + self.turnaround)  # when what is in flight would be free

    def push(self, at: int, count: int) -> None:
        """`count` places cool until `at`, in any order."""
        if count <= 0:
            return
        if self._heap is None:
            self._heap = []
        self.shuts = min(self.shuts, at)
        self.extra += count
        heappush(self._heap, (at, count))

    def cool(self, at: int, count: int) -> None:
        """As `push`; in the ring, which is far smaller, where that is in order."""
        ring = self.ring
        if count <= _FEW and (self.head == len(ring) or at >= self.last):
            self.last = at
            if count == 1:
                ring.append(at)
            else:
                ring.extend([at] * count)
        else:
            self.push(at, count)

    def give_back(self, cost: int, call: Call) -> None:
        self.in_flight -= cost

    def correct(self, now: int, cost: int, actual: int, call: Call) -> None:
        self.in_flight += actual - cost

    # -- lent places

    def held(self, now: int) -> int:
        self.release(now)
        return self.holds

    def cooling(self, now: int) -> list[tuple[int, int]]:
        self.release(now)
        found: dict[int, int] = {}
        for at in self.ring[self.head :]:
            found[at] = found.get(at, 0) + 1
        for at, count in self._heap or ():
            found[at] = found.get(at, 0) + count
        return [(at - now, count) for at, count in sorted(found.items())]

    def surrender(self, now: int, count: int) -> list[tuple[int, int]]:
        given = super().surrender(now, count)
        left = count - sum(places for _, places in given)
        if left <= 0:
            return given
        taken = 0
        for ahead, places in self.cooling(now):
            part = min(places, left - taken)
            if part <= 0:
                break
            given.append((ahead, part))
            taken += part
        self._forget(taken)
        self.lend((self.places or 0) - taken, self.lease_until)
        return given

    def _forget(self, count: int) -> None:
        """The `count` places that are free soonest are no longer ours."""
        heap, ring = self._heap or [], self.ring
        while count > 0:
            if heap and (self.head >= len(ring) or heap[0][0] < ring[self.head]):
                at, places = heappop(heap)
                self.extra -= places
                if places > count:
                    self.push(at, places - count)
                count -= min(places, count)
            else:
                self.head += 1
                count -= 1

    def forget(self) -> None:
        self.ring, self.head = array("q"), 0
        self._heap, self.extra = None, 0
        super().forget()
