"""A Google Analytics property: takes events, runs reports, counts quotas.

Sources: Google Analytics, Measurement Protocol; Data API v1beta, "Limits and quotas".
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from headway.mock.clock import Clock
from headway.mock.counting import InFlight, Rolling
from headway.mock.ga4.config import GA4Config
from headway.mock.ga4.events import messages
from headway.mock.ga4.reports import DIMENSIONS, METRICS, cost_of, report, wrong
from headway.mock.granting import Granting
from headway.mock.journal import Entry
from headway.mock.replies import MockReply
from headway.mock.service import Came, Service, body_of, form_of

__all__ = ["GA4Mock", "failure"]

_PATH = re.compile(r"/v1beta/properties/(?P<property>\d+)(?:(?P<verb>:\w+)|/metadata)")
_DAY, _HOUR = 86_400.0, 3600.0
_STATUS = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
           429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE"}  # fmt: skip


def failure(status: int, message: str) -> MockReply:
    """An error as Google words it."""
    return MockReply(status, {"error": {"code": status, "message": message, "status": _STATUS.get(status, "UNKNOWN")}})


class _Quotas:
    """What one property has left."""

    def __init__(self, config: GA4Config) -> None:
        none = 1 << 62
        self.daily = Rolling(config.daily or none, _DAY)
        self.running = InFlight(config.concurrent or none, None)
        self.tokens_day = Rolling(config.tokens_day or none, _DAY)
        self.tokens_hour = Rolling(config.tokens_hour or none, _HOUR)
        self.project_hour = Rolling(config.tokens_project_hour or none, _HOUR)

    def spend(self, tokens: int, now: int) -> None:
        for each in (self.tokens_day, self.tokens_hour, self.project_hour):
            each.take(tokens, now, 0, 0)

    def exhausted(self, now: int) -> tuple[str, str] | None:
        """The name of the quota that is used up, and Google's words for it."""
        found = (
            (self.project_hour, "tokens_project_hour", "Exhausted property tokens for a project per hour."),
            (self.tokens_hour, "tokens_hour", "Exhausted property tokens per hour."),
            (self.tokens_day, "tokens_day",
             "Exhausted property tokens per day. These quota tokens will return in under 24 hours."),
            (self.daily, "daily", "Exhausted property requests per day."),
        )  # fmt: skip
        return next(((name, words) for each, name, words in found if each.left(now, 0) < 1), None)

    def told(self, tokens: int, now: int) -> dict[str, Any]:
        def one(left: int, used: int = 0) -> dict[str, int]:
            return {"consumed": used, "remaining": max(0, left)}

        return {
            "tokensPerDay": one(self.tokens_day.left(now, 0), tokens),
            "tokensPerHour": one(self.tokens_hour.left(now, 0), tokens),
            "tokensPerProjectPerHour": one(self.project_hour.left(now, 0), tokens),
            "concurrentRequests": one(self.running.left(now, 0)), "serverErrorsPerProjectPerHour": one(10),
            "potentiallyThresholdedRequestsPerHour": one(120),
        }  # fmt: skip


class GA4Mock(Service):
    """State and rules of a data stream, and of any number of properties."""

    config: GA4Config

    def __init__(self, config: GA4Config | None = None, clock: Clock | None = None) -> None:
        super().__init__(config or GA4Config(), clock)
        made = self.config
        self.tokens = Granting(self.clock, keys=made.service_accounts, ttl=made.token_ttl, only_issued=made.only_issued)
        self.acts = {
            ("GET", "events"): self._act_events, ("POST", "quotas"): self._act_quotas,
            ("POST", "limits"): self._act_quotas,
            ("POST", "spend"): self._act_spend, ("POST", "expire"): self.tokens.act_expire,
            ("POST", "tokens"): self.tokens.act,
        }  # fmt: skip

    def forget(self) -> None:
        """Start anew."""
        super().forget()
        self.properties: dict[str, _Quotas] = {}
        self.events: list[dict[str, Any]] = []
        self.names: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.marks: Counter[tuple[str, str]] = Counter()
        self.largest = self.most = 0

    # -- counting

    def admit(self, came: Came) -> MockReply | None:
        """Count a call; its refusal, if it goes no further."""
        if came.path in {"/mp/collect", "/token"}:
            return None
        if came.path == "/debug/mp/collect":
            self.counts["debug_calls"] += 1
            if self.config.debug_hits is not None and self.counts["debug_calls"] > self.config.debug_hits:
                return self.limited(came, "debug", failure(429, "Exhausted validation requests."))
            return None
        token = came.authorization.partition(" ")[2].strip()
        if not self.tokens.good(token) and not (self.config.anonymous and not token):
            return failure(401, "Request had invalid authentication credentials. Expected OAuth 2 access token.")
        came.who = token or "anonymous"
        found = _PATH.fullmatch(came.path)
        if found is None:
            return None
        return self._count(came, found["property"])

    def _count(self, came: Came, number: str) -> MockReply | None:
        if number in self.config.forbidden_properties:
            return failure(403, "User does not have sufficient permissions for this property.")
        quotas = self.properties.setdefault(number, _Quotas(self.config))
        now = self.clock.monotonic()
        if not quotas.running.fits(1, now, 0):
            return self.limited(came, "concurrent", failure(429, "Exhausted concurrent requests quota."))
        used = quotas.exhausted(now)
        if used is not None:
            return self.limited(came, used[0], failure(429, used[1]))
        quotas.daily.take(1, now, 0, came.entry.number)
        quotas.running.take(1, now, 0, came.entry.number)
        self.most = max(self.most, quotas.running.most)
        return None

    def ended(self, entry: Entry) -> None:
        """A call is over."""
        for quotas in self.properties.values():
            quotas.running.end(entry.number)

    # -- working

    def work(self, came: Came, body: bytes) -> MockReply:
        """Do it."""
        if came.path == "/mp/collect":
            return self._collect(came, body) if came.method == "POST" else MockReply(404, None)
        if came.path == "/debug/mp/collect":
            said = messages(body_of(body), len(body), self.clock.wall() // 1000)
            return MockReply(200, {"validationMessages": said})
        if came.path == "/token":
            return self.tokens.ask(form_of(body))
        found = _PATH.fullmatch(came.path)
        if found is None:
            return failure(404, "The requested URL was not found on this server.")
        if found["verb"] is None:
            told = [{"apiName": name, "uiName": name, "description": "", "category": "Other"} for name in DIMENSIONS]
            numbers = [{"apiName": name, "uiName": name, "type": "TYPE_INTEGER"} for name in METRICS]
            return MockReply(200, {"name": came.path[8:], "dimensions": told, "metrics": numbers})
        asking = body_of(body)
        if found["verb"] == ":runReport":
            return self._run(found["property"], [asking], batch=False)
        if found["verb"] == ":batchRunReports":
            asked = asking.get("requests") if isinstance(asking, dict) else None
            if not isinstance(asked, list) or not 1 <= len(asked) <= 5:
                return failure(400, "A batch must have between 1 and 5 requests.")
            return self._run(found["property"], asked, batch=True)
        return failure(404, "The requested method was not found on this server.")

    def _run(self, number: str, asked: list[Any], *, batch: bool) -> MockReply:
        self.counts["report_calls"] += 1
        fault = next((words for words in map(wrong, asked) if words), "")
        if fault:
            return failure(400, fault)
        quotas, now = self.properties[number], self.clock.monotonic()
        told = []
        for each in asked:
            tokens = cost_of(each, *self.config.cost)
            quotas.spend(tokens, now)
            self.counts["tokens_used"] += tokens
            self.counts["reports"] += 1
            made = report(each, self.config.rows)
            if each.get("returnPropertyQuota"):
                made["propertyQuota"] = quotas.told(tokens, now)
            told.append(made)
        return MockReply(200, {"reports": told, "kind": "analyticsData#batchRunReports"} if batch else told[0])

    def _collect(self, came: Came, body: bytes) -> MockReply:
        self.counts["collect_calls"] += 1
        self.largest = max(self.largest, len(body))
        said = body_of(body)
        if not isinstance(said, dict) or not isinstance(said.get("events"), list):
            self.counts["malformed"] += 1
            return MockReply(204, None)
        events = said["events"]
        stream, secret = (
            came.query.get("measurement_id") or came.query.get("firebase_app_id"),
            came.query.get("api_secret"),
        )
        known = (not self.config.measurement_ids or stream in self.config.measurement_ids) and stream and secret
        if not known or (self.config.api_secrets and secret not in self.config.api_secrets):
            self.counts["lost"] += len(events)
            return MockReply(204, None)
        if messages(said | {"events": events[:1]}, len(body), self.clock.wall() // 1000) and len(events) == 1:
            self.counts["dropped_events"] += 1
            return MockReply(204, None)
        if len(events) > 25 or len(body) > 130_000 or not (said.get("client_id") or said.get("app_instance_id")):
            self.counts["dropped_events"] += len(events)
            return MockReply(204, None)
        kept = 0
        for event in events:
            if messages(said | {"events": [event]}, len(body), self.clock.wall() // 1000):
                self.counts["dropped_events"] += 1
                continue
            kept += 1
            self._keep(said, event)
        return MockReply(204, None, records=kept)

    def _keep(self, said: dict[str, Any], event: dict[str, Any]) -> None:
        self.counts["events"] += 1
        self.names[event["name"]] += 1
        mark = (event.get("params") or {}).get("event_id")
        if mark is not None:
            self.marks[str(said.get("client_id")), str(mark)] += 1
        if self.config.keep_events:
            who = {name: said[name] for name in ("client_id", "user_id", "user_properties") if name in said}
            self.events.append(who | event)

    # -- telling

    def worded(self, status: int) -> MockReply:
        """A made-up error with that status, as Google words it."""
        return failure(status, _WORDS.get(status, "Internal error encountered."))

    def extras(self) -> dict[str, Any]:
        """Events and reports."""
        names = (
            "events", "lost", "dropped_events", "malformed", "collect_calls", "debug_calls", "reports", "report_calls",
            "tokens_used",
        )  # fmt: skip
        return {name: self.counts[name] for name in names} | {
            "events_by_name": dict(self.names), "largest_body": self.largest, "most_concurrent": self.most,
            "duplicate_events": sum(count - 1 for count in self.marks.values()), "logins": self.tokens.logins,
        }  # fmt: skip

    def _act_events(self, name: str, query: dict[str, str], said: Any) -> MockReply:
        del name, said
        return MockReply(200, {"events": self.events[: int(query.get("limit", 1_000_000))]})

    def _act_quotas(self, name: str, query: dict[str, str], said: Any) -> MockReply:
        del name, query
        for quotas in self.properties.values():
            for limit, amount in said.items():
                getattr(quotas, limit).amount = int(amount)
        return MockReply(200, dict(said))

    def _act_spend(self, name: str, query: dict[str, str], said: Any) -> MockReply:
        del name, query
        quotas = self.properties.setdefault(str(said["property"]), _Quotas(self.config))
        quotas.spend(int(said["tokens"]), self.clock.monotonic())
        return MockReply(200, {})


_WORDS = {
    401: "Request had invalid authentication credentials. Expected OAuth 2 access token.",
    403: "User does not have sufficient permissions for this property.",
    429: "Exhausted concurrent requests quota.",
    503: "The service is currently unavailable.",
}
