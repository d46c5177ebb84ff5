"""Places lent to processes: what the keeper of an account's shared state does with one holder's request.

A place is used, cools, and is used again, so it can be partitioned: the keeper lends each holder (process) a number
of places under one lease, and the holder runs the ordinary gate on them. One operation; joining, leaving and coming
back after a lapse are cases of it.

Rules:
* No clock crosses the border: holders report durations, applied at the keeper's `now`. Errors only lengthen a hold.
* free + lent + cooling + unopened == amount, always. `free` below 0 is a debt: nothing is lent until it is paid.
* A holder is the truth about what it has. Asks are numbered: what was lent in an answer that it never heard is free
  again at once, what it returned in an ask of which it never heard is not returned twice.
* A holder whose lease ran out, or that is known to be dead, had its places in use: they cool for linger + per. If it
  comes back, they are exchanged for what it says is in flight or cooling; that is a fact, accepted even as a debt.
* Holders with other figures: the smallest amount and the longest `per` of those alive hold for all.
* Calls are lent whole where places are scarce, who waits longest first: see line.py.
* State that was never there lends one probe; what the platform's remaining header says opens the rest, else one
  `per` does. State that was lost lends nothing for ttl, but accepts what live holders claim.
* `Pool` is read and written by every Headway since 0001 and gains no field; what was added since is in `Beside`, a row
  of its own, and an older Headway may have changed the pool meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from headway.limits.sharing.line import due_to, stand

__all__ = ["Answer", "Ask", "Beside", "Keeping", "Pool", "exchange_places"]

_TOO_LONG = 3600 * 1_000_000_000


@dataclass(frozen=True, slots=True)
class Keeping:
    """A holder's figures of one limit: `amount` places that cool for `per`; `linger` and `ttl` in ns."""

    amount: int
    per: int
    linger: int
    ttl: int


@dataclass(frozen=True, slots=True)
class Ask:
    """One holder's request for one limit, its `number`-th.

    `epoch`, `seq`: as last heard. `keeps`: places it goes on holding; `busy`: how many of them are in flight or
    cooling. `returns`: (number of the ask that first said so, ns left to cool, places), all of which it has had no
    answer to. `opened`: calls that the platform said are in its window, everybody's, after a probe; `probed`: a probe
    came back without such a word. `pause_for`: ns that the platform asked to be left alone. `leave`: the holder goes.
    `fresh`: the caller vouches that nothing was used before. `call`: what its next call costs at most, for how many
    ns its oldest has waited, and a number that tells that from the next. `whole`: the amount as last heard.
    """

    holder: str
    number: int = 1
    epoch: str = ""
    seq: int = 0
    keeps: int = 0
    busy: int = 0
    returns: tuple[tuple[int, int, int], ...] = ()
    want: int = 0
    opened: int | None = None
    probed: bool = False
    pause_for: int = 0
    leave: bool = False
    fresh: bool = False
    call: tuple[int, int, int] = (0, 0, 0)
    whole: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """The ask of this `number` was done: `places` are the holder's now, at most `target` it should hold. Durations: ns.

    `probe`: the state is not open yet, the places given are for finding out. `recovering`: until the places of a dead
    holder are free at the latest, 0 if there are none. `ripe`: until the next cooling place is free. `single`: places
    are scarce, each is to be returned as soon as it was used. `hungry`: others have less than they want. `amount`,
    `per`: what holds for all. `why`: nothing is lent because the state is "new" or "lost", or cools for the "dead".
    `opens`: until more places are to be had at the earliest, if that is certain, else 0. `debt`: more is lent than
    there is, so places above the target are not to be used any more. `figures`: differs when any holder has other
    figures than before, for what it learned or because it is new.
    """

    number: int
    epoch: str
    seq: int
    places: int
    target: int
    pause: int
    probe: bool
    recovering: int
    ripe: int
    single: bool
    hungry: bool
    amount: int
    per: int
    why: str
    opens: int
    debt: bool = False
    figures: int = 0


@dataclass(slots=True)
class Pool:
    """The shared state of one limit, as every Headway since the first knows it."""

    epoch: str = ""
    seq: int = 0
    now: int = 0
    amount: int = 0
    free: int = 0
    claimed: int = 0
    grace_until: int = 0
    open_at: int = 0
    paused_until: int = 0
    orphans_until: int = 0
    cool: list[list[int]] = field(default_factory=list)  # until, places
    holders: dict[str, list[int]] = field(default_factory=dict)  # places, lease_until, want
    line: list[str] = field(default_factory=list)  # who waits for places to use once, in their order

    def chill(self, at: int, places: int) -> None:
        """`places` cool until `at`."""
        if places > 0:
            self.cool.append([at, places])

    def total(self) -> int:
        """Places accounted for: free, cooling, lent and not yet opened."""
        lent = sum(holder[0] for holder in self.holders.values())
        unopened = self.amount - self.claimed if self.open_at else 0
        return self.free + sum(places for _, places in self.cool) + lent + unopened

    def body(self) -> dict[str, Any]:
        """As a JSON object."""
        return {name: getattr(self, name) for name in Pool.__slots__}


@dataclass(slots=True)
class Beside:
    """What an older Headway does not know of a pool.

    `holders`: number of the last ask, places lent in its answer, lease_until, amount, per, linger. `orphans`: until
    when the places of a holder that lapsed cool, and how many. `line`: since when each holder's oldest call waits, its
    cost and number (0: an older Headway's, which says nothing of it). `figures`: how often a holder came with other
    figures than before. `more`: what a newer Headway wrote, kept as it is.
    """

    epoch: str = ""
    holders: dict[str, list[int]] = field(default_factory=dict)
    orphans: dict[str, list[int]] = field(default_factory=dict)
    probed: bool = False
    line: dict[str, list[int]] = field(default_factory=dict)
    figures: int = 0
    more: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, body: dict[str, Any]) -> Self:
        """From a JSON object."""
        return cls(
            str(body.get("epoch", "")), body.get("holders", {}), body.get("orphans", {}), bool(body.get("probed")),
            body.get("line", {}), int(body.get("figures", 0)),
            {name: value for name, value in body.items() if name not in cls.__slots__},
        )  # fmt: skip

    def body(self) -> dict[str, Any]:
        """As a JSON object."""
        return self.more | {name: getattr(self, name) for name in Beside.__slots__ if name != "more"}


def exchange_places(
    pool: Pool | None,
    beside: Beside,
    keeping: Keeping,
    ask: Ask,
    time: int,
    *,
    new_epoch: str,
    dead: Callable[[str], bool],
    lost: bool,
) -> tuple[Pool, Answer]:
    """Apply one holder's request at the keeper's `time` (ns) to pool and beside; returns the pool and the answer.

    `pool` None: there is no state, and `lost` says that there was. `dead`: whether a holder is known to have died.
    """
    if pool is None or (ask.epoch == pool.epoch and pool.seq < ask.seq):
        lost = lost or pool is not None or bool(ask.epoch)
        pool = _begin(keeping, time, new_epoch, lost=lost, fresh=ask.fresh, whole=ask.whole)
    if beside.epoch != pool.epoch:
        beside.epoch, beside.holders, beside.orphans, beside.probed, beside.line = pool.epoch, {}, {}, False, {}
    now = pool.now = max(time, pool.now)
    beside.probed |= ask.probed and ask.epoch == pool.epoch
    keeping = _strictest(pool, beside, keeping, ask)
    _resize(pool, keeping)
    _open(pool, keeping, ask, now)
    _warm_up(pool, now)
    _bury(pool, beside, keeping, ask.holder, dead, now)
    _admit(pool, beside, ask, now)
    _take_back(pool, beside, keeping, ask, now)
    _suffice(pool, keeping, ask)
    if ask.pause_for:
        pool.paused_until = max(pool.paused_until, now + ask.pause_for)
    pool.seq += 1
    target, single = _lend(pool, beside, keeping, ask, now)
    return pool, _answer(pool, beside, keeping, ask, now, target, single=single)


def _begin(keeping: Keeping, time: int, epoch: str, *, lost: bool, fresh: bool, whole: int) -> Pool:
    pool = Pool(epoch=epoch, now=time, amount=keeping.amount)
    # Nobody waits a day to learn that nothing was used: a long span begins empty where there never was a state.
    if not lost and (fresh or not keeping.per or keeping.per >= _TOO_LONG):
        pool.free = keeping.amount
    elif not lost:
        # One call may find out what the platform has counted.
        pool.free = pool.claimed = 1
        pool.open_at = time + max(keeping.per, 1)
    else:
        pool.amount = max(keeping.amount, whole)
        pool.grace_until = time + keeping.ttl
        # What a quota of a day held before it was lost the platform tells with the next reply: the living claim theirs
        # within ttl, and then calls go on, rather than a day later.
        pool.open_at = time + keeping.ttl + (0 if keeping.per >= _TOO_LONG else keeping.linger + keeping.per)
    return pool


def _suffice(pool: Pool, keeping: Keeping, ask: Ask) -> None:
    """A probe is one call: as long as nobody has sent one, it may be as dear as the first in line."""
    dear = min(ask.call[0], keeping.amount) - pool.claimed
    others = sum(places for name, (places, _, _) in pool.holders.items() if name != ask.holder)
    if pool.open_at and not pool.grace_until and dear > 0 and not (ask.busy or others or pool.cool):
        pool.free += dear
        pool.claimed += dear


def _strictest(pool: Pool, beside: Beside, keeping: Keeping, ask: Ask) -> Keeping:
    """The figures that hold for all who share the limit now; takes note of this holder's."""
    entry = beside.holders.setdefault(ask.holder, [0, 0, 0, 0, 0, 0])
    beside.figures += entry[3:5] != [keeping.amount, keeping.per]
    entry[3:6] = [keeping.amount, keeping.per, keeping.linger]
    amount, per = keeping.amount, keeping.per
    for name, other in beside.holders.items():
        if name in pool.holders:
            amount, per = min(amount, other[3]), max(per, other[4])
    return Keeping(amount, per, keeping.linger, keeping.ttl)


def _resize(pool: Pool, keeping: Keeping) -> None:
    """The amount changed (another share or tier): free places make up for it now, cooling and lent ones later."""
    if not pool.open_at:
        pool.free += keeping.amount - pool.amount
    elif pool.grace_until:  # what nobody claimed may be in use all the same: those who did claim make up for less
        less = max(0, pool.amount - keeping.amount)
        pool.free -= less
        pool.claimed -= less
    elif pool.claimed > keeping.amount:  # nothing is left to be opened, and too much was claimed
        pool.free -= pool.claimed - keeping.amount
        pool.claimed = keeping.amount
    pool.amount = keeping.amount


def _open(pool: Pool, keeping: Keeping, ask: Ask, now: int) -> None:
    if not pool.open_at:
        return
    unopened = pool.amount - pool.claimed
    if now >= pool.open_at or (ask.fresh and not pool.grace_until):
        pool.free += unopened
    elif ask.opened is not None and pool.grace_until <= now:
        # A probe is in the word that answers it. Which of the calls that were claimed are in it nobody can tell.
        others = max(0, ask.opened - (0 if pool.grace_until else pool.claimed))
        pool.chill(now + keeping.per, min(others, unopened))
        if others >= unopened > 0 and not pool.grace_until:
            pool.open_at = max(pool.open_at, now + keeping.per)
        if others >= unopened:  # should the amount grow, then others may have what it grows by
            pool.claimed += unopened
            return
        pool.free += unopened - others
    else:
        return
    pool.open_at = 0


def _warm_up(pool: Pool, now: int) -> None:
    """Places that have cooled are free."""
    if any(entry[0] <= now for entry in pool.cool):
        pool.free += sum(places for at, places in pool.cool if at <= now)
        pool.cool = [entry for entry in pool.cool if entry[0] > now]


def _bury(pool: Pool, beside: Beside, keeping: Keeping, me: str, dead: Callable[[str], bool], now: int) -> None:
    for holder, (places, lease_until, _) in list(pool.holders.items()):
        if holder != me and (lease_until <= now or dead(holder)):
            del pool.holders[holder]
            _orphan(pool, beside, keeping, holder, places, now)
    for holder in [name for name, (at, _) in beside.orphans.items() if at <= now and name != me]:
        del beside.orphans[holder]
    for holder, (_, _, lease_until, _, per, linger) in list(beside.holders.items()):
        gone = holder not in pool.holders and holder not in beside.orphans and holder != me
        if gone and lease_until + per + linger <= now:
            del beside.holders[holder]


def _orphan(pool: Pool, beside: Beside, keeping: Keeping, holder: str, places: int, now: int) -> None:
    if places > 0:
        known = beside.holders.get(holder, [0] * 6)
        until = now + max(keeping.linger, known[5]) + keeping.per
        pool.chill(until, places)
        pool.orphans_until = max(pool.orphans_until, until)
        beside.orphans[holder] = [until, places]


def _admit(pool: Pool, beside: Beside, ask: Ask, now: int) -> None:
    """What the holder has of the pool, by its own word; a newcomer joins with nothing."""
    mine = pool.holders.get(ask.holder)
    returned = sum(places for _, _, places in _unheard(beside, ask))
    fact = ask.busy + returned
    brought = max(ask.keeps, ask.busy) + returned
    if mine is not None:
        # Less: lent in an answer that it never heard. More idle places than it was lent are nobody's.
        has = brought if brought <= mine[0] else max(mine[0], fact)
        if pool.open_at and has > mine[0]:
            _claim(pool, has - mine[0])
        pool.free += mine[0] - has
        mine[0] = has
        return
    if ask.epoch and ask.epoch != pool.epoch and pool.open_at and now <= pool.grace_until:
        # The state was lost under a lease that may still run: its idle places may be used this very moment.
        fact += max(0, min(brought - fact, pool.amount - pool.claimed - fact))
    back = _orphaned(pool, beside, ask.holder, now)
    if pool.open_at:  # what comes back from its orphans was claimed before
        _claim(pool, fact - back)
    pool.free += back - fact
    pool.holders[ask.holder] = [fact, now, 0]


def _claim(pool: Pool, places: int) -> None:
    part = max(0, min(places, pool.amount - pool.claimed))
    pool.claimed += part
    pool.free += part


def _unheard(beside: Beside, ask: Ask) -> list[tuple[int, int, int]]:
    """Those of its returns that the pool has not taken yet."""
    done = beside.holders[ask.holder][0]
    return [each for each in ask.returns if each[0] > done]


def _orphaned(pool: Pool, beside: Beside, holder: str, now: int) -> int:
    """Take the places that cool because this holder lapsed out of the pool; returns how many there were."""
    known = beside.orphans.pop(holder, None)
    if known in pool.cool:
        assert known is not None
        pool.cool.remove(known)
        pool.orphans_until = max((at for at, _ in beside.orphans.values()), default=0)
        return known[1]
    places = beside.holders[holder][1]
    if known is None and places > 0:
        # An older Headway buried it, in one entry of this size. Of several the earliest: what stays cools as long.
        same = [entry for entry in pool.cool if entry[1] == places and entry[0] > now]
        if same:
            found = min(same)
            pool.cool.remove(found)
            return found[1]
    return 0


def _take_back(pool: Pool, beside: Beside, keeping: Keeping, ask: Ask, now: int) -> None:
    mine = pool.holders[ask.holder]
    entry = beside.holders[ask.holder]
    for _, left, count in _unheard(beside, ask):
        if left > 0:
            pool.chill(now + left + keeping.per - entry[4], count)
        else:
            pool.free += count
        mine[0] -= count
    entry[0] = max(entry[0], ask.number)
    if ask.leave:
        _orphan(pool, beside, keeping, ask.holder, mine[0], now)
        del pool.holders[ask.holder]
        entry[1], entry[2] = 0, now


def _lend(pool: Pool, beside: Beside, keeping: Keeping, ask: Ask, now: int) -> tuple[int, bool]:
    """Lend what is this holder's due; returns its target and whether each place is for a single use."""
    if ask.leave:
        beside.line.pop(ask.holder, None)
        return 0, False
    mine = pool.holders[ask.holder]
    mine[1:3] = [now + keeping.ttl, ask.want]
    wants = {name: want for name, (_, _, want) in pool.holders.items()}
    hungry = sum(1 for want in wants.values() if want > 0)
    single = hungry > 1 and pool.amount < 2 * hungry
    stand(pool, beside, ask, now, single=single)
    give, target = due_to(pool, beside, ask, wants, single=single)
    pool.free -= give
    mine[0] += give
    return target, single


def _answer(pool: Pool, beside: Beside, keeping: Keeping, ask: Ask, now: int, target: int, *, single: bool) -> Answer:
    places, lease_until, _ = pool.holders.get(ask.holder, (0, now, 0))
    beside.holders[ask.holder][1:3] = [places, lease_until]
    if not pool.open_at:
        pool.grace_until = 0
    others = [holder for name, holder in pool.holders.items() if name != ask.holder]
    ripe = min([at for at, _ in pool.cool] + ([pool.open_at] if pool.open_at else []), default=now) - now
    why, certain = "", False
    if pool.open_at:
        why = "lost" if pool.grace_until else "new"
        certain = beside.probed
        if pool.grace_until:
            certain = pool.free <= 0 and not pool.cool and not any(held for held, _, _ in pool.holders.values())
    elif pool.orphans_until > now:
        why = "dead"
    if not pool.open_at:
        certain = pool.free <= 0 and not any(holder[0] for holder in others)
    return Answer(
        ask.number, pool.epoch, pool.seq, places, target,
        pause=max(0, pool.paused_until - now), probe=pool.open_at > 0,
        recovering=max(0, pool.orphans_until - now), ripe=max(0, ripe), single=single,
        hungry=any(want > held for held, _, want in others),
        amount=keeping.amount, per=keeping.per, why=why,
        opens=max(0, pool.open_at - now if pool.open_at else ripe) if certain else 0, debt=pool.free < 0,
        figures=beside.figures,
    )  # fmt: skip
