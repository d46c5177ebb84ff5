"""Places lent to processes: what the keeper of an account's shared state does with one holder's request.

A place is used, cools, and is used again, so it can be partitioned: the keeper lends each holder (process) a number
of places under one lease, and the holder runs the ordinary gate on them. `exchange` is the only operation; joining
and leaving are cases of it. It is the same for every keeper (SQLite, Redis, PostgreSQL), which supplies its clock.

Rules:
* No clock crosses the border: holders report durations, applied at the keeper's `now`. Errors only lengthen a hold.
* free + lent + cooling + unopened == amount, always; what is lent is never more than the amount.
* A holder whose lease ran out, or that is known to be dead, had its places in use: they cool for linger + per.
* Where places are fewer than two for each hungry holder, a place is lent for a single use, holders in order of asking.
* State that was never there lends one probe; what the platform's remaining header says opens the rest, else one
  `per` does. State that was lost lends nothing for ttl, but accepts what live holders claim.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

__all__ = ["Answer", "Ask", "Keeping", "Pool", "exchange", "max_min"]

_TOO_LONG = 3600 * 1_000_000_000


@dataclass(frozen=True, slots=True)
class Keeping:
    """What all keepers of one limit agree on: `amount` places that cool for `per`; `linger` and `ttl` in ns."""

    amount: int
    per: int
    linger: int
    ttl: int


@dataclass(frozen=True, slots=True)
class Ask:
    """One holder's request for one limit.

    `keeps`: places it goes on holding. `returns`: (ns left to cool, places). `opened`: calls that the platform said
    are in its window, everybody's, after a probe. `pause_for`: ns that the platform asked to be left alone. `leave`:
    the holder goes. `fresh`: the caller vouches that nothing was used before.
    """

    holder: str
    epoch: str = ""
    seq_seen: int = 0
    keeps: int = 0
    returns: tuple[tuple[int, int], ...] = ()
    want: int = 0
    opened: int | None = None
    pause_for: int = 0
    leave: bool = False
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """`give` more places; hold at most `target`; `void`: drop all places and start at `give`. Durations in ns.

    `probe`: the state is not open yet, the places given are for finding out. `recovering`: until the places of a dead
    holder or a lost state are free at the latest, 0 if there are none. `ripe`: until the next cooling place is free.
    `single`: places are scarce, each is to be returned as soon as it was used.
    """

    epoch: str
    seq: int
    give: int
    target: int
    void: bool
    pause: int
    probe: bool
    recovering: int
    ripe: int = 0
    single: bool = False


@dataclass(slots=True)
class Pool:
    """The shared state of one limit, made of plain numbers so that any keeper can write it down."""

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
    cool: list[tuple[int, int]] = field(default_factory=list)
    holders: dict[str, tuple[int, int, int]] = field(default_factory=dict)  # places, lease_until, want
    line: list[str] = field(default_factory=list)  # who waits for a place to use once, in order of asking

    def chill(self, at: int, places: int) -> None:
        """`places` cool until `at`."""
        if places > 0:
            self.cool.append((at, places))

    def total(self) -> int:
        """Places accounted for: free, cooling, lent and not yet opened."""
        lent = sum(places for places, _, _ in self.holders.values())
        unopened = self.amount - self.claimed if self.open_at else 0
        return self.free + sum(places for _, places in self.cool) + lent + unopened


def max_min(amount: int, wants: dict[str, int], turn: int) -> dict[str, int]:
    """Max-min fair shares of `amount` by demand; the remainder goes round with `turn`."""
    shares = dict.fromkeys(wants, 0)
    left = amount
    hungry = sorted(name for name in wants if wants[name] > 0)
    while hungry and left >= len(hungry):
        each = left // len(hungry)
        for name in hungry:
            part = min(each, wants[name] - shares[name])
            shares[name] += part
            left -= part
        hungry = [name for name in hungry if shares[name] < wants[name]]
    for i in range(min(left, len(hungry))):
        shares[hungry[(i + turn) % len(hungry)]] += 1
    return shares


def exchange(
    pool: Pool | None,
    keeping: Keeping,
    ask: Ask,
    time: int,
    *,
    new_epoch: str,
    dead: Collection[str] = (),
    first: bool = False,
) -> tuple[Pool, Answer]:
    """Apply one holder's request at the keeper's `time` (ns); returns the pool to write down and the answer.

    `pool` None: there is no state; `first` then vouches that no other holder can be alive. `dead`: holders known to
    have died. `new_epoch`: a random word, used if the state has to begin anew.
    """
    if pool is None or pool.seq < ask.seq_seen:
        pool = _begin(keeping, time, new_epoch, first=first or ask.fresh, fresh=ask.fresh)
    now = pool.now = max(time, pool.now)
    _resize(pool, keeping)
    _open(pool, keeping, ask, now)
    pool.free += sum(places for at, places in pool.cool if at <= now)
    pool.cool = [(at, places) for at, places in pool.cool if at > now]
    _bury(pool, keeping, ask.holder, dead, now)
    void = _admit(pool, keeping, ask, now)
    if not void:
        _take_back(pool, keeping, ask, now)
    if ask.pause_for:
        pool.paused_until = max(pool.paused_until, now + ask.pause_for)
    pool.seq += 1
    target, give, single = _lend(pool, keeping, ask, now)
    recovering = max(pool.open_at, pool.orphans_until) - now
    ripe = min([at for at, _ in pool.cool] + ([pool.open_at] if pool.open_at else []), default=now) - now
    pause = max(0, pool.paused_until - now)
    return pool, Answer(
        pool.epoch, pool.seq, give, target, void, pause, pool.open_at > 0, max(0, recovering), max(0, ripe), single
    )


def _begin(keeping: Keeping, time: int, epoch: str, *, first: bool, fresh: bool) -> Pool:
    pool = Pool(epoch=epoch, now=time, amount=keeping.amount)
    # Nobody waits a day to learn that nothing was used: a long span begins empty where there never was a state.
    if fresh or (first and (not keeping.per or keeping.per >= _TOO_LONG)):
        pool.free = keeping.amount
    elif first:
        # Nobody else can be alive: one call may find out what the platform has counted.
        pool.free = pool.claimed = 1
        pool.open_at = time + max(keeping.per, 1)
    else:
        pool.grace_until = time + keeping.ttl
        # What a quota of a day held before it was lost the platform tells with the next reply: the living claim theirs
        # within ttl, and then calls go on, rather than a day later.
        pool.open_at = time + keeping.ttl + (0 if keeping.per >= _TOO_LONG else keeping.linger + keeping.per)
    return pool


def _resize(pool: Pool, keeping: Keeping) -> None:
    """The amount changed (another share or tier): free places make up for it now, cooling and lent ones later."""
    if not pool.open_at:
        pool.free += keeping.amount - pool.amount
    pool.amount = keeping.amount


def _open(pool: Pool, keeping: Keeping, ask: Ask, now: int) -> None:
    if not pool.open_at:
        return
    if now >= pool.open_at:
        pool.free += max(0, pool.amount - pool.claimed)
        pool.open_at = 0
    elif ask.opened is not None and pool.grace_until <= now:
        others = min(max(0, ask.opened - pool.claimed), pool.amount - pool.claimed)
        pool.free += pool.amount - pool.claimed - others
        pool.chill(now + keeping.per, others)
        pool.open_at = 0


def _bury(pool: Pool, keeping: Keeping, me: str, dead: Collection[str], now: int) -> None:
    for holder, (places, lease_until, _) in list(pool.holders.items()):
        if holder != me and (lease_until <= now or holder in dead):
            del pool.holders[holder]
            _orphan(pool, keeping, places, now)


def _orphan(pool: Pool, keeping: Keeping, places: int, now: int) -> None:
    if places > 0:
        until = now + keeping.linger + keeping.per
        pool.chill(until, places)
        pool.orphans_until = max(pool.orphans_until, until)


def _admit(pool: Pool, keeping: Keeping, ask: Ask, now: int) -> bool:
    """Whether the holder's places are void; a newcomer joins with none."""
    mine = pool.holders.get(ask.holder)
    brought = ask.keeps + sum(places for _, places in ask.returns)
    if ask.epoch != pool.epoch:
        if mine is not None:
            _orphan(pool, keeping, mine[0], now)  # it joined before and never heard the answer
        accepted = pool.open_at > 0 and now <= pool.grace_until and pool.claimed + brought <= pool.amount
        if accepted:
            pool.claimed += brought
        pool.holders[ask.holder] = (brought if accepted else 0, now, 0)
        return brought > 0 and not accepted
    if mine is None or mine[1] <= now:
        _orphan(pool, keeping, mine[0] if mine else 0, now)
        pool.holders[ask.holder] = (0, now, 0)
        return brought > 0
    if mine[0] > brought:
        # Lent in an answer that never arrived: nobody used them, but nobody can prove it.
        _orphan(pool, keeping, mine[0] - brought, now)
        pool.holders[ask.holder] = (brought, mine[1], mine[2])
    return mine[0] < brought


def _take_back(pool: Pool, keeping: Keeping, ask: Ask, now: int) -> None:
    places, lease_until, want = pool.holders[ask.holder]
    for left, count in ask.returns:
        if left > 0:
            pool.chill(now + left, count)
        else:
            pool.free += count
        places -= count
    if ask.leave:
        _orphan(pool, keeping, places, now)
        places = 0
    pool.holders[ask.holder] = (places, lease_until, want)


def _lend(pool: Pool, keeping: Keeping, ask: Ask, now: int) -> tuple[int, int, bool]:
    """Target, places given, and whether each is for a single use."""
    if ask.leave:
        del pool.holders[ask.holder]
        return 0, 0, False
    places = pool.holders[ask.holder][0]
    wants = {name: want for name, (_, _, want) in pool.holders.items()}
    wants[ask.holder] = ask.want
    hungry = sum(1 for want in wants.values() if want > 0)
    single = hungry > 1 and pool.amount < 2 * hungry
    if single:
        give = _lend_once(pool, ask, places)
        target = places + give
    else:
        pool.line.clear()
        # The remainder goes round slowly: a place that moved at every request would never be used.
        target = max_min(pool.amount, wants, pool.seq // (8 * len(wants)))[ask.holder]
        give = max(0, min(target - places, pool.free))
    pool.free -= give
    pool.holders[ask.holder] = (places + give, now + keeping.ttl, ask.want)
    return target, give, single


def _lend_once(pool: Pool, ask: Ask, places: int) -> int:
    """1 if it is this holder's turn and a place is free, else 0; who wants and gets none stands in line."""
    pool.line = [name for name in pool.line if name in pool.holders]
    if ask.want <= places:
        if ask.holder in pool.line:
            pool.line.remove(ask.holder)
        return 0
    if ask.holder not in pool.line:
        pool.line.append(ask.holder)
    if pool.line.index(ask.holder) >= pool.free:
        return 0
    pool.line.remove(ask.holder)
    return 1
