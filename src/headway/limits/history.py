"""Our own calls of late, to tell our share of a remaining header's count from other clients'.

At some instant between sending and reply of call i the platform held C calls, everybody's. With lo = own calls
certainly among them and hi = own calls possibly among them, others hold between C - hi and C - lo. A count below lo
means a fixed window that began anew, or, when that happens too often, that the platform counts later
than we believe.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Bounds", "History"]

_WITNESSES = 2


@dataclass(frozen=True, slots=True)
class Bounds:
    """Calls of ours in a platform's count: at least `low`, at most `high`.

    At least `anew` if its window is fixed and began when we last thought so. `sure`: we were there when all of them
    were sent.
    """

    low: int
    high: int
    anew: int
    sure: bool


class History:
    """What was settled within the last two windows; kept once a platform's headers speak of the window."""

    __slots__ = ("_anew", "_early", "_foreign", "_per", "_refuted", "_settled", "_since", "_sure_since", "log")

    def __init__(self, now: int, per: int, since: int, cools: Iterable[tuple[int, int]]) -> None:
        """All that ended after `since` is known: (ended at, places) of what cools, and what is settled from now on."""
        self._since = since
        self._sure_since = now
        self._per = per
        # (sent at, over at, cost, whether the platform certainly counted it: some count what they refuse, some do not)
        self._settled: deque[tuple[int, int, int, bool]] = deque((ended, ended, count, False) for ended, count in cools)
        self.log = self._settled.append  # to be called, with such a tuple, when a call is over
        self._foreign: list[tuple[int, float]] = []  # (until, calls of others)
        self._anew = now - 2 * per  # when the platform's window is believed to have begun anew
        self._refuted = now
        self._early = 0

    def forget(self, now: int) -> None:
        """What is older than two windows plays no part; to be called now and then.

        A reply that took longer than a window may count some of it: `bounds` says nothing about such a one, which could
        not tell others' calls from the many of ours that came and went meanwhile.
        """
        settled, horizon = self._settled, now - 2 * self._per
        while settled and settled[0][1] < horizon:
            self._since = settled.popleft()[1]

    def bounds(self, sent: int, cost: int, now: int, in_flight: int) -> Bounds | None:
        """What the count of the reply that came at `now` may hold of ours; None while unknown calls may be in it."""
        self.forget(now)
        first = sent - self._per
        if first < self._since:
            return None
        low = anew = high = 0
        for began, ended, count, certain in self._settled:
            if ended > first:
                high += count
                if certain and began > now - self._per and ended <= sent:
                    low += count
                    anew += count if began > self._anew else 0
        return Bounds(low + cost, high + in_flight, anew + cost, sure=first >= self._sure_since)

    def foreign(self, now: int, calls: float, until: int) -> float:
        """Others hold `calls` until that instant: the most that they hold now."""
        self._foreign = [(end, held) for end, held in self._foreign if end > now and held > calls]
        self._foreign.append((until, calls))
        return max(each for _, each in self._foreign)

    def began_anew(self, now: int) -> bool:
        """A count below the certain one: True if a fixed window that began anew explains it, False if nothing does.

        Windows do not begin twice within three quarters of their length, unless we saw the first one late: so it takes
        two such beginnings in a row.
        """
        early = now - self._anew < self._per * 3 // 4
        self._anew = now
        self._early = self._early + 1 if early else 0
        if self._early < _WITNESSES or now - self._refuted < self._per:
            return True
        self._refuted = now
        return False
