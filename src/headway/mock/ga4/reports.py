"""Reports of the Data API: made up from the request, always the same. Source: Data API v1beta, runReport."""

from __future__ import annotations

import json
import zlib
from typing import Any

__all__ = ["DIMENSIONS", "METRICS", "cost_of", "report", "wrong"]

DIMENSIONS = (
    "date", "city", "country", "deviceCategory", "eventName", "pagePath", "sessionSource", "sessionMedium",
    "sessionCampaignName", "hour", "browser",
)  # fmt: skip
METRICS = ("activeUsers", "sessions", "eventCount", "screenPageViews", "totalUsers", "newUsers", "purchaseRevenue")
_MOST = 250_000


def _names(said: dict[str, Any], what: str) -> list[str]:
    return [str(each.get("name")) for each in said.get(what) or []]


def wrong(said: Any) -> str:
    """Why a request cannot be answered; '' if it can."""
    if not isinstance(said, dict):
        return "Invalid JSON payload received."
    for name in _names(said, "dimensions"):
        if name not in DIMENSIONS and not name.startswith("customEvent:"):
            return f"Field {name} is not a valid dimension. See the API schema."
    for name in _names(said, "metrics"):
        if name not in METRICS:
            return (
                f"Field {name} is not a valid metric. For a list of valid dimensions and metrics, see the API schema."
            )
    if not said.get("metrics") and not said.get("dimensions"):
        return "At least one dimension or metric is required."
    if not said.get("dateRanges"):
        return "At least one date range is required."
    return ""


def cost_of(said: dict[str, Any], least: int, most: int) -> int:
    """Tokens: the same request always costs the same."""
    return least + _mark(said) % (most - least + 1)


def _mark(said: dict[str, Any]) -> int:
    same = {
        name: value
        for name, value in said.items()
        if name not in {"limit", "offset", "returnPropertyQuota", "property"}
    }
    return zlib.crc32(json.dumps(same, sort_keys=True).encode())


def report(said: dict[str, Any], rows: int) -> dict[str, Any]:
    """The rows of one page."""
    dimensions, metrics = _names(said, "dimensions"), _names(said, "metrics")
    limit = min(int(said.get("limit") or 10_000), _MOST)
    offset = int(said.get("offset") or 0)
    mark = _mark(said)
    total = rows if dimensions else 1
    told = [
        {
            "dimensionValues": [{"value": f"{name}-{index:05d}"} for name in dimensions],
            "metricValues": [{"value": str((mark + index * 7919 + place) % 10_000)} for place in range(len(metrics))],
        }
        for index in range(offset, min(total, offset + limit))
    ]
    return {
        "dimensionHeaders": [{"name": name} for name in dimensions],
        "metricHeaders": [{"name": name, "type": "TYPE_INTEGER"} for name in metrics],
        "rows": told, "rowCount": total, "metadata": {"currencyCode": "USD", "timeZone": "America/New_York"},
        "kind": "analyticsData#runReport",
    }  # fmt: skip
