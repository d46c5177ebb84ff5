"""A calendar quota lent in lots: what the keeper does with one holder's request for part of the period.

Rules:
* The period is that of the keeper's wall clock and the quota's own reset rule, never a holder's; it can turn back. It
  changes `skew` after the reset.
* A holder says what it has used of the period in all, not since when: said twice, it counts once. A lot is counted as
  used up from the moment it is lent; what its holder neither keeps nor used is free again, a dead holder's is not.
* remaining = amount - used - lots outstanding - what others used (the platform's word).
* A lot is at most 1 % of what remains, shrinking to 1; a state that knows nothing lends one probe in all until somebody
  has heard the platform.
* Calls near a reset count on both sides: a holder says beforehand what it will owe the next period, and until it has
  reported in that, this and its old lot count there.
* Lost state takes the platform's word, else the highest figure that a living process remembers, else it counts as used
  up until the reset, unless the caller says otherwise. That can still be mended by a later word.
* `LotPool` is read and written by every Headway since 0001 and gains no field; the rest is in `LotBeside`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Self

from headway.limits.resets import Resets

__all__ = ["LotAnswer", "LotAsk", "LotBeside", "LotPool", "exchange_lot"]

SECOND = 1_000_000_000
_PROBE = 15 * SECOND  # by then a probe has had its reply, or will have none
_NEAR = 60 * SECOND
_SILENT = 3600 * SECOND


@dataclass(frozen=True, slots=True)
class LotAsk:
    """One holder's request, its `number`-th, for the period that ends at `end` by its own clock (wall ns).

    `resets`, `skew`: the quota's rule. `used`: by it, of that period, in all; `owed`: of that what counts for the next
    one too. `keeps`: unused rest of its lot (below 0: overdrawn), `want` in all, `head`: of that for who is next;
    `flying`: calls in flight. `heard`: calls of the period that the platform said it counted, everybody's; `known`: the
    highest figure heard from a keeper. `linger`: ns for which a call without a reply may be counted. `settled`: a reply
    came since the state is what it is. `unused`: what to believe of a lost state that nobody can tell about. `fresh`:
    the caller vouches that nothing was used.
    """

    holder: str
    number: int = 1
    epoch: str = ""
    seq: int = 0
    resets: str = "00:00 UTC"
    skew: int = 0
    end: int = 0
    used: int = 0
    owed: int = 0
    keeps: int = 0
    want: int = 0
    flying: int = 0
    heard: int | None = None
    known: int | None = None
    settled: bool = False
    unused: bool = False
    pause_for: int = 0
    leave: bool = False
    fresh: bool = False
    linger: int = 30 * SECOND
    head: int = 1


@dataclass(frozen=True, slots=True)
class LotAnswer:
    """`places` of the period `end` are the holder's; `drained`: nothing is left before the reset.

    `used`: everybody's; `outstanding`: lent and not yet said to be used. `wall`: the keeper's clock. `why`: nothing is
    lent because a probe is out ("new", "lost"), or nobody can tell what was used ("gone"). `amount`: the smallest of
    those of all who share the quota.
    """

    number: int
    epoch: str
    seq: int
    end: int
    wall: int
    places: int
    drained: bool
    used: int
    outstanding: int
    pause: int
    why: str
    amount: int


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

    @property
    def lent(self) -> int:
        """Lots outstanding."""
        return sum(self.lots.values())

    def remaining(self, amount: int) -> int:
        """What may still be lent."""
        return amount - self.used - self.foreign - self.lent

    def body(self) -> dict[str, Any]:
        """As a JSON object."""
        return {name: getattr(self, name) for name in LotPool.__slots__}


@dataclass(slots=True)
class LotBeside:
    """What an older Headway does not know of a quota's pool.

    `holders`: end of the period that each reported in, used in it, owed to the next. `heard`: what
    others used by the platform's word; `wrote`: what the pool's `foreign` was when we wrote it. `remembered`, `base`:
    of lost state, the highest figure that a living process remembers, and how much of it was said anew. `assumed`: it
    counts as used up because nobody could tell. `probe`: who has the probe, since when. `book`: the period as it was.
    `amounts`: what each holder takes the quota for, and when it last said so. `flying`: calls in flight of each, as
    last said, and their linger. `ghosts`: calls of holders that left or died, and until when (wall) they may count.
    """

    epoch: str = ""
    seq: int = 0
    holders: dict[str, list[int]] = field(default_factory=dict)
    heard: int = 0
    wrote: int = 0
    remembered: int = 0
    base: int = 0
    assumed: bool = False
    probe: list[Any] = field(default_factory=list)
    book: dict[str, Any] = field(default_factory=dict)
    amounts: dict[str, list[int]] = field(default_factory=dict)
    flying: dict[str, list[int]] = field(default_factory=dict)
    ghosts: list[list[int]] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, body: dict[str, Any]) -> Self:
        """From a JSON object."""
        known = {name: body[name] for name in cls.__slots__ if name in body and name != "more"}
        return cls(**known, more={name: value for name, value in body.items() if name not in known})

    def body(self) -> dict[str, Any]:
        """As a JSON object."""
        return self.more | {name: getattr(self, name) for name in LotBeside.__slots__ if name != "more"}


@lru_cache(maxsize=256)
def _rule(text: str) -> Resets:
    return Resets.parse(text)


def period(ask: LotAsk, wall: int) -> tuple[int, int]:
    """Start and end of the period that the keeper's clock is in, by the quota's rule."""
    return _rule(ask.resets).period(wall - ask.skew)


def exchange_lot(
    pool: LotPool | None,
    beside: LotBeside,
    amount: int,
    ask: LotAsk,
    time: int,
    wall: int,
    *,
    new_epoch: str,
    dead: Callable[[str], bool],
    lost: bool,
) -> tuple[LotPool, LotAnswer]:
    """Apply one holder's request at the keeper's `time` and `wall` (ns) to pool and beside.

    `pool` None: there is no state, and `lost` says that there was one. `dead`: whether a holder is known to have died.
    """
    start, end = period(ask, wall)
    if pool is None or (ask.epoch == beside.epoch and beside.seq < ask.seq):
        lost = lost or pool is not None or bool(ask.epoch)
        pool = LotPool(end=end, lost=lost, cold=lost or not ask.fresh)
        beside.epoch, beside.seq = new_epoch, 0
        _forget(beside)
    elif not beside.epoch:
        beside.epoch = new_epoch
    now = pool.now = max(time, pool.now)
    _look(pool, beside, ask, start, end, wall)
    for holder in [name for name in pool.lots if name != ask.holder and dead(name)]:
        _gone(pool, beside, holder, wall)
    amount = _strictest(beside, amount, ask, now, dead)
    here = ask.end == pool.end
    if pool.foreign != beside.wrote:
        beside.heard = max(beside.heard, pool.foreign)  # an older Headway heard the platform
    if here:
        _account(pool, beside, ask)
        _hear(pool, beside, amount, ask)
    if ask.pause_for:
        pool.paused_until = max(pool.paused_until, now + ask.pause_for)
    beside.seq += 1
    if ask.leave:
        _gone(pool, beside, ask.holder, wall)
    else:
        _lend(pool, beside, amount, ask, now, here=here)
    beside.book = {"end": pool.end, "used": pool.used, "foreign": pool.foreign, "lots": dict(pool.lots)}
    return pool, _answer(pool, beside, amount, ask, now, wall)


def _look(pool: LotPool, beside: LotBeside, ask: LotAsk, start: int, end: int, wall: int) -> None:
    """Whether the period has changed."""
    if pool.end < end:
        _turn(pool, beside, start, end, start - ask.skew)
    elif pool.end == end and beside.book.get("end", end) != end:
        _turned_for_us(pool, beside, start, start - ask.skew)
    elif pool.end > end and wall < end - max(_NEAR, 2 * ask.skew):
        _turn_back(pool, beside, end)


def _strictest(beside: LotBeside, amount: int, ask: LotAsk, now: int, dead: Callable[[str], bool]) -> int:
    """The smallest amount that a living holder takes the quota for; who is silent for an hour shares it no more."""
    for holder, (_, at) in list(beside.amounts.items()):
        if now - at > _SILENT or (holder != ask.holder and dead(holder)):
            del beside.amounts[holder]
    beside.amounts[ask.holder] = [amount, now]
    least = min(each for each, _ in beside.amounts.values())
    if ask.leave:
        del beside.amounts[ask.holder]
    return least


def _gone(pool: LotPool, beside: LotBeside, holder: str, wall: int) -> None:
    """A holder left or died. What it keeps is in flight by now, or was never used; it does not come back to say."""
    lot = pool.lots.pop(holder, 0)
    pool.used += lot
    flying, linger = beside.flying.pop(holder, [0, 30 * SECOND])
    _, _, owed = beside.holders.get(holder, [0, 0, 0])  # which is counted as such when the period turns
    ghosts = lot + max(0, flying - owed)
    if ghosts:
        beside.ghosts.append([ghosts, wall + linger])
    if beside.probe[:1] == [holder]:
        beside.probe = []


def _haunting(beside: LotBeside, since: int) -> int:
    """Calls of holders that are gone which may be counted from then on (wall)."""
    return sum(calls for calls, until in beside.ghosts if until >= since)


def _forget(beside: LotBeside) -> None:
    """What was of the period that is over."""
    beside.holders, beside.book, beside.probe = {}, {}, []
    beside.flying, beside.ghosts = {}, []
    beside.heard = beside.wrote = beside.remembered = beside.base = 0
    beside.assumed = False


def _turn(pool: LotPool, beside: LotBeside, start: int, end: int, near: int) -> None:
    """A new period: what may have been sent around the reset, `near` on, counts until its holder says."""
    owing: dict[str, int] = {}
    ghosts = 0
    if start == pool.end:
        owing = dict(pool.lots)
        for holder, owed in _owed(beside, start).items():
            owing[holder] = owed + owing.get(holder, 0)  # what was used of the lot since then comes on top
        ghosts = _haunting(beside, near)
    pool.owing = {holder: calls for holder, calls in owing.items() if calls > 0}
    pool.used = sum(pool.owing.values()) + ghosts
    pool.end, pool.lots, pool.foreign = end, {}, 0
    pool.cold = pool.lost = False
    _forget(beside)


def _owed(beside: LotBeside, reset: int) -> dict[str, int]:
    """What holders said before the reset that they would owe to the period after it.

    Who had calls in flight and was not heard of since, stopped or dead, may owe these.
    """
    said = {holder: owed for holder, (told, _, owed) in beside.holders.items() if told == reset}
    owed = {holder: max(calls, beside.flying.get(holder, [0])[0]) for holder, calls in said.items()}
    return {holder: calls for holder, calls in owed.items() if calls > 0}


def _turned_for_us(pool: LotPool, beside: LotBeside, start: int, near: int) -> None:
    """An older Headway turned the period, without what only we were told."""
    for holder, owed in _owed(beside, start).items():
        pool.owing[holder] = pool.owing.get(holder, 0) + owed
        pool.used += owed
    pool.used += _haunting(beside, near)
    _forget(beside)


def _turn_back(pool: LotPool, beside: LotBeside, end: int) -> None:
    """Somebody's clock was ahead: the period is again what it was, with what was used meanwhile."""
    meanwhile = max(0, pool.used - sum(pool.owing.values())) + pool.lent
    book = beside.book if beside.book.get("end") == end else {}
    pool.used = meanwhile + int(book.get("used", 0))
    pool.foreign = beside.wrote = int(book.get("foreign", 0))
    pool.lots = dict(book.get("lots", {}))
    pool.end, pool.owing = end, {}


def _account(pool: LotPool, beside: LotBeside, ask: LotAsk) -> None:
    """What the holder says of itself is the truth about it."""
    pool.used -= pool.owing.pop(ask.holder, 0)
    told, before, _ = beside.holders.get(ask.holder, [0, 0, 0])
    if told != pool.end:
        before = 0
        beside.base += ask.used if pool.lost or beside.remembered else 0
    pool.used = max(0, pool.used + ask.used - before)
    pool.lots[ask.holder] = max(0, ask.keeps)
    beside.holders[ask.holder] = [pool.end, ask.used, ask.owed]
    beside.flying[ask.holder] = [ask.flying, ask.linger]


def _hear(pool: LotPool, beside: LotBeside, amount: int, ask: LotAsk) -> None:
    """What the platform said, or who remembers what, or that nobody can tell."""
    if ask.known is not None and pool.lost and ask.epoch != beside.epoch:  # what it heard before the loss
        beside.remembered = max(beside.remembered, ask.known)
    mine = ask.settled and ask.epoch == beside.epoch
    if ask.heard is not None:
        # Of the lots of others nobody knows yet what was used; of this holder's own rest nothing was.
        beside.heard = max(beside.heard, ask.heard - pool.used - pool.lent + pool.lots[ask.holder])
        pool.cold = beside.assumed = False
        # What was remembered counts still if it is more: of the word nobody knows which of our calls are in it.
        pool.lost = False
    elif mine and pool.cold:
        beside.assumed = pool.lost and not ask.unused and not beside.remembered
        pool.cold = False
    elif beside.assumed and (beside.remembered or ask.unused):
        beside.assumed = False
    if ask.fresh and not pool.lost:
        pool.cold = False
    pool.foreign = max(beside.heard, beside.remembered - beside.base, amount if beside.assumed else 0)
    beside.wrote = pool.foreign


def _lend(pool: LotPool, beside: LotBeside, amount: int, ask: LotAsk, now: int, *, here: bool) -> None:
    if not here:
        return
    has = pool.lots.get(ask.holder, 0)
    left = pool.remaining(amount)
    if left < 0:  # more is out than there is: what this holder has not used yet it may not use
        has, left = max(0, has + left), 0
    lot = max(1, left // 100)
    if pool.cold:
        if has and beside.probe[:1] in ([], [ask.holder]):
            beside.probe = [ask.holder, now]  # it may go, and did not yet: it waits for something else
        lot = max(0, min(ask.head - has, 1)) if _may_probe(beside, ask, now) else 0
    give = max(0, min(left, ask.want - has, lot))
    if give and pool.cold:
        beside.probe = [ask.holder, now]
    pool.lots[ask.holder] = has + give


def _may_probe(beside: LotBeside, ask: LotAsk, now: int) -> bool:
    """One call in all finds out, and another if that will have no reply."""
    if not beside.probe or now - beside.probe[1] > _PROBE:
        return True
    return bool(beside.probe[0] == ask.holder) and not ask.flying


def _answer(pool: LotPool, beside: LotBeside, amount: int, ask: LotAsk, now: int, wall: int) -> LotAnswer:
    places = pool.lots.get(ask.holder, 0)
    why = ""
    if pool.cold:
        why = "lost" if pool.lost else "new"
    elif beside.assumed:
        why = "gone"
    return LotAnswer(
        ask.number, beside.epoch, beside.seq, pool.end, wall, places,
        drained=pool.remaining(amount) <= 0 and places <= 0, used=pool.used + pool.foreign, outstanding=pool.lent,
        pause=max(0, pool.paused_until - now), why=why, amount=amount,
    )  # fmt: skip
