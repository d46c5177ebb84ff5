"""Our own calls of late, so that what a remaining header counts can be told from what others sent.

At some instant between sending and reply of call i the platform held C calls, everybody's. With lo = own calls
certainly among them and hi = own calls possibly among them, others hold between C - hi and C - lo.
"""

from __future__ import annotations

from collections import deque

from headway.limits.meters.places import Grant

__all__ = ["History"]


class History:
    """What was settled within the last two windows; kept once a platform's headers speak of the window."""

    __slots__ = ("_foreign", "_log", "_per", "_refused", "_refuted", "_since")

    def __init__(self, now: int, per: int) -> None:
        self._since = now
        self._per = per
        self._log: deque[tuple[int, int, int, bool]] = deque()
        self._foreign: deque[tuple[int, float]] = deque()
        self._refused: set[int] = set()
        self._refuted = now

    def refused(self, grant: Grant) -> None:
        """This call was refused: some platforms count it, some do not."""
        self._refused.add(id(grant))

    def settled(self, grant: Grant, now: int, *, lost: bool, cost: int) -> None:
        """This call is over."""
        certain = not lost and id(grant) not in self._refused
        self._refused.discard(id(grant))
        self._log.append((grant.granted, now, cost, certain))
        horizon = now - 2 * self._per
        while self._log and self._log[0][1] < horizon:
            self._log.popleft()

    def bounds(self, grant: Grant, now: int, in_flight: int) -> tuple[int, int] | None:
        """(lo, hi) for the reply that came at `now`; None while calls from before the history may count."""
        first = grant.granted - self._per
        if first < self._since:
            return None
        low = high = 0
        for sent, ended, cost, certain in self._log:
            if ended > first:
                high += cost
                if certain and sent > now - self._per and ended <= grant.granted:
                    low += cost
        return low + grant.cost, high + in_flight

    def foreign(self, now: int, calls: float) -> float:
        """Others hold `calls` now: the most that they held within the last window."""
        self._foreign.append((now, calls))
        while self._foreign[0][0] < now - self._per:
            self._foreign.popleft()
        return max(each for _, each in self._foreign)

    def refutes(self, now: int) -> bool:
        """Whether a count below the certain one is news: once per window."""
        if now - self._refuted < self._per:
            return False
        self._refuted = now
        return True
