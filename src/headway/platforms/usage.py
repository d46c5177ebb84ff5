"""What a reply says was used of a platform's limits and what the call cost, read as the catalogue's entry tells it.

Sources stand in the entries (`[[usage]]`, `header_dialect`). Never raises for what a server sent.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from headway.limits.headers import Remaining, remaining, reset_after, whole
from headway.platforms.profile import LimitEntry, Profile, Usage
from headway.platforms.recognition import numbers_named, values_at

__all__ = ["Told", "reads_body", "usage_of"]

_WHOLE_BODY = 65_536  # bytes that are parsed as a whole; of longer bodies only the table is looked for
_MOST = 10**15


@dataclass(frozen=True, slots=True)
class Told:
    """What a reply says: `left` of limits, what the call `cost` of each, and what had to be free for it (`needs`)."""

    left: tuple[Remaining, ...] = ()
    cost: Mapping[str, int] = field(default_factory=dict)
    needs: int | None = None


def reads_body(profile: Profile, path: str) -> bool:
    """Whether the body of a reply to this call tells usage or cost."""
    if profile.cost is not None and profile.cost.actual:
        return True
    return any(usage.body and usage.covers(path) for usage in profile.usage)


def usage_of(
    profile: Profile, entries: Sequence[LimitEntry], path: str, headers: Mapping[str, str], body: bytes, wall: int
) -> Told:
    """Everything that a reply says of usage; `entries`: the limits that its call counted against."""
    left: list[Remaining] = []
    cost: dict[str, int] = {}
    needs: int | None = None
    for usage in profile.spoken:
        if not usage.covers(path):
            continue
        if usage.body:
            tables = [each for each in _tables(usage, body) if isinstance(each, dict)]
            for limit, spent in _spent(usage, entries, tables):
                cost[limit] = max(1, spent)
            needed = [each for each in (_number(table, usage.needs) for table in tables) if each is not None]
            needs = sum(needed) if needed else needs
            left += (said for table in tables if (said := _of_table(usage, entries, table)) is not None)
        elif usage.json:
            left += _percent(usage, headers)
        elif (said := _of_headers(usage, entries, headers, wall)) is not None:
            left.append(said)
    if profile.cost is not None and profile.cost.actual and not cost:
        cost = _actual(profile, entries, body)
    if not left:
        left = [_meant(each, entries) for each in remaining(headers, wall)]
    return Told(_tightest(left), cost, needs)


def _tightest(left: Iterable[Remaining]) -> tuple[Remaining, ...]:
    """One word for each limit: of several reports in one reply the last that was counted."""
    found: dict[tuple[str, str, float | None, int], Remaining] = {}
    for each in left:
        key = (each.name, each.kind, each.per, each.limit)
        if key not in found or each.remaining < found[key].remaining:
            found[key] = each
    return tuple(found.values())


# -- header fields


def _of_headers(usage: Usage, entries: Sequence[LimitEntry], headers: Mapping[str, str], wall: int) -> Remaining | None:
    amount, left = whole(headers.get(usage.amount.lower())), whole(headers.get(usage.remaining.lower()))
    if usage.fraction:
        used, amount = _fraction(headers.get(usage.fraction.lower(), ""), usage.part)
        left = None if used is None or amount is None else max(0, amount - used)
    if left is None and usage.used and (used := whole(headers.get(usage.used.lower()))) is not None:
        left = None if amount is None else max(0, amount - used)
    per = whole(headers.get(usage.milliseconds.lower())) if usage.milliseconds else None
    reset = reset_after(headers.get(usage.reset.lower()), headers, wall) if usage.reset else None
    return _word(usage, entries, amount, left, per / 1000 if per else None, reset)


def _fraction(text: str, part: str) -> tuple[int | None, int | None]:
    found = re.search(
        rf"(?:^|[;,\s]){re.escape(part + '=') if part else ''}(\d{{1,15}})/(\d{{1,15}})(?![\d/])", text[:500]
    )
    return (int(found[1]), int(found[2])) if found else (None, None)


def _percent(usage: Usage, headers: Mapping[str, str]) -> Iterator[Remaining]:
    """Shares used, somewhere in a header's JSON: the highest, and seconds until calls may go again."""
    text = headers.get(usage.json.lower(), "")
    shares = [share for key in usage.percent for share in numbers_named(text, key)]
    if shares:
        minutes = max(numbers_named(text, usage.regain), default=0.0) if usage.regain else 0.0
        left = max(0, 100 - math.ceil(min(max(shares), 100)))
        yield Remaining("percent", 100, left, reset=minutes * 60 or None, name=usage.limit)


# -- tables in bodies


def _tables(usage: Usage, body: bytes) -> Iterator[object]:
    """The tables that stand at the paths; in a long body those that stand under the last name, wherever they do."""
    if len(body) <= _WHOLE_BODY:
        try:
            said = json.loads(body) if body else None
        except (ValueError, RecursionError):
            return
        for path in usage.body:
            yield from values_at(said, path)
        return
    for name in {path.rpartition(".")[2] for path in usage.body}:
        text = json.dumps(name).encode()
        at = body.find(text)
        while at >= 0:
            yield from _value_after(body, at + len(text))
            at = body.find(text, at + 1)


def _value_after(body: bytes, at: int) -> Iterator[object]:
    """The object behind `"name":`."""
    rest = body[at : at + 4096].decode("utf-8", "ignore").lstrip()
    if rest.startswith(":"):
        try:
            yield json.JSONDecoder().raw_decode(rest[1:].lstrip())[0]
        except (ValueError, RecursionError):
            return


def _number(table: object, path: str) -> int | None:
    if not path:
        return None
    for value in values_at(table, path):
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _MOST:
            return math.ceil(value)
    return None


def _of_table(usage: Usage, entries: Sequence[LimitEntry], table: object) -> Remaining | None:
    amount, left = _number(table, usage.amount), _number(table, usage.remaining)
    rate = _number(table, usage.rate)
    return _word(usage, entries, amount, left, None, None, float(rate) if rate else None)


def _spent(usage: Usage, entries: Sequence[LimitEntry], tables: Sequence[object]) -> Iterator[tuple[str, int]]:
    """What the call cost of the usage's limit, or of those of its route: the sum of what its parts did."""
    found = [each for each in (_number(table, usage.cost) for table in tables) if each is not None]
    if found:
        for entry in entries:
            if usage.limit == entry.name:
                yield entry.name, sum(found)


def _actual(profile: Profile, entries: Sequence[LimitEntry], body: bytes) -> dict[str, int]:
    if len(body) > _WHOLE_BODY:
        return {}
    assert profile.cost is not None
    try:
        spent = _number(json.loads(body) if body else None, profile.cost.actual)
    except (ValueError, RecursionError):
        return {}
    return {} if spent is None else {each.name: max(1, spent) for each in entries if profile.weighs(each)}


# -- which limit is meant


def _word(
    usage: Usage,
    entries: Sequence[LimitEntry],
    amount: int | None,
    left: int | None,
    per: float | None,
    reset: float | None,
    rate: float | None = None,
) -> Remaining | None:
    entry = next((each for each in entries if each.name == usage.limit), None)
    if amount is None and entry is not None:
        amount = max(entry.amount, left or 0)
    if amount is None or left is None or amount < 1 or left > amount:
        return None
    if entry is None:
        said = Remaining("daily" if usage.part else "window", amount, left, per, reset, usage.limit, rate)
        return said if usage.limit else _meant(said, entries)
    other = per is not None and entry.per is not None and per != entry.per
    return Remaining(_kind(entry), amount, left, per, reset, "" if other else entry.name, rate)


def _kind(entry: LimitEntry) -> str:
    return "daily" if entry.kind in {"calendar quota", "rolling quota"} else "window"


def _meant(said: Remaining, entries: Sequence[LimitEntry]) -> Remaining:
    """The same word with the name of the limit that it can only mean: the one of its amount, or the only one."""
    counted = [each for each in entries if each.kind != "concurrency"]
    fitting = [each for each in counted if said.per is None or each.per is None or each.per == said.per]
    exact = [each for each in fitting if each.amount == said.limit]
    found = exact if len(exact) == 1 else fitting if len(fitting) == 1 and len(counted) == 1 else []
    if not found:
        return said
    return Remaining(_kind(found[0]), said.limit, said.remaining, said.per, said.reset, found[0].name, said.rate)
