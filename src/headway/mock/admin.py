"""The admin API of a mock, under /_mock: statistics, journal, ledger, objects, clock, faults. It counts as no call.

GET  /_mock/stats      GET /_mock/journal?after=N      GET /_mock/ledger/TYPE      GET /_mock/objects/TYPE
POST /_mock/clock      {"advance": seconds}
POST /_mock/faults     {"kind": "status", "status": 503, "path": "*/batch/*", "probability": 0.1, …}; DELETE forgets all
POST /_mock/poison     {"property": "firstname", "value": "poison", "names": false}
POST /_mock/foreign    {"calls": 40, "token": "…"}: another app's calls, counted now
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import msgspec

from headway.mock.batches import Poison
from headway.mock.faults import Fault
from headway.mock.platform import HubSpotMock
from headway.mock.replies import MockReply

__all__ = ["administer", "statistics"]


def statistics(mock: HubSpotMock) -> dict[str, Any]:
    """Counts since the start: requests by status, rejections by policy, the fullest window, records by type."""
    kinds = list(mock.objects.all())
    return {
        "requests": sum(mock.by_status.values()),
        "by_status": {str(status): count for status, count in sorted(mock.by_status.items())},
        "rate_limited": mock.by_status[429],
        "refused_for": dict(mock.refused_for),
        "write_calls": mock.write_calls,
        "most_in_any_window": mock.most_in_any_window(),
        "seconds": (mock.last_arrival - mock.first_arrival) / 1e9,
        "objects": {kind.name: len(kind.by_id) for _, kind in kinds},
        "writes": {kind.name: sum(kind.written.values()) for _, kind in kinds},
        "written_more_than_once": {kind.name: sum(1 for n in kind.written.values() if n > 1) for _, kind in kinds},
        "faults": [{"kind": rule.kind, "hit": rule.hit} for rule in mock.faults.rules],
    }


def administer(mock: HubSpotMock, method: str, path: str, query: str, body: bytes) -> MockReply:
    """One admin request."""
    try:
        said: Any = msgspec.json.decode(body) if body else {}
        return _do(mock, method, path.removeprefix("/_mock/").strip("/"), parse_qs(query), said)
    except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
        return MockReply(400, {"error": f"{type(error).__name__}: {error}"})


def _do(mock: HubSpotMock, method: str, what: str, query: dict[str, list[str]], said: Any) -> MockReply:
    head, _, name = what.partition("/")
    if method == "GET":
        return _look(mock, head, name, query)
    if head == "clock":
        mock.clock.advanced += int(float(said["advance"]) * 1e9)
        return MockReply(200, {"advanced": mock.clock.advanced / 1e9})
    if head == "faults":
        if method == "DELETE":
            mock.faults.rules.clear()
        else:
            mock.faults.add(Fault(**said))
        return MockReply(200, {"rules": len(mock.faults.rules)})
    if head == "poison":
        mock.batches.poisons.append(Poison(said["property"], said["value"], names=bool(said.get("names", False))))
        return MockReply(200, {"poisons": len(mock.batches.poisons)})
    if head == "foreign":
        token = str(said.get("token", ""))
        portal = mock.config.portals.get(token, mock.config.portal)
        refused = sum(mock.admit(token, portal, search=False) is not None for _ in range(int(said["calls"])))
        return MockReply(200, {"refused": refused})
    return MockReply(404, {"error": f"no {method} /_mock/{what}"})


def _look(mock: HubSpotMock, head: str, name: str, query: dict[str, list[str]]) -> MockReply:
    if head == "stats":
        return MockReply(200, statistics(mock))
    if head == "journal":
        after = int(query.get("after", ["0"])[0])
        names = ("at", "method", "path", "status", "records")
        return MockReply(
            200, {"requests": [dict(zip(names, each, strict=True)) for each in list(mock.journal)[after:]]}
        )
    if head == "ledger":
        return MockReply(
            200, {key: n for _, kind in mock.objects.all() if kind.name == name for key, n in kind.written.items()}
        )
    if head == "objects":
        found = {key: each for _, kind in mock.objects.all() if kind.name == name for key, each in kind.by_id.items()}
        return MockReply(200, found)
    return MockReply(404, {"error": f"no GET /_mock/{head}"})
