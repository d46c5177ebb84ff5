"""What processes learned of an account's limits, kept together: one row, merged field by field.

A word is a dict of a limit's fields; `at` is the wall instant (ns) at which it was learned. Rules:
* Of two amounts the stricter, of two pauses the later, of two guards the longer holds, and smooth before burst, where
  both were learned within an hour; else the later word.
* What others used of a period: the larger figure of the same period, else that of the later one.
* Of what is not known here, the later word. A word older than a day is forgotten: belief has a way back.
* Merging is idempotent and does not ask who came first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["LearnedAnswer", "LearnedAsk", "merge"]

_HOUR = 3600 * 1_000_000_000
_DAY = 24 * _HOUR

Words = dict[str, dict[str, Any]]
"""By limit."""


@dataclass(frozen=True, slots=True)
class LearnedAsk:
    """What this process has learned (an empty dict: nothing yet)."""

    words: Words


@dataclass(frozen=True, slots=True)
class LearnedAnswer:
    """What all have learned."""

    words: Words


_STRICTER: dict[str, Callable[..., Any]] = {
    "amount": min,
    "per": max,
    "paused_until": max,
    "guard": max,
    "smooth": max,
}


def merge(mine: Mapping[str, Mapping[str, Any]], theirs: Mapping[str, Mapping[str, Any]], wall: int) -> Words:
    """The words of both, without those that are older than a day at `wall` (ns)."""
    found: Words = {}
    for words in (mine, theirs):
        for limit, word in words.items():
            if isinstance(word, Mapping) and wall - _at(word) < _DAY:
                found[limit] = _both(found[limit], word) if limit in found else dict(word)
    return found


def _at(word: Mapping[str, Any]) -> int:
    return int(word.get("at", 0))


def _both(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    old, new = sorted((one, other), key=lambda word: (_at(word), repr(sorted(word.items(), key=repr))))
    both = {**old, **new}
    since = {**old.get("since", {}), **new.get("since", {})}
    for name, stricter in _STRICTER.items():
        if name in old and name in new:
            both[name], since[name] = _stricter(stricter, (old[name], _of(old, name)), (new[name], _of(new, name)))
        elif name in old:
            since[name] = _of(old, name)
    if _at(old) == _at(new):  # neither is the later word: choose without asking who came first
        for name in (old.keys() & new.keys()) - _STRICTER.keys() - {"since"}:
            both[name] = max(old[name], new[name], key=repr)
    if "end" in both:
        _merge_period(old, new, both)
    since = {name: at for name, at in since.items() if at != _at(both)}
    both.pop("since", None)
    return both | {"since": since} if since else both


def _of(word: Mapping[str, Any], name: str) -> int:
    """When this field was learned, where that was not with the rest."""
    return int(word.get("since", {}).get(name, _at(word)))


def _stricter(stricter: Callable[..., Any], one: tuple[Any, int], other: tuple[Any, int]) -> tuple[Any, int]:
    if abs(one[1] - other[1]) > _HOUR:
        return max(one, other, key=lambda said: said[1])
    value = stricter(one[0], other[0])
    return value, max(at for said, at in (one, other) if said == value)


def _merge_period(old: Mapping[str, Any], new: Mapping[str, Any], both: dict[str, Any]) -> None:
    """What others used (`foreign`) is of the period that ends at `end`: the two belong together."""
    both["end"] = max(word["end"] for word in (old, new) if "end" in word)
    both.pop("foreign", None)
    told = [word["foreign"] for word in (old, new) if word.get("end") == both["end"] and "foreign" in word]
    if told:
        both["foreign"] = max(told)
