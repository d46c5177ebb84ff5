"""What the mock counted, as plain values."""

from __future__ import annotations

from typing import Any

from headway.mock.hubspot import HubSpotMock

__all__ = ["statistics"]


def statistics(mock: HubSpotMock) -> dict[str, Any]:
    """Counts since the start; the names are those of GET /_mock/stats (instants in ns of the monotonic clock).

    `most_in_any_window` counts accepted calls, `most_arrivals_in_any_window` refused ones too; `writes` are writes of
    records by object type, `written_more_than_once` keys, `duplicate_writes` the writes beyond the first of their key.
    """
    journal, enforcer = mock.journal, mock.enforcer
    now, wall = mock.clock.monotonic(), mock.clock.wall()
    for app in enforcer.apps.values():
        enforcer.catch_up(app, now, wall)
    kinds = mock.objects.all()
    windows = [app.window for app in enforcer.apps.values()]
    return {
        "requests": journal.arrived,
        "answered": journal.answered,
        "in_flight": journal.in_flight,
        "most_in_flight": journal.most_in_flight,
        "by_status": {str(status): count for status, count in sorted(journal.by_status.items())},
        "by_fault": dict(journal.by_fault),
        "rate_limited": journal.by_status[429],
        "refused_for": dict(enforcer.refused),
        "write_calls": journal.write_calls,
        "records": journal.records,
        "most_in_any_window": max((each.most for each in windows), default=0),
        "most_arrivals_in_any_window": max((each.crowd for each in windows), default=0),
        "first_arrival": journal.first_arrival,
        "last_arrival": journal.last_arrival,
        "last_reply": journal.last_reply,
        "seconds": (journal.last_arrival - journal.first_arrival) / 1e9,
        "daily_used": {str(key): each.day.used for key, each in enforcer.accounts.items()},
        "foreign": enforcer.foreign,
        "foreign_refused": enforcer.foreign_refused,
        "objects": _sums((kind.name, len(kind.by_id)) for _, kind in kinds),
        "writes": _sums((kind.name, kind.writes) for _, kind in kinds),
        "written_more_than_once": _sums(
            (kind.name, sum(1 for count in kind.written.values() if count > 1) if kind.again else 0)
            for _, kind in kinds
        ),
        "duplicate_writes": sum(kind.again for _, kind in kinds),
        "faults": [
            {"kind": rule.kind, "at": rule.at, "seen": rule.seen, "hit": rule.hit} for rule in mock.faults.rules
        ],
    }


def _sums(pairs: Any) -> dict[str, int]:
    """Portals of one mock told as one."""
    sums: dict[str, int] = {}
    for name, count in pairs:
        sums[name] = sums.get(name, 0) + count
    return sums
