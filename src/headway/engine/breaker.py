"""When calls keep failing for reasons of the destination: one at a time, ever more slowly, and at last not at all.

Pure: instants are monotonic seconds. Without it an outage of a minute would use up the tries of a million records.
"""

from __future__ import annotations

__all__ = ["Breaker"]

_TOLERATED = 5
_SEVERAL = 3
_FIRST_PATIENCE = 60.0
_LONGEST = 60.0


class Breaker:
    """Counts calls in a row that brought nothing: no reply, or one of the 5xx kind.

    `patience`: seconds of nothing else after which the destination counts as unreachable; one that never answered
    yet (a wrong address, no network) gets a minute at most.
    """

    __slots__ = ("_answered", "_batches", "_failures", "_hold_until", "_patience", "_since")

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._failures = 0
        self._since = 0.0
        self._hold_until = 0.0
        self._answered = False
        self._batches: set[int] = set()

    def succeeded(self) -> None:
        """A reply that was not of the failing kind."""
        self._answered = True
        self._failures = 0
        self._batches.clear()

    def failed(self, now: float, jitter: float, batch: int) -> None:
        """Another call brought nothing; `jitter` in [0, 1), `batch` tells one batch from another."""
        if self._failures == 0:
            self._since = now
        self._failures += 1
        if len(self._batches) < _SEVERAL:
            self._batches.add(batch)
        if self._failures >= _TOLERATED:
            longest = min(_LONGEST, float(1 << min(10, self._failures - _TOLERATED)))
            self._hold_until = now + longest * (0.5 + jitter / 2)

    @property
    def open(self) -> bool:
        """Whether only one call at a time may try."""
        return self._failures >= _TOLERATED

    @property
    def theirs(self) -> bool:
        """Whether the destination is at fault, for no single batch can be: a failure costs no record a try."""
        return self.open and len(self._batches) >= _SEVERAL

    def wait(self, now: float) -> float:
        """Seconds before the next try."""
        return max(0.0, self._hold_until - now) if self.open else 0.0

    def hopeless(self, now: float) -> bool:
        """Whether to stop trying."""
        patience = self._patience if self._answered else min(self._patience, _FIRST_PATIENCE)
        return self.open and now - self._since >= patience
