"""A calendar quota lent in lots: what the keeper does with one holder's request for part of the day.

Rules:
* A lot is counted as used from the moment it is lent; its unused part comes back, a dead holder's does not.
* remaining = amount - used - lots outstanding - what others used (the platform's word).
* A lot is at most 1 % of what remains, shrinking to 1; a state that knows nothing lends 1 until somebody has heard
  the platform.
* The period changes `skew` after the reset. Calls near a reset count on both sides: a holder reports what it `owed`
  to the new period, and until it has, its old lot counts there.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

__all__ = ["LotAnswer", "LotAsk", "LotPool", "exchange_lot"]


@dataclass(frozen=True, slots=True)
class LotAsk:
    """One holder's request: `used` since it last asked, `returns` unused, `want` in all, `owed` to the period `end`.

    `heard`: calls of the period that the platform said it counted, everybody's. `settled`: a reply came, with or
    without such a word. `unused`: what to believe of a lost state that nobody can tell about.
    """

    holder: str
    end: int
    used: int = 0
    returns: int = 0
    keeps: int = 0
    want: int = 0
    owed: int = 0
    heard: int | None = None
    settled: bool = False
    unused: bool = False
    pause_for: int = 0
    leave: bool = False


@dataclass(frozen=True, slots=True)
class LotAnswer:
    """`give` more of the period `end`; `drained`: nothing is left before the reset; `void`: the old lot is gone."""

    end: int
    give: int
    drained: bool
    void: bool
    used: int
    pause: int


@dataclass(slots=True)
class LotPool:
    """The shared state of one calendar quota; `end` is a wall instant in ns, the rest are calls."""

    end: int = 0
    used: int = 0
    foreign: int = 0
    cold: bool = True
    lost: bool = False
    now: int = 0
    paused_until: int = 0
    lots: dict[str, int] = field(default_factory=dict)
    owing: dict[str, int] = field(default_factory=dict)

    def remaining(self, amount: int) -> int:
        """What may still be lent."""
        return amount - self.used - self.foreign - sum(self.lots.values())


def exchange_lot(
    pool: LotPool | None, amount: int, ask: LotAsk, time: int, *, dead: Collection[str] = (), first: bool = False
) -> tuple[LotPool, LotAnswer]:
    """Apply one holder's request for the period that ends at `ask.end`; returns the pool to write down and the answer.

    `first` vouches that no state can have been lost: no holder is alive.
    """
    if pool is None:
        pool = LotPool(end=ask.end, lost=not first)
    now = pool.now = max(time, pool.now)
    if ask.end > pool.end:
        _turn(pool, ask.end)
    for holder in [name for name in pool.lots if name in dead]:
        pool.used += pool.lots.pop(holder)
    void = ask.end < pool.end
    if not void:
        _account(pool, ask)
    if ask.pause_for:
        pool.paused_until = max(pool.paused_until, now + ask.pause_for)
    _warm(pool, amount, ask)
    give = 0 if void or ask.leave else _lot(pool, amount, ask)
    if ask.leave:
        pool.used += pool.lots.pop(ask.holder, 0)
    elif not void:
        pool.lots[ask.holder] = pool.lots.get(ask.holder, 0) + give
    drained = pool.remaining(amount) <= 0
    pause = max(0, pool.paused_until - now)
    return pool, LotAnswer(pool.end, give, drained, void, pool.used + pool.foreign, pause)


def _turn(pool: LotPool, end: int) -> None:
    """A new period: what old lots may have sent around the reset counts until their holders say."""
    pool.owing = {holder: lot for holder, lot in pool.lots.items() if lot}
    pool.used = sum(pool.owing.values())
    pool.end, pool.lots, pool.foreign = end, {}, 0
    pool.cold = pool.lost = False


def _account(pool: LotPool, ask: LotAsk) -> None:
    if ask.holder in pool.owing:
        pool.used -= pool.owing.pop(ask.holder)
    pool.used += ask.owed
    lot = pool.lots.get(ask.holder, 0)
    # What it neither keeps nor returns was used, whatever it says: an answer may never have arrived.
    pool.used += max(ask.used, lot - ask.returns - ask.keeps)
    pool.lots[ask.holder] = ask.keeps


def _warm(pool: LotPool, amount: int, ask: LotAsk) -> None:
    if ask.heard is not None:
        pool.foreign = max(pool.foreign, ask.heard - pool.used - sum(pool.lots.values()))
        pool.cold = pool.lost = False
    elif ask.settled and pool.cold:
        if pool.lost and not ask.unused:
            pool.foreign = amount  # nobody can tell: used up until the reset
        pool.cold = False


def _lot(pool: LotPool, amount: int, ask: LotAsk) -> int:
    left = pool.remaining(amount)
    lot = 1 if pool.cold else max(1, left // 100)
    short = ask.want - pool.lots.get(ask.holder, 0)
    return max(0, min(left, short, lot))
