"""Any platform of the catalogue: enforces a tier's limits, answers any path, rejects in the platform's own way.

Whose call it is says the Authorization header, whatever its scheme (none is a caller of its own). What a call costs,
where that is more than one, says its route or its query (?mock-cost=7). A call is counted once, at its arrival, against
all of its limits or none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from headway.errors import UsageError
from headway.mock.clock import SECOND, Clock, SystemClock
from headway.mock.counting import Counter, InFlight, counter
from headway.mock.entries import EntryConfig, place_of, read_entry, routed, tier_of
from headway.mock.faults import Faults
from headway.mock.journal import Entry, Journal
from headway.mock.replies import MockReply, date_header

__all__ = ["Came", "GenericMock"]


Place = tuple[str, object]  # the name of a limit, and whose count it is


@dataclass(slots=True)
class Came:
    """A call that was counted. `refused` is its reply if it goes no further."""

    method: str
    path: str
    entry: Entry
    token: str
    query: str = ""
    cost: int = 1
    refused: MockReply | None = None


class _Releasing(Journal):
    """Ends a call in all counts when it is answered."""

    def __init__(self, size: int, counts: Mapping[Place, Counter]) -> None:
        super().__init__(size)
        self._counts = counts

    def finish(self, entry: Entry, status: int, at: int, fault: str = "") -> None:
        super().finish(entry, status, at, fault)
        for each in self._counts.values():
            if isinstance(each, InFlight):
                each.end(entry.number)


class GenericMock:
    """State and rules of one platform of the catalogue."""

    def __init__(self, config: EntryConfig, clock: Clock | None = None) -> None:
        self.config = config
        self.url = ""
        self.acts: dict[tuple[str, str], Any] = {}
        self.clock: Clock = clock or SystemClock()
        self.data = read_entry(config.entry)
        self.limits = tier_of(self.data, config.tier)
        self.faults = Faults(config.seed)
        for rule in config.faults:
            self.faults.add(rule)
        self.counts: dict[Place, Counter] = {}
        self.refused: dict[str, int] = {}
        self._callers: dict[str, int] = {}
        self._locked: dict[Place, int] = {}
        self._amounts = dict(config.amounts or {})
        self._checked(self._amounts)
        self.journal: Journal = _Releasing(config.journal, self.counts)

    def arrive(self, method: str, path: str, authorization: str, query: str = "") -> Came:
        """Count one call now."""
        entry = self.journal.arrive(self.clock.monotonic(), method, path)
        token = authorization.strip()
        entry.app = self._callers.setdefault(token, len(self._callers) + 1)
        came = Came(method, path, entry, token, query)
        said = parse_qs(query).get("mock-cost", [""])[-1]
        self._admit(came, int(said) if said.isdecimal() else 0)
        return came

    def _admit(self, came: Came, said: int) -> None:
        now, wall = self.clock.monotonic(), self.clock.wall()
        mine = self._counted(came, said)
        for limit, key, count, dear in mine:
            locked = self._locked.get(key, 0)
            if now < locked or not count.fits(dear, now, wall):
                frees = (locked - now) / SECOND if now < locked else count.frees_in(dear, now, wall)
                if now >= locked and "lockout" in limit:
                    frees = limit["lockout"]
                    self._locked[key] = now + round(frees * SECOND)
                came.entry.policy = limit["name"]
                self.refused[limit["name"]] = self.refused.get(limit["name"], 0) + 1
                came.refused = self._rejection(limit["name"], frees)
                if came.refused is not None:
                    return
        for _, _, count, dear in mine:
            count.take(dear, now, wall, came.entry.number)

    def _counted(self, came: Came, said: int) -> list[tuple[Mapping[str, Any], Place, Counter, int]]:
        """The limits that a call counts against: each with its place, its count and what the call costs of it."""
        names, cost = routed(self.data, came.method, came.path, self.config.tier)
        came.cost = said or cost
        unit = self.data.get("cost", {}).get("unit", "")
        mine: list[tuple[Mapping[str, Any], Place, Counter, int]] = []
        for limit in self.limits:
            if names is None or limit["name"] in names:
                key = self._place(limit, came)
                dear = came.cost if limit.get("unit", "calls") == unit else 1
                mine.append((limit, key, self._count(limit, key), dear))
        return mine

    def _count(self, limit: Mapping[str, Any], key: Place) -> Counter:
        found = self.counts.get(key)
        if found is None:
            amount = limit["amount"] + limit.get("per_seat", 0) * self.config.seats
            amount = min(amount, limit.get("at_most", amount))
            amount = self._amounts.get(limit["name"], amount)
            found = self.counts[key] = counter(limit, amount, self.config.time_zone)
        return found

    # -- answering

    def answer(self, method: str, path: str, authorization: str, body: bytes = b"", query: str = "") -> MockReply:
        """Count and do one request at this moment: for virtual time, without delays and faults of the wire."""
        came = self.arrive(method, path, authorization, query)
        reply = self.perform(came, body)
        self.journal.finish(came.entry, reply.status, self.clock.monotonic())
        return reply

    def perform(self, came: Came, body: bytes) -> MockReply:
        """The reply of a call that was counted."""
        del body
        reply = came.refused
        if reply is None:
            if came.method not in {"GET", "HEAD", "OPTIONS"}:
                self.journal.write_calls += 1
            reply = MockReply(200, {"ok": True, "method": came.method, "path": came.path})
        if not reply.policy or self.data.get("headers_on_rejection", True):
            reply.headers |= self._headers(came)
        self._tell_cost(came, reply)
        return reply

    def _tell_cost(self, came: Came, reply: MockReply) -> None:
        """What the entry's bodies say of the cost and of what is left, where the call counts against that limit."""
        names, _ = routed(self.data, came.method, came.path, self.config.tier)
        for usage in self.data.get("usage", ()):
            limit = next((each for each in self.limits if each["name"] == usage.get("limit")), None)
            body = reply.body
            if limit is None or "body" not in usage or limit["name"] not in (names or ()) or not isinstance(body, dict):
                continue
            now, wall = self.clock.monotonic(), self.clock.wall()
            count = self._count(limit, self._place(limit, came))
            told = {
                "amount": count.amount, "remaining": max(0, count.left(now, wall)), "rate": limit.get("rate"),
                "cost": None if reply.policy else came.cost, "needs": came.cost,
            }  # fmt: skip
            for key, value in told.items():
                if key in usage:
                    _put(body, [*usage["body"][0].split("."), *usage[key].split(".")], value)

    def _place(self, limit: Mapping[str, Any], came: Came) -> Place:
        return limit["name"], place_of(limit, came.token, came.method, came.path, came.query)

    def worded(self, status: int) -> MockReply:
        """A made-up error with that status, for faults; for a rate limit in the platform's words."""
        if status in self.data["rejection"]["statuses"]:
            return self._rejection("", 1.0) or MockReply(status, {"error": str(status)})
        return MockReply(status, {"error": {"status": status, "message": "made up by the mock"}})

    def _rejection(self, name: str, frees_in: float) -> MockReply | None:
        """How this platform refuses a call for that limit; None where it does not refuse."""
        told = self.data["rejection"]
        rules = [each for each in told.get("rules", ()) if each.get("refuses", True) and "lasts" not in each]
        rule = next((each for each in rules if each.get("limit", "") == name), None)
        rule = rule or next((each for each in rules if "limit" not in each), None)
        if rule is not None:
            reply = _by_rule(rule, told["statuses"])
        elif told["statuses"]:
            status = told["statuses"][0]
            reply = MockReply(status, {"error": {"status": status, "message": f"rate limit exceeded: {name}"}})
        elif rules:
            reply = _by_rule(rules[-1], told["statuses"])
        else:
            return None
        reply.policy = name or "fault"
        seconds = max(1, -int(-frees_in // 1))
        if told.get("retry_after") == "date":
            reply.headers["retry-after"] = date_header(self.clock.wall() // SECOND + seconds + 1)
        elif told.get("retry_after") or self.config.retry_after:
            reply.headers["retry-after"] = str(seconds)
        return reply

    def _headers(self, came: Came) -> dict[str, str]:
        dialect, wanted = self.data.get("header_dialect", "none"), self.data.get("header_limit")
        names, _ = routed(self.data, came.method, came.path, self.config.tier)
        mine = [each for each in self.limits if names is None or each["name"] in names]
        limit = next((each for each in mine if each["name"] == wanted or not wanted), None)
        if dialect == "none" or limit is None:
            return {}
        now, wall = self.clock.monotonic(), self.clock.wall()
        count = self._count(limit, self._place(limit, came))
        left = max(0, count.left(now, wall))
        return _spoken(dialect, count.amount, left, count.frees_in(count.amount, now, wall), limit.get("per"), wall)

    # -- for tests and the admin API

    def statistics(self) -> dict[str, Any]:
        """What was counted; the names are those of GET /_mock/stats, `most` by limit."""
        journal = self.journal
        most: dict[str, int] = {}
        for key, each in self.counts.items():
            most[key[0]] = max(most.get(key[0], 0), each.most)
        return {
            "platform": self.data["platform"], "tier": self.config.tier or self.data["default_tier"],
            "requests": journal.arrived, "answered": journal.answered, "in_flight": journal.in_flight,
            "most_in_flight": journal.most_in_flight, "write_calls": journal.write_calls,
            "by_status": {str(status): count for status, count in sorted(journal.by_status.items())},
            "by_fault": dict(journal.by_fault), "rate_limited": sum(self.refused.values()),
            "refused_for": dict(self.refused), "most": most, "first_arrival": journal.first_arrival,
            "last_arrival": journal.last_arrival, "last_reply": journal.last_reply,
            "seconds": (journal.last_arrival - journal.first_arrival) / 1e9,
            "faults": [
                {"kind": each.kind, "at": each.at, "seen": each.seen, "hit": each.hit} for each in self.faults.rules
            ],
        }  # fmt: skip

    def visit(self, authorization: str, calls: int) -> int:
        """So many calls of another app, now, against every limit but those in flight; says how many were refused."""
        now, wall = self.clock.monotonic(), self.clock.wall()
        token, refused = authorization.strip(), 0
        for _ in range(calls):
            mine = [
                self._count(limit, (limit["name"], place_of(limit, token, "", "/")))
                for limit in self.limits
                if limit["kind"] != "concurrency"
            ]
            if all(each.fits(1, now, wall) for each in mine):
                for each in mine:
                    each.take(1, now, wall, 0)
            else:
                refused += 1
        return refused

    def change(self, amounts: Mapping[str, int]) -> None:
        """Other amounts from now on, by limit; what was counted stays counted."""
        self._checked(amounts)
        for (name, _), count in self.counts.items():
            count.amount = amounts.get(name, count.amount)
        self._amounts |= amounts

    def _checked(self, amounts: Mapping[str, int]) -> None:
        unknown = amounts.keys() - {each["name"] for each in self.limits}
        if unknown:
            known = ", ".join(each["name"] for each in self.limits)
            raise UsageError(f"{self.data['title']} has no limit {', '.join(sorted(unknown))} here: there are {known}")

    def forget(self) -> None:
        """Start anew: no counts, no journal; limits and faults stay."""
        self.counts.clear()
        self.refused.clear()
        self._callers.clear()
        self._locked.clear()
        self.journal = _Releasing(self.config.journal, self.counts)


def _by_rule(rule: Mapping[str, Any], usual: list[int]) -> MockReply:
    """A reply that the rule describes: its example, or the least that fulfils its conditions."""
    example = rule.get("example")
    status = (rule.get("statuses") or usual or [400])[0]
    body: Any
    if rule.get("bare"):
        return MockReply(status, None, {"content-type": "text/html"}, raw=(example or "refused").encode())
    if example is not None:
        body = json.loads(example)
    elif "path" in rule:
        body = _nest(rule["path"].replace("[]", ".[]").strip(".").split("."), rule["equals"][0])
    else:
        body = {}
    if rule.get("contains") and rule["contains"] not in json.dumps(body):
        body = [*body, rule["contains"]] if isinstance(body, list) else body | {"message": rule["contains"]}
    name, _, value = rule.get("header", "").partition(":")
    return MockReply(status, body, {name.strip().lower(): value.strip() or "0"} if name else {})


def _put(body: dict[str, Any], steps: list[str], value: object) -> None:
    """Set what stands at a path of tables, making those that are missing."""
    for step in steps[:-1]:
        body = body.setdefault(step, {})
    body[steps[-1]] = value


def _nest(steps: list[str], value: object) -> Any:
    """`value` at a JSON path, in the smallest body that has it there."""
    for step in reversed(steps):
        value = [value] if step == "[]" else {step: value}
    return value


def _spoken(dialect: str, limit: int, left: int, full_in: float, per: float | None, wall: int) -> dict[str, str]:
    """What the platform says of a limit in its dialect; `full_in`: seconds until all of it is there again."""
    seconds = max(0, -int(-full_in // 1))
    if dialect == "hubspot":
        return {
            "x-hubspot-ratelimit-max": str(limit), "x-hubspot-ratelimit-remaining": str(left),
            "x-hubspot-ratelimit-interval-milliseconds": str(round((per or 1) * 1000)),
        }  # fmt: skip
    if dialect == "sforce-limit-info":
        return {"sforce-limit-info": f"api-usage={limit - left}/{limit}"}
    if dialect == "x-business-use-case-usage":
        return {dialect: json.dumps({"0": [{"call_count": 100 * (limit - left) // limit}]})}
    if dialect == "x-rate-limit":
        return {"x-rate-limit": str(limit), "x-rate-limit-remaining": str(left)}
    prefix = {"ratelimit": "ratelimit", "x-sib-ratelimit": "x-sib-ratelimit"}.get(dialect, "x-ratelimit")
    reset = -(-wall // SECOND) + seconds if dialect.endswith("epoch") else seconds
    return {f"{prefix}-limit": str(limit), f"{prefix}-remaining": str(left), f"{prefix}-reset": str(reset)}
