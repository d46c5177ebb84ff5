"""The admin API of a mock, under /_mock. It needs no token and counts as no call.

GET    /_mock/stats                        what was counted (stats.py)
GET    /_mock/journal?after=N&limit=M      requests after number N, oldest first (journal.Entry)
GET    /_mock/ledger/TYPE?least=N          how many times each key was written, those written N times or more
GET    /_mock/objects                      how many objects of each type; /_mock/objects/TYPE?limit=N: they themselves
GET    /_mock/faults                       the rules, with what they saw and hit
POST   /_mock/faults                       one rule or a list of rules (faults.Fault)
DELETE /_mock/faults                       no more faults, poisons included
POST   /_mock/poison                       {"property", "value", "names": false|"id"|"trace"|"value", "status": 400}
GET    /_mock/clock                        {"monotonic", "wall", "advanced"}
POST   /_mock/clock                        {"advance": seconds}: 86400 for a day
POST   /_mock/foreign                      {"calls": 40, "token": "…"}: another app's calls in that window, now
POST   /_mock/limits                       {"window": [100, 10] | "100/10s" | null, "daily": N|null, "search": N|null}
POST   /_mock/tokens                       {"revoke": "…"} | {"accept": "…"}: 401 from now on, or no longer
POST   /_mock/properties                   {"object": "companies", "name": "…", "type": "string", "unique": true}
POST   /_mock/objects                      {"name": "machines"}: one more custom object
POST   /_mock/reset                        no objects, no counts, full windows; limits, schema and faults stay

The mocks of Salesforce, Mailchimp and Google Analytics have stats, journal, faults, clock, foreign and reset, and
GET    /_mock/objects, /_mock/objects/NAME rows of an object (salesforce), members of an audience (mailchimp)
GET    /_mock/ledger/NAME?least=N          how many times each was written (salesforce, mailchimp)
GET    /_mock/jobs, /_mock/batches         Bulk jobs (salesforce), batches (mailchimp); /_mock/events?limit=N (ga4)
POST   /_mock/tokens                       {"revoke": "…"} | {"accept": "…"}
POST   /_mock/expire                       every token that was issued ends now (hubspot as well, not mailchimp)
POST   /_mock/limits                       {"daily": N, "long_running": N} (salesforce) | {"connections": N} (mailchimp)
POST   /_mock/quotas, /_mock/spend         {"tokens_day": N}; {"property": "…", "tokens": N}, used by another app (ga4)

The mock of any other catalogue entry has stats, journal, faults, clock, foreign and reset as well, and
POST   /_mock/limits                       {"daily": 20}: other amounts, by the entry's names of its limits
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from itertools import islice
from typing import Any
from urllib.parse import parse_qs

import msgspec

from headway.errors import UsageError
from headway.mock.config import parse_window
from headway.mock.faults import Fault
from headway.mock.generic import GenericMock
from headway.mock.hubspot import HubSpotMock
from headway.mock.platform import Platform
from headway.mock.replies import MockReply
from headway.mock.schema import CustomObject, from_official
from headway.mock.stats import statistics

__all__ = ["PREFIX", "administer"]

PREFIX = "/_mock/"

Said = Any
Query = dict[str, str]


def administer(mock: Platform, method: str, path: str, query: str, body: bytes) -> MockReply:
    """One admin request."""
    head, _, name = path.removeprefix(PREFIX).strip("/").partition("/")
    shared: dict[tuple[str, str], Callable[[Any, str, Query, Said], MockReply]]
    shared = _ACTS if isinstance(mock, HubSpotMock) else _SHARED
    own = mock.acts.get((method, head))
    act = shared.get((method, head))
    if act is None and own is None:
        known = sorted({f"{verb} {PREFIX}{each}" for verb, each in (*shared, *mock.acts)})
        return MockReply(404, {"error": f"no {method} {path}: there is {', '.join(known)}"})
    try:
        said = msgspec.json.decode(body) if body else {}
        asked = {key: values[-1] for key, values in parse_qs(query).items()}
        if own is not None:
            return own(name, asked, said)
        assert act is not None
        return act(mock, name, asked, said)
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError, UsageError) as error:
        return MockReply(400, {"error": f"{type(error).__name__}: {error}"})


def _stats(mock: Platform, _name: str, _query: Query, _said: Said) -> MockReply:
    return MockReply(200, mock.statistics())


def _journal(mock: Platform, _name: str, query: Query, _said: Said) -> MockReply:
    found = mock.journal.after(int(query.get("after", 0)), int(query.get("limit", 1_000_000)))
    return MockReply(200, {"requests": found})


def _ledger(mock: HubSpotMock, name: str, query: Query, _said: Said) -> MockReply:
    least = int(query.get("least", 1))
    kinds = [kind for _, kind in mock.objects.all() if kind.name == name]
    return MockReply(200, {key: count for kind in kinds for key, count in kind.written.items() if count >= least})


def _objects(mock: HubSpotMock, name: str, query: Query, _said: Said) -> MockReply:
    kinds = [kind for _, kind in mock.objects.all() if not name or kind.name == name]
    if not name:
        return MockReply(200, statistics(mock)["objects"])
    stored = ((key, each) for kind in kinds for key, each in kind.by_id.items())
    return MockReply(200, dict(islice(stored, int(query.get("limit", 1_000_000)))))


def _faults(mock: Platform, _name: str, _query: Query, _said: Said) -> MockReply:
    return MockReply(200, {"rules": [asdict(rule) for rule in mock.faults.rules]})


def _add_faults(mock: Platform, _name: str, _query: Query, said: Said) -> MockReply:
    rules = [Fault(**each) for each in (said if isinstance(said, list) else [said])]
    for rule in rules:
        mock.faults.add(rule)
    return MockReply(200, {"rules": len(mock.faults.rules)})


def _no_faults(mock: Platform, _name: str, _query: Query, _said: Said) -> MockReply:
    mock.faults.rules.clear()
    if isinstance(mock, HubSpotMock):
        mock.batches.poisons.clear()
    return MockReply(200, {"rules": 0})


def _poison(mock: HubSpotMock, _name: str, _query: Query, said: Said) -> MockReply:
    names = said.get("names", False)
    if isinstance(names, bool):
        names = "id" if names else "no"
    rule = Fault("poison", status=said.get("status", 400), prop=said["property"], value=said["value"], names=names)
    mock.faults.add(rule)
    return MockReply(200, {"rules": len(mock.faults.rules)})


def _clock(mock: Platform, _name: str, _query: Query, _said: Said) -> MockReply:
    clock = mock.clock
    told = {"monotonic": clock.monotonic(), "wall": clock.wall(), "advanced": getattr(clock, "advanced", 0) / 1e9}
    return MockReply(200, told)


def _advance(mock: Platform, name: str, query: Query, said: Said) -> MockReply:
    seconds = float(said["advance"])
    if seconds < 0:
        raise ValueError("a clock goes forward only")
    mock.clock.advance(seconds)
    return _clock(mock, name, query, said)


def _foreign(mock: HubSpotMock, _name: str, _query: Query, said: Said) -> MockReply:
    app = mock.enforcer.app(str(said["token"]))
    if app is None:
        raise ValueError("this token is not accepted")
    return MockReply(200, {"refused": mock.enforcer.visit(app, int(said["calls"]))})


def _visit(mock: Platform, _name: str, _query: Query, said: Said) -> MockReply:
    return MockReply(200, {"refused": mock.visit(f"Bearer {said['token']}", int(said["calls"]))})


def _amounts(mock: GenericMock, _name: str, _query: Query, said: Said) -> MockReply:
    mock.change({str(name): int(amount) for name, amount in said.items()})
    return MockReply(200, dict(said))


def _limits(mock: HubSpotMock, _name: str, _query: Query, said: Said) -> MockReply:
    changed = {name: said[name] for name in ("daily", "search") if name in said}
    if "window" in said:
        window = said["window"]
        if window is not None:
            window = parse_window(window) if isinstance(window, str) else (int(window[0]), float(window[1]))
        changed["window"] = window
    mock.config = replace(mock.config, **changed)
    mock.enforcer.change(mock.config)
    return MockReply(200, {"window": mock.config.window, "daily": mock.config.daily, "search": mock.config.search})


def _tokens(mock: HubSpotMock, _name: str, _query: Query, said: Said) -> MockReply:
    if "revoke" in said:
        mock.enforcer.revoked.add(str(said["revoke"]))
    if "accept" in said:
        mock.enforcer.revoked.discard(str(said["accept"]))
    return MockReply(200, {"revoked": len(mock.enforcer.revoked)})


def _properties(mock: HubSpotMock, _name: str, _query: Query, said: Said) -> MockReply:
    made = from_official(said)
    mock.objects.add_property(str(said["object"]), made)
    return MockReply(200, made.told())


def _custom(mock: HubSpotMock, _name: str, _query: Query, said: Said) -> MockReply:
    properties = tuple(from_official(each) for each in said.get("properties", ()))
    made = mock.objects.define(CustomObject(str(said["name"]), properties))
    return MockReply(200, made.told(mock.config.portal.portal_id))


def _reset(mock: Platform, _name: str, _query: Query, _said: Said) -> MockReply:
    mock.forget()
    return MockReply(200, {})


_ACTS: dict[tuple[str, str], Callable[[HubSpotMock, str, Query, Said], MockReply]] = {
    ("GET", "stats"): _stats,
    ("GET", "journal"): _journal,
    ("GET", "ledger"): _ledger,
    ("GET", "objects"): _objects,
    ("POST", "objects"): _custom,
    ("GET", "faults"): _faults,
    ("POST", "faults"): _add_faults,
    ("DELETE", "faults"): _no_faults,
    ("POST", "poison"): _poison,
    ("GET", "clock"): _clock,
    ("POST", "clock"): _advance,
    ("POST", "foreign"): _foreign,
    ("POST", "limits"): _limits,
    ("POST", "tokens"): _tokens,
    ("POST", "properties"): _properties,
    ("POST", "reset"): _reset,
}

_SHARED: dict[tuple[str, str], Callable[[Any, str, Query, Said], MockReply]] = {
    ("GET", "stats"): _stats,
    ("GET", "journal"): _journal,
    ("GET", "faults"): _faults,
    ("POST", "faults"): _add_faults,
    ("DELETE", "faults"): _no_faults,
    ("GET", "clock"): _clock,
    ("POST", "clock"): _advance,
    ("POST", "foreign"): _visit,
    ("POST", "limits"): _amounts,
    ("POST", "reset"): _reset,
}
