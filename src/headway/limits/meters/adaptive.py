"""The meter of a limit that is searched for: a window, or a pace where the window's length is unknown."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque

from headway.limits.aimd import Search
from headway.limits.limits import SECOND, Adaptive, Window
from headway.limits.meters.meter import Call
from headway.limits.meters.window import WindowMeter

__all__ = ["AdaptiveMeter"]

_GUESS = 5 * SECOND
_LONGEST_BACKOFF = 60 * SECOND


class AdaptiveMeter(WindowMeter):
    """Always smooth. Where the length is unknown only the pace holds calls back, and the amount is one per second."""

    __slots__ = ("_flying", "_known", "_log", "_rejected", "search")
    kind = "adaptive"
    sharing = ""  # every process searches for itself: what is unknown cannot be partitioned

    def __init__(self, limit: Adaptive, share: float, reserve: int = 0) -> None:
        del reserve  # of calendar quotas alone
        self._known = limit.per is not None
        per = limit.per or 1.0
        super().__init__(Window(max(1, int(limit.ceiling_or_initial)), per, limit.name), 1)
        self.search = Search(
            limit.initial, limit.floor, limit.ceiling_or_initial,
            per=self.per if self._known else _GUESS, known=self._known,
            backoff=limit.backoff, recovery=limit.recovery, after=limit.after,
        )  # fmt: skip
        self.share = share
        self._flying: list[tuple[int, int]] = []  # (granted, cost)
        self._log: deque[tuple[int, int, int]] = deque()
        self._rejected = 0  # cost of calls in flight that were refused
        self._apply()

    @property
    def rate(self) -> float:
        """Calls per second that are allowed now."""
        return self.search.amount * self.share * SECOND / self.per

    def backoff_limit(self, now: int) -> tuple[int, int]:
        # What is paced needs no window's length to recover.
        return 0, self.per if self._known else _LONGEST_BACKOFF

    def surprised(self, now: int) -> str:
        return ""  # a search is not surprised

    def told_amount(self, amount: int) -> bool:
        del amount
        return False

    def _apply(self) -> None:
        amount = self.search.amount * self.share
        self.cap = max(1, int(amount))
        self.bursts = False
        self.spacing = int(self.per / amount)
        self.tidy()

    def room(self, now: int, cost: int) -> int:
        at = super().room(now, cost)
        return at if self._known else 0

    def hoped(self, now: int, cost: int) -> int:
        return super().hoped(now, cost) if self._known else 0

    def take(self, now: int, cost: int) -> int:
        at = super().take(now, cost)
        if at == 0:
            insort(self._flying, (now, cost))
        return at

    def reconcile(self, now: int, flying: list[tuple[int, int]], linger: int) -> int:
        missing = super().reconcile(now, flying, linger)
        self._flying = flying
        return missing

    def give_back(self, cost: int, call: Call) -> None:
        self._landed(cost, call)
        super().give_back(cost, call)

    def settle(self, now: int, cost: int, call: Call) -> None:
        self._note(now, cost, call, lost=False)
        super().settle(now, cost, call)

    def lose(self, now: int, cost: int, call: Call, linger: int) -> None:
        self._note(now, cost, call, lost=True)
        super().lose(now, cost, call, linger)

    def _note(self, now: int, cost: int, call: Call, *, lost: bool) -> None:
        self._landed(cost, call)
        if not call.refused:
            self._log.append((call.granted, now, cost))
            if not lost:
                self.search.success(call.granted, now)
                self._apply()
        while self._log and self._log[0][1] < now - 2 * self._span:
            self._log.popleft()

    @property
    def _span(self) -> int:
        return self.per if self._known else _GUESS

    def _landed(self, cost: int, call: Call) -> None:
        at = bisect_left(self._flying, (call.granted, cost))
        if at < len(self._flying) and self._flying[at] == (call.granted, cost):
            del self._flying[at]
        if call.refused:
            self._rejected = max(0, self._rejected - cost)

    def refused(self, now: int, call: Call | None, *, named: bool) -> None:
        sent = now if call is None else call.granted
        cost = 0
        if call is not None:
            at = bisect_left(self._flying, (sent, 0))
            if at < len(self._flying) and self._flying[at][0] == sent:
                cost = self._flying[at][1]
        span = self._span
        low = sum(count for began, ended, count in self._log if began > now - span and ended <= sent)
        high = sum(count for _, ended, count in self._log if ended > sent - span)
        high += sum(count for _, count in self._flying) - self._rejected - cost
        self._rejected += cost
        if not self._known:  # counts over the guessed span, as calls per second
            low, high = low * SECOND // span, high * SECOND // span
        self.search.refused(sent, now, low, high)
        self._apply()

    def forget(self) -> None:
        self._flying.clear()
        self._rejected = 0
