"""Whose turn it is where a limit does not suffice for all who share it: calls are lent whole, the oldest first.

Rules:
* Every holder says how long its oldest call has waited. By that all limits of an account order their holders alike, so
  that no two holders can have for ever what the other needs.
* Who is first gets all that its call costs, though it be more than a fair share; the others share the rest.
* Where places are fewer than two for each hungry holder, a place is lent for a single use, and a call gets all or
  nothing; who holds idle places that somebody ahead needs gives them back.
* A holder that does not say (Headway up to e222d7f) asks for one place, from when it was first seen in line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from headway.limits.sharing.fairness import max_min

if TYPE_CHECKING:
    from headway.limits.sharing.places import Ask, Beside, Pool

__all__ = ["due_to", "stand"]

# Who began to wait within so many ns go by name: clocks that run fast make calls older at every request, and two that
# overtook each other again and again would each keep what the other needs.
_ALIKE = 50_000_000
_ROUNDS = 8  # the remainder goes round slowly: a place that moved at every request would never be used


def stand(pool: Pool, beside: Beside, ask: Ask, now: int, *, single: bool) -> None:
    """Bring the line up to date with what this holder says."""
    line = beside.line
    if not (line or pool.line or ask.call[0] or single):
        return
    for name in [each for each, (_, _, call) in line.items() if not call and each not in pool.line]:
        del line[name]
    for name in [each for each in line if each not in pool.holders]:
        del line[name]
    for name in pool.line if single else ():
        if name in pool.holders:
            line.setdefault(name, [now, 1, 0])
    cost, waited, call = ask.call
    known = line.pop(ask.holder, None)
    if cost > 0 and call:
        at = now - waited
        line[ask.holder] = [min(at, known[0]) if known is not None and known[2] == call else at, cost, call]
    elif single and ask.want > pool.holders[ask.holder][0]:
        line[ask.holder] = [known[0] if known is not None and not known[2] else now, 1, 0]


def due_to(pool: Pool, beside: Beside, ask: Ask, wants: dict[str, int], *, single: bool) -> tuple[int, int]:
    """(Places to give this holder now, places it should have in all)."""
    order = sorted(beside.line, key=lambda name: (beside.line[name][0] // _ALIKE, name))
    if single:
        return _whole_calls(pool, beside, ask, order)
    pool.line.clear()
    mine = pool.holders[ask.holder][0]
    turn = pool.seq // (_ROUNDS * len(wants))
    shares = max_min(pool.amount, wants, turn)
    kept = 0
    first = next((name for name in order if beside.line[name][2] and wants[name] > 0), None)
    if first is not None:
        cost = min(beside.line[first][1], pool.amount)
        if shares[first] < cost:
            rest = {name: want for name, want in wants.items() if name != first}
            shares = max_min(pool.amount - cost, rest, turn) | {first: cost}
            kept = max(0, cost - pool.holders[first][0]) if first != ask.holder else 0
    target = shares[ask.holder]
    if pool.free < 0:  # more is lent than there is: whatever is free first makes up for it, and is not used again
        target = min(target, max(0, mine + pool.free))
    return max(0, min(target - mine, pool.free - kept)), target


def _whole_calls(pool: Pool, beside: Beside, ask: Ask, order: list[str]) -> tuple[int, int]:
    """Places for a single use each: all that this holder's call lacks, or none."""
    lacks: dict[str, int] = {}
    for name in order:
        places, _, want = pool.holders[name]
        lacks[name] = max(0, min(beside.line[name][1], want - places))
    pool.line = [name for name in order if lacks[name]]
    ahead = 0
    for name in order:
        if name == ask.holder:
            break
        ahead += lacks[name]
    mine, lack = pool.holders[ask.holder][0], lacks.get(ask.holder, 0)
    if lack and pool.free - ahead >= lack:
        pool.line.remove(ask.holder)
        return lack, mine + lack
    floor = 0 if pool.free < 0 else min(ask.busy, mine)
    return 0, max(floor, mine - max(0, ahead - pool.free))
