"""The one operation of shared state, the same for every keeper: (bodies, requests, now) -> (bodies, answers).

Bodies are JSON texts under keys. A keeper reads those that `keys` names, in one transaction (SQLite, PostgreSQL) or
before a compare-and-set (Redis), and writes down what comes back. A body that cannot be read counts as lost.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from headway.limits.sharing.learned import LearnedAnswer, LearnedAsk, merge
from headway.limits.sharing.lots import LotAnswer, LotAsk, LotBeside, LotPool, exchange_lot, period
from headway.limits.sharing.places import Answer, Ask, Beside, Keeping, Pool, exchange_places

__all__ = ["AnyAnswer", "Request", "beside", "exchange", "keys"]

_T = TypeVar("_T")

_encoded = json.JSONEncoder(separators=(",", ":")).encode

AnyAnswer = Answer | LotAnswer | LearnedAnswer


@dataclass(frozen=True, slots=True)
class Request:
    """One holder's ask for what is shared under `key`; `keeping` is None unless places are lent."""

    key: str
    amount: int
    keeping: Keeping | None
    ask: Ask | LotAsk | LearnedAsk


def beside(key: str) -> str:
    """The key of the row that holds what Headway up to e222d7f does not know of a pool: it reads only its own keys."""
    return f"{key}\x1fbeside"


def keys(requests: Sequence[Request]) -> list[str]:
    """The keys of all bodies that these requests are about."""
    return [key for request in requests for key in (request.key, beside(request.key))]


def exchange(
    bodies: Mapping[str, str | None],
    requests: Sequence[Request],
    now: int,
    wall: int,
    *,
    new_epoch: str,
    dead: Callable[[str], bool] = lambda _holder: False,
    lost_at: int = 0,
) -> tuple[dict[str, str], list[AnyAnswer]]:
    """Answer the requests in their order; returns the bodies that changed, to be written down, and the answers.

    `now`: the keeper's clock, which never goes back; `wall`: its wall clock; both ns. `new_epoch`: a random word for
    state that has to begin anew. `dead`: whether a holder is known to have ended, by something better than its lease.
    `lost_at`: when (by `now`) the whole state was lost under living holders, 0 for never.
    """
    at: dict[str, str | None] = dict(bodies)
    written: dict[str, str] = {}
    answers: list[AnyAnswer] = []
    for request in requests:
        answer, changed = _one(at, request, now, wall, new_epoch, dead, lost_at)
        answers.append(answer)
        for key, body in changed.items():
            at[key] = written[key] = _encoded(body)
    return written, answers


def _one(
    bodies: Mapping[str, str | None],
    request: Request,
    now: int,
    wall: int,
    new_epoch: str,
    dead: Callable[[str], bool],
    lost_at: int,
) -> tuple[AnyAnswer, dict[str, dict[str, Any]]]:
    key, ask = request.key, request.ask
    body, damaged = _read(bodies.get(key))
    more, _ = _read(bodies.get(beside(key)))
    if isinstance(ask, LearnedAsk):
        words = merge(more.get("learned", {}) if more else {}, ask.words, wall)
        known = more or {}
        return LearnedAnswer(words), {} if words == known.get("learned", {}) else {
            beside(key): known | {"learned": words}
        }
    if isinstance(ask, LotAsk):
        lots, aside = _lots(body), _made(LotBeside.read, more) or LotBeside()
        damaged = damaged or (lots is None and body is not None)
        start, _ = period(ask, wall)
        lost = damaged or (lost_at > 0 and wall - (now - lost_at) >= start)
        lots, told = exchange_lot(
            lots, aside, request.amount, ask, now, wall, new_epoch=new_epoch, dead=dead, lost=lost
        )
        return told, {key: lots.body(), beside(key): aside.body()}
    assert request.keeping is not None
    keeping = request.keeping
    pool, side = _pool(body), _made(Beside.read, more) or Beside()
    damaged = damaged or (pool is None and body is not None)
    lost = damaged or 0 < lost_at <= now <= lost_at + keeping.ttl + keeping.linger + keeping.per
    pool, said = exchange_places(pool, side, keeping, ask, now, new_epoch=new_epoch, dead=dead, lost=lost)
    return said, {key: pool.body(), beside(key): side.body()}


def _read(text: str | None) -> tuple[dict[str, Any] | None, bool]:
    """The JSON object, and whether there was something else instead."""
    if text is None:
        return None, False
    try:
        found = json.loads(text)
    except ValueError:
        return None, True
    return (found, False) if isinstance(found, dict) else (None, True)


def _made(make: Callable[[dict[str, Any]], _T], body: dict[str, Any] | None) -> _T | None:
    if body is None:
        return None
    try:
        return make(body)
    except (TypeError, ValueError, KeyError, AttributeError):
        return None


def _pool(body: dict[str, Any] | None) -> Pool | None:
    found = _made(lambda said: Pool(**said), body)
    if found is None or not all(isinstance(each, list) and len(each) == 3 for each in found.holders.values()):
        return None
    return found


def _lots(body: dict[str, Any] | None) -> LotPool | None:
    return _made(lambda said: LotPool(**said), body)
