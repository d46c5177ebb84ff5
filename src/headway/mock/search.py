"""HubSpot's search endpoint: filter groups, sorts, pages of at most 200, 10,000 results. It looks at every object."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from headway.mock.batches import told
from headway.mock.objects import ObjectType, folded
from headway.mock.replies import MockReply, refuse

__all__ = ["search"]

_MOST_PER_PAGE = 200
_MOST_RESULTS = 10_000


class _Filter(msgspec.Struct):
    propertyName: str  # noqa: N815  # HubSpot's own names
    operator: str
    value: str | int | float | bool | None = None
    highValue: str | int | float | None = None  # noqa: N815
    values: list[str | int | float | bool] = []


class _Group(msgspec.Struct):
    filters: list[_Filter] = []


class _Sort(msgspec.Struct):
    propertyName: str  # noqa: N815
    direction: str = "ASCENDING"


class _Search(msgspec.Struct):
    filterGroups: list[_Group] = []  # noqa: N815
    filters: list[_Filter] = []
    sorts: list[_Sort | str] = []
    properties: list[str] = []
    query: str = ""
    limit: int = 10
    after: str | int = 0


_decode = msgspec.json.Decoder(_Search, strict=False).decode


def search(kind: ObjectType, body: bytes) -> MockReply:
    """One search over the objects of a type."""
    try:
        asked = _decode(body or b"{}")
        start = int(asked.after or 0)
        groups = [[_test(each) for each in group.filters] for group in asked.filterGroups]
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError) as error:
        return refuse(400, f"Invalid input JSON: {error}", "VALIDATION_ERROR")
    if asked.filters:
        groups.append([_test(each) for each in asked.filters])
    if not 0 < asked.limit <= _MOST_PER_PAGE:
        return refuse(400, f"limit must be between 1 and {_MOST_PER_PAGE}, not {asked.limit}", "VALIDATION_ERROR")
    if start + asked.limit > _MOST_RESULTS:
        return refuse(400, f"The maximum number of results is {_MOST_RESULTS}", "VALIDATION_ERROR")
    found = [(key, stored) for key, stored in kind.by_id.items() if _meets(stored, groups, asked.query.lower())]
    for sort in reversed(asked.sorts):
        name, falling = (sort, False) if isinstance(sort, str) else (sort.propertyName, sort.direction == "DESCENDING")
        found.sort(key=lambda each: _rank(each[1].get(name, "")), reverse=falling)
    end = start + asked.limit
    results = [told(key, stored, asked.properties or kind.shown) for key, stored in found[start:end]]
    reply: dict[str, Any] = {"total": len(found), "results": results}
    if end < len(found):
        reply["paging"] = {"next": {"after": str(end)}}
    return MockReply(200, reply)


def _meets(stored: dict[str, str], groups: list[list[Callable[[dict[str, str]], bool]]], query: str) -> bool:
    if query and not any(query in value.lower() for value in stored.values()):
        return False
    return not groups or any(all(test(stored) for test in group) for group in groups)


def _test(asked: _Filter) -> Callable[[dict[str, str]], bool]:
    """What a filter asks of an object; ValueError for an unknown operator."""
    name = asked.propertyName
    wanted = folded(name, str(asked.value))
    several = {folded(name, str(each)) for each in asked.values}
    words = re.compile(re.escape(wanted).replace(r"\*", ".*"), re.IGNORECASE)
    tests: dict[str, Callable[[str], bool]] = {
        "EQ": lambda value: value == wanted,
        "NEQ": lambda value: value != wanted,
        "IN": lambda value: value in several,
        "NOT_IN": lambda value: value not in several,
        "HAS_PROPERTY": lambda value: value != "",
        "NOT_HAS_PROPERTY": lambda value: value == "",
        "GT": lambda value: value != "" and _rank(value) > _rank(wanted),
        "GTE": lambda value: value != "" and _rank(value) >= _rank(wanted),
        "LT": lambda value: value != "" and _rank(value) < _rank(wanted),
        "LTE": lambda value: value != "" and _rank(value) <= _rank(wanted),
        "BETWEEN": lambda value: value != "" and _rank(wanted) <= _rank(value) <= _rank(str(asked.highValue)),
        "CONTAINS_TOKEN": lambda value: words.search(value) is not None,
        "NOT_CONTAINS_TOKEN": lambda value: words.search(value) is None,
    }
    test = tests.get(asked.operator)
    if test is None:
        raise ValueError(f"{asked.operator} is not a valid operator")
    return lambda stored: test(stored.get(name, ""))


def _rank(value: str) -> tuple[int, float, str]:
    """Numbers before text, each in its own order."""
    try:
        return 0, float(value), ""
    except ValueError:
        return 1, 0.0, value
