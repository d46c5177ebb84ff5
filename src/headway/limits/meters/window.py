"""The meter of a window: a place is free again one `per` and a guard after the call was certainly counted.

    free_at = min(reply + lag, sent + arrival_bound) + per + guard

The proof that no window on the platform's clock then holds more than the amount is in docs/architecture.md.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping

from headway.limits.headers import Remaining
from headway.limits.history import History
from headway.limits.limits import SECOND, Window, guard_ns, nanoseconds
from headway.limits.meters.meter import EVENT, FOREVER, Call
from headway.limits.meters.places import PlacesMeter

__all__ = ["WindowMeter"]

_QUIET_WINDOWS = 10
_LONG = 10 * SECOND
_LONGEST_BACKOFF = 60 * SECOND
_MANY = 64  # calls that settled under a bound and may be free, without being cleared away


class WindowMeter(PlacesMeter):
    """At most `amount` calls in any `per`."""

    __slots__ = (
        "_bound", "_expired", "_foreign_until", "_late", "_relax_guard", "arrival_bound", "guard", "history", "lag",
        "per", "span",
    )  # fmt: skip
    kind = "window"

    def __init__(self, limit: Window, share: float, reserve: int = 0) -> None:
        del reserve  # of calendar quotas alone
        super().__init__(limit.name, limit.amount, share)
        self.per = nanoseconds(limit.per)
        self.guard = guard_ns(self.per) if limit.guard is None else nanoseconds(limit.guard)
        self.lag = nanoseconds(limit.lag)
        self.span = self.lag + self.per + self.guard
        self.arrival_bound = None if limit.arrival_bound is None else nanoseconds(limit.arrival_bound)
        self.spacing = self.per // max(1, self.cap)
        self.history: History | None = None
        self._foreign_until = FOREVER
        self._relax_guard: tuple[int, int] | None = None  # the guard to go back to, and when
        # Of calls in flight whose writing was stamped: when each place frees itself, soonest first, and how many have.
        self._bound: list[tuple[int, int]] | None = None
        self._expired = 0
        self._late: dict[int, int] = {}  # of calls that settled: free by the bound, and when without it

    @property
    def turnaround(self) -> int:
        return self.span

    # -- after the grant

    def settle(self, now: int, cost: int, call: Call) -> None:
        if self.history is not None:
            self.history.log((call.granted, now, cost, call.rare is None or not call.refused))
        at = now + self.span
        if self.arrival_bound is not None and call.sent_at:
            self._settle_bound(at, cost, call.sent_at)
            return
        if cost == 1 and at >= self.last:
            self.last = at
            self.ring.append(at)
        else:
            self.cool(at, cost)
        self.in_flight -= cost

    def lose(self, now: int, cost: int, call: Call, linger: int) -> None:
        if self.history is not None:
            self.history.log((call.granted, now + linger, cost, False))  # until then it may be counted
        at = now + linger + self.span
        if self.arrival_bound is not None and call.sent_at:
            self._settle_bound(at, cost, call.sent_at)
            return
        self.push(at, cost)  # far out of order: the ring would stand still behind it
        self.in_flight -= cost

    def give_back(self, cost: int, call: Call) -> None:
        if self.arrival_bound is not None and call.sent_at:
            self._unbind(cost, call.sent_at)
        self.in_flight -= cost

    # -- arrival_bound

    def stamp(self, now: int, cost: int, call: Call) -> bool:
        if self.arrival_bound is None:
            return False
        if self._bound is None:
            self._bound = []
        at = now + self.arrival_bound + self.per + self.guard
        insort(self._bound, (at, cost))
        self.shuts = min(self.shuts, at)
        return True

    def freed(self, missing: int) -> int:
        if not self._bound:
            return super().freed(missing)
        ring = self.ring[self.head : self.head + missing]
        places: list[tuple[int, int]] = [*((at, 1) for at in ring), *(self._heap or ()), *self._bound]
        for at, count in sorted(places):
            missing -= count
            if missing <= 0:
                return at
        return EVENT

    def _unbind(self, cost: int, sent: int) -> bool:
        """Take a stamped call out of those whose places free themselves; False if its place is free already."""
        bound = self._bound or []
        at = (sent + (self.arrival_bound or 0) + self.per + self.guard, cost)
        index = bisect_left(bound, at)
        if index < len(bound) and bound[index] == at:
            del bound[index]
            return True
        self._expired -= cost
        self.extra += cost
        return False

    def correct(self, now: int, cost: int, actual: int, call: Call) -> None:
        if self.arrival_bound is not None and call.sent_at:
            at = call.sent_at + self.arrival_bound + self.per + self.guard
            bound = self._bound or []
            index = bisect_left(bound, (at, cost))
            if index < len(bound) and bound[index] == (at, cost):
                bound[index] = (at, actual)
                bound.sort()
            else:  # its place is free already, whatever it cost
                self._expired += actual - cost
                self.extra -= actual - cost
        self.in_flight += actual - cost

    def _settle_bound(self, at: int, cost: int, sent: int) -> None:
        if self._unbind(cost, sent):
            early = sent + (self.arrival_bound or 0) + self.per + self.guard
            if early < at:
                self._late[early] = max(at, self._late.get(early, 0))
                if len(self._late) > _MANY + 2 * len(self._heap or ()):
                    self._late = {free: late for free, late in self._late.items() if late > at - self.span}
            self.push(min(at, early), cost)
        self.in_flight -= cost

    def release(self, now: int) -> None:
        super().release(now)
        if self.history is not None:
            self.history.forget(now)
        bound = self._bound
        while bound and bound[0][0] <= now:
            self._expired += bound[0][1]
            self.extra -= bound[0][1]
            del bound[0]

    def tidy(self) -> None:
        super().tidy()
        if self._bound:
            self.shuts = min(self.shuts, self._bound[0][0])

    def withdraw_bound(self, now: int) -> bool:
        """Stop believing `arrival_bound`: calls in flight hold their places until they settle. True if there was one.

        What settled under the bound cools from its reply on, as any other call does.
        """
        if self.arrival_bound is None:
            return False
        self.release(now)
        if self._heap:
            self._heap = sorted((self._late.get(at, at), count) for at, count in self._heap)  # hence a heap
        self.arrival_bound = None
        self.extra += self._expired
        self._expired = 0
        self._bound, self._late = None, {}
        self.tidy()
        return True

    # -- what replies teach

    def meant_by(self, word: Remaining) -> bool:
        if word.kind != "window" or self.kind != "window":
            return False
        return word.per is None or abs(self.per - word.per * SECOND) < SECOND // 100

    def hear(self, word: Remaining, now: int, cost: int, call: Call) -> str:
        """Compare the platform's count with ours.

        The surplus is other applications' traffic; a count below ours is a fixed window that began anew, or means that
        our model of this limit is wrong.
        """
        super().hear(word, now, cost, call)
        counted = word.limit - word.remaining
        if self.places is not None and self.places < self.allowed:
            self.history = None  # other processes of ours send as well, and their calls are not in our history
            return ""
        if self.history is None:
            cools = [(now + left - self.span, count) for left, count in self.cooling(now)]
            self.history = History(now, self.per, now - self.span, cools)
        bounds = self.history.bounds(call.granted, cost, now, self.in_flight)
        if bounds is None:
            return ""
        # Under burst what others certainly have; under smooth, where it does good, what they probably have.
        others = counted - bounds.high if self.bursts or not bounds.sure else counted - (bounds.low + bounds.high) / 2
        # A window that is fixed says when it begins anew; what others had in it ends there.
        until = now + self.span if word.reset is None else min(now + self.span, now + nanoseconds(word.reset))
        self.leave_to_others(self.history.foreign(now, max(0.0, others), until), now, until)
        if not bounds.sure or counted >= bounds.anew or word.limit != self.amount or self.history.began_anew(now):
            return ""
        return self.refute(now)

    def surprised(self, now: int) -> str:
        said = [f"{self.name}: arrival_bound is no longer believed"] if self.withdraw_bound(now) else []
        smooth = super().surprised(now)
        return "; ".join([*said, smooth] if smooth else said)

    def backoff_limit(self, now: int) -> tuple[int, int]:
        return 0, min(_LONGEST_BACKOFF, self.per + self.guard) if self.per >= _LONG else _LONGEST_BACKOFF

    def set_cap(self, cap: int) -> None:
        super().set_cap(cap)
        self.spacing = self.per // max(1, self._fair)

    @property
    def _fair(self) -> int:
        """What may be used when nobody else uses any."""
        from_word = self.learned
        return self.allowed if from_word is None else max(1, min(self.allowed, int(from_word * self.share + 1e-9)))

    def began(self, now: int, counted: int, flying: int, trip: int) -> None:
        self.push(now + self.span, counted)
        # They settle without this window, which did not exist when they were granted: by then they have been counted.
        self.push(now + self.span + min(2 * trip, self.span), flying)

    def leave_to_others(self, foreign: float, now: int, until: int) -> None:
        """Others hold so many of the window: our cap until this instant."""
        room = min(self.amount, self.learned or self.amount) - foreign
        cap = max(1, min(self._fair, int(room)))
        self._foreign_until = max(until, now + 1) if cap < self._fair else FOREVER
        if cap != self.cap:
            self.set_cap(cap)

    def refute(self, now: int) -> str:
        """The platform counts calls later than we believed: guard more, for ten windows; what was changed, in words."""
        self.withdraw_bound(now)
        usual = self._relax_guard[0] if self._relax_guard is not None else self.guard
        self.guard = min(2 * self.guard, self.per)
        self._relax_guard = (usual, now + _QUIET_WINDOWS * self.per)
        self.span = self.lag + self.per + self.guard
        return f"{self.name}: the platform counts later than was believed: guard doubled to {self.guard / SECOND:g} s"

    def relax(self, now: int, wall: int) -> int:
        at = super().relax(now, wall)
        if self._foreign_until <= now:
            self._foreign_until = FOREVER
            self.set_cap(self._fair)
        if self._relax_guard is not None and self._relax_guard[1] <= now:
            usual, since = self._relax_guard
            self.guard = max(usual, self.guard // 2)
            self.span = self.lag + self.per + self.guard
            self._relax_guard = None if self.guard == usual else (usual, since + _QUIET_WINDOWS * self.per)
        return min(at, self._foreign_until, FOREVER if self._relax_guard is None else self._relax_guard[1])

    def stricten(self, amount: int, turnaround: int) -> None:
        self.per += turnaround - self.span
        self.span = turnaround
        self.allowed = amount
        self.set_cap(amount)

    def forget(self) -> None:
        self._bound, self._expired, self._late, self.history = None, 0, {}, None
        super().forget()

    def memory(self) -> dict[str, int]:
        found = super().memory()
        if self.told:
            found |= {"amount": self.amount, "per": self.per}
        if self._relax_guard is not None:
            found["guard"] = self.guard
        return found

    def recall(self, said: Mapping[str, int]) -> None:
        super().recall(said)
        guard = said.get("guard")
        if isinstance(guard, int) and self.guard < guard <= self.per:
            usual = self._relax_guard[0] if self._relax_guard is not None else self.guard
            self.guard, self.span = guard, self.lag + self.per + guard
            self._relax_guard = (usual, 0)
