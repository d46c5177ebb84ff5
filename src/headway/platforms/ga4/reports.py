"""Reports of the Data API: what is asked, pages, and the table that comes back. No input or output happens here.

Source: Google Analytics Data API v1beta, runReport and batchRunReports; PropertyQuota.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from headway.delivery.records import Call, Reply
from headway.errors import PlatformError, UsageError

__all__ = ["BATCH", "PAGE", "ReportRequest", "ReportTable", "calls_for", "pages_of"]

BATCH = 5
PAGE = 100_000
_JSON = {"content-type": "application/json"}
_MOST_BODY = 256 << 20


@dataclass(frozen=True, slots=True)
class ReportRequest:
    """A report: metrics by dimensions between two days (2026-11-01, today, 7daysAgo), at most `limit` rows.

    `where`: dimension → value that it must have; `order`: names to sort by, `-name` for the largest first. Raises
    UsageError for what Google would refuse.
    """

    metrics: Sequence[str]
    dimensions: Sequence[str] = ()
    start: str = "7daysAgo"
    end: str = "today"
    limit: int | None = None
    where: Mapping[str, str] = field(default_factory=dict)
    order: Sequence[str] = ()

    def __post_init__(self) -> None:
        if isinstance(self.metrics, str) or isinstance(self.dimensions, str):
            raise UsageError("report: metrics and dimensions are lists of names")
        if not 1 <= len(self.metrics) <= 10:
            raise UsageError(f"report: name 1 to 10 metrics, not {len(self.metrics)}: activeUsers, for example")
        if len(self.dimensions) > 9:
            raise UsageError(f"report: name at most 9 dimensions, not {len(self.dimensions)}")
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"report: limit must be at least 1, not {self.limit}")
        for name in self.order:
            if name.removeprefix("-") not in {*self.metrics, *self.dimensions}:
                raise UsageError(f"report: cannot order by {name!r}, which is neither a metric nor a dimension of it")

    def key(self, owner: str) -> str:
        """What tells one report from another."""
        return json.dumps([owner, self.body(0, self.limit or 0)], sort_keys=True)

    def body(self, offset: int, limit: int) -> dict[str, Any]:
        """As the API wants one page of it."""
        said: dict[str, Any] = {
            "dateRanges": [{"startDate": self.start, "endDate": self.end}],
            "metrics": [{"name": name} for name in self.metrics],
            "dimensions": [{"name": name} for name in self.dimensions],
            "limit": str(limit), "offset": str(offset), "returnPropertyQuota": True,
        }  # fmt: skip
        filters = [
            {"filter": {"fieldName": name, "stringFilter": {"matchType": "EXACT", "value": value}}}
            for name, value in self.where.items()
        ]
        if filters:
            said["dimensionFilter"] = filters[0] if len(filters) == 1 else {"andGroup": {"expressions": filters}}
        if self.order:
            said["orderBys"] = [self._order(name) for name in self.order]
        return said

    def _order(self, name: str) -> dict[str, Any]:
        plain = name.removeprefix("-")
        by = {"metric": {"metricName": plain}} if plain in self.metrics else {"dimension": {"dimensionName": plain}}
        return by | {"desc": name.startswith("-")}


@dataclass(frozen=True, slots=True)
class ReportTable:
    """The rows of a report: dimensions as text, metrics as numbers where they are.

    `row_count`: of the whole report, also where fewer were asked for; `cached`: whether no call was made for it.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str | int | float, ...], ...]
    row_count: int
    cached: bool = False

    def dicts(self) -> list[dict[str, str | int | float]]:
        """The rows by column."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    def to_bytes(self) -> bytes:
        """For the cache."""
        return json.dumps([self.columns, self.rows, self.row_count]).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> ReportTable:
        """From the cache."""
        columns, rows, count = json.loads(data)
        return cls(tuple(columns), tuple(tuple(row) for row in rows), int(count), cached=True)


def calls_for(owner: str, pages: Sequence[dict[str, Any]]) -> Call:
    """One call for up to five pages."""
    if len(pages) == 1:
        body = json.dumps(pages[0]).encode()
        return Call("POST", f"/v1beta/{owner}:runReport", body, _JSON, max_body=_MOST_BODY, timeout=120.0)
    body = json.dumps({"requests": list(pages)}).encode()
    return Call("POST", f"/v1beta/{owner}:batchRunReports", body, _JSON, max_body=_MOST_BODY, timeout=120.0)


def pages_of(reply: Reply, count: int) -> list[ReportTable]:
    """The tables in a reply to so many pages; raises PlatformError for what cannot be read."""
    try:
        said = json.loads(reply.body)
        told = [said] if count == 1 else said["reports"]
        tables = [_table(each) for each in told]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise PlatformError("Google's report cannot be read; is the base URL that of the Data API?") from error
    if len(tables) != count:
        raise PlatformError(f"Google answered {len(tables)} reports instead of {count}")
    return tables


def _table(said: Mapping[str, Any]) -> ReportTable:
    names = [each["name"] for each in said.get("dimensionHeaders") or []]
    metrics = said.get("metricHeaders") or []
    names += [each["name"] for each in metrics]
    rows = [
        (
            *(each["value"] for each in row.get("dimensionValues") or ()),
            *(_number(each["value"]) for each in row.get("metricValues") or ()),
        )
        for row in said.get("rows") or ()
    ]
    return ReportTable(tuple(names), tuple(rows), int(said.get("rowCount") or 0))


def _number(text: str) -> str | int | float:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text
