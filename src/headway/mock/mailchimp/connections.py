"""Connections in use, by key: how many at once, and for how long exactly so many. Instants are nanoseconds."""

from __future__ import annotations

import heapq

from headway.mock.clock import SECOND

__all__ = ["Connections"]


class Connections:
    """At most `amount` at once and key (None: only counted)."""

    def __init__(self, amount: int | None, keeps: float) -> None:
        self.amount = amount
        self.most = 0
        self.seconds_with: dict[int, float] = {}
        self._keeps = round(keeps * SECOND)
        self._held: dict[str, int] = {}
        self._of: dict[int, str] = {}
        self._kept: list[tuple[int, str]] = []
        self._since = 0

    def take(self, key: str, number: int, now: int) -> bool:
        """One more connection of a key; False if it is one too many."""
        self._pass(now)
        held = self._held.get(key, 0)
        if self.amount is not None and held >= self.amount:
            return False
        self._held[key] = held + 1
        self._of[number] = key
        self.most = max(self.most, held + 1)
        return True

    def end(self, number: int, now: int, *, replied: bool) -> None:
        """A call is over; one without a reply keeps its place a while."""
        key = self._of.pop(number, None)
        if key is None:
            return
        self._pass(now)
        if replied or not self._keeps:
            self._held[key] -= 1
        else:
            heapq.heappush(self._kept, (now + self._keeps, key))

    def _pass(self, now: int) -> None:
        """Time has passed with as many as there were."""
        while self._kept and self._kept[0][0] <= now:
            at, key = heapq.heappop(self._kept)
            self._spend(at)
            self._held[key] -= 1
        self._spend(now)

    def _spend(self, now: int) -> None:
        busy = max(self._held.values(), default=0)
        if self._since:
            self.seconds_with[busy] = self.seconds_with.get(busy, 0.0) + max(0, now - self._since) / SECOND
        self._since = max(now, self._since)
