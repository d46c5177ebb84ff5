"""The search for a limit that nobody published.

Rules:
* Until a first refusal the amount grows by `recovery` after every `after` successes in a row.
* A refusal tells how much the platform held at that instant: between the calls certainly and those possibly in its
  window. That, less a little, is the amount from now on; it is remembered (`ref`), held for a while, then probed from
  below in steps of 1 %. A limit found a second time is probed ever more rarely.
* One flight of refusals is one event: what was sent before the last cut says nothing new.
* An amount 10 % above the remembered one that is not refused means that the limit has moved: it grows again.

The amount is a float, in calls per window where the window's length is known, else in calls per second. A time-based
search with memory beats backing off by halves by far: 0.1-0.3 % refused where that has 1.3 (simulated).
"""

from __future__ import annotations

from headway.limits.limits import SECOND

__all__ = ["Search"]

_HOLD = 30 * SECOND
_LONGEST_HOLD = 60 * SECOND
_NEAR = 0.9
_BELOW = 0.98
_PROBE = 0.01
_MOVED = 1.1


class Search:
    """What is believed of one limit. `per`: the window's length in ns, or the guess where `known` is False."""

    __slots__ = (
        "_after", "_backoff", "_ceiling", "_cut", "_floor", "_gap", "_hold", "_known", "_next", "_per", "_recovery",
        "_ref", "_streak", "amount",
    )  # fmt: skip

    def __init__(
        self,
        initial: float,
        floor: float,
        ceiling: float,
        *,
        per: int,
        known: bool,
        backoff: float,
        recovery: float,
        after: int,
    ) -> None:
        self.amount = float(initial)
        self._floor = floor
        self._ceiling = ceiling
        self._per = per
        self._known = known
        self._backoff = backoff
        self._recovery = recovery
        self._after = after
        self._ref: float | None = None
        self._gap = _HOLD
        self._hold = 0
        self._next = 0
        self._cut = -1
        self._streak = 0

    @property
    def _least(self) -> float:
        """The smallest step worth taking: one call, where calls are whole numbers."""
        return 1.0 if self._known else self.amount * _PROBE

    def success(self, sent: int, now: int) -> None:
        """A call sent at `sent` was accepted."""
        if sent < self._cut:
            return
        if self._ref is None:
            self._streak += 1
            if self._streak >= self._after:
                self._streak = 0
                self._set(self.amount * self._recovery)
        elif now >= self._hold and now >= self._next:
            self._next = now + self._per
            self._set(self.amount + max(self._least, self.amount * _PROBE))
            if self.amount > _MOVED * self._ref:
                self._ref, self._gap = None, _HOLD

    def refused(self, sent: int, now: int, low: float, high: float) -> bool:
        """A call sent at `sent` was refused, the platform holding between `low` and `high`; False: of a flight seen."""
        self._streak = 0
        if sent < self._cut:
            return False
        held = (low + min(high, self.amount)) / 2
        ref = self._ref
        probing = ref is not None and now >= self._hold
        if ref is None:
            found = max(held, self._backoff * self.amount)
        elif probing and held >= 0.8 * ref:
            # What was probed without a refusal is as good as remembered.
            found = max(ref, self.amount - 2 * self._least) - self._least
        elif held > _NEAR * ref:
            found = (_BELOW if self._known else _NEAR) * ref
        else:
            found = max(held, self._backoff * self.amount)
        self._gap = min(2 * self._gap, _LONGEST_HOLD) if probing else _HOLD
        self._set(min(found, self.amount - self._least))
        self._ref = self.amount
        self._hold = now + self._gap
        self._next = self._hold
        self._cut = now
        return True

    def _set(self, amount: float) -> None:
        self.amount = min(max(amount, self._floor), self._ceiling)
