"""The meter of a limit that is searched for: a window, or a pace where the window's length is unknown."""

from __future__ import annotations

from collections import deque

from headway.limits.aimd import Search
from headway.limits.limits import SECOND, Adaptive, Window
from headway.limits.meters.places import Grant, WindowMeter

__all__ = ["AdaptiveMeter"]

_GUESS = 5 * SECOND


class AdaptiveMeter(WindowMeter):
    """Always smooth. Where the length is unknown only the pace holds calls back, and the amount is one per second."""

    __slots__ = ("_flying", "_known", "_log", "_refused", "_share", "search")
    kind = "adaptive"

    def __init__(self, limit: Adaptive, share: float) -> None:
        self._known = limit.per is not None
        per = limit.per or 1.0
        super().__init__(Window(max(1, int(limit.ceiling_or_initial)), per, limit.name), 1)
        self.search = Search(
            limit.initial, limit.floor, limit.ceiling_or_initial,
            per=self.per if self._known else _GUESS, known=self._known,
            backoff=limit.backoff, recovery=limit.recovery, after=limit.after,
        )  # fmt: skip
        self._share = share
        self._flying: dict[int, Grant] = {}
        self._log: deque[tuple[int, int, int]] = deque()
        self._refused: set[int] = set()
        self._apply()

    @property
    def rate(self) -> float:
        """Calls per second that are allowed now."""
        return self.search.amount * self._share * SECOND / self.per

    @property
    def pause(self) -> int:
        """Nanoseconds for which a refusal pauses at most: what is paced needs no window's length to recover."""
        return self.per if self._known else 60 * SECOND

    def _apply(self) -> None:
        amount = self.search.amount * self._share
        self.spacing = int(self.per / amount)
        self.bursts = False
        self.cap = max(1, int(amount))

    def room(self, now: int, wall: int, cost: int) -> int | None:
        if self._known:
            return super().room(now, wall, cost)
        super().room(now, wall, 0)
        return 0

    def take(self, now: int, wall: int, cost: int) -> Grant:
        grant = super().take(now, wall, cost)
        self._flying[id(grant)] = grant
        return grant

    def cancel(self, grant: Grant) -> None:
        self._forget(grant)
        super().cancel(grant)

    def settle(self, grant: Grant, now: int, wall: int, *, lost: int, actual: int | None) -> None:
        refused = self._forget(grant)
        if not refused:
            self._log.append((grant.granted, now, grant.cost if actual is None else actual))
            if not lost:
                self.search.success(grant.granted, now)
                self._apply()
        while self._log and self._log[0][1] < now - 2 * self._span:
            self._log.popleft()
        super().settle(grant, now, wall, lost=lost, actual=actual)

    @property
    def _span(self) -> int:
        return self.per if self._known else _GUESS

    def _forget(self, grant: Grant) -> bool:
        """Whether it was refused; it is in flight no longer."""
        self._flying.pop(id(grant), None)
        refused = id(grant) in self._refused
        self._refused.discard(id(grant))
        return refused

    def refused(self, grant: Grant | None, now: int) -> bool:
        """This call, or one that nobody names, was refused for its rate; True if that changed the amount."""
        sent = now if grant is None else grant.granted
        if grant is not None and id(grant) in self._flying:
            self._refused.add(id(grant))
        span = self._span
        low = sum(cost for began, ended, cost in self._log if began > now - span and ended <= sent)
        high = sum(cost for _, ended, cost in self._log if ended > sent - span)
        high += sum(each.cost for each in self._flying.values() if each is not grant and id(each) not in self._refused)
        if not self._known:  # counts over the guessed span, as calls per second
            low, high = low * SECOND // span, high * SECOND // span
        changed = self.search.refused(sent, now, low, high)
        self._apply()
        return changed

    def void(self) -> None:
        super().void()
        self._flying.clear()
        self._refused.clear()
