"""A HubSpot portal: counts a call when it arrives, refuses it or does it."""

from __future__ import annotations

import re
from collections import Counter, deque
from typing import Any

import msgspec

from headway.mock.batches import Batches
from headway.mock.config import MockConfig, Portal
from headway.mock.enforcement import CalendarDay, MockClock, RollingWindow
from headway.mock.faults import Faults
from headway.mock.objects import ObjectType, Portals
from headway.mock.replies import MockReply, refuse

__all__ = ["HubSpotMock"]

_BATCH = re.compile(
    r"/crm/(?:v3/)?objects/(?:2026-03/)?(?P<type>[\w-]+)/batch/(?P<action>create|update|upsert|read|archive)"
)
_SEARCH = re.compile(r"/crm/(?:v3/)?objects/(?:2026-03/)?(?P<type>[\w-]+)/search")
_OBJECT = re.compile(r"/crm/v3/objects/(?P<type>[\w-]+)/(?P<id>[^/]+)")
_PROPERTIES = re.compile(r"/crm/v3/properties/(?P<type>[\w-]+)")
_ACCOUNT = re.compile(r"/account-info/(?:v3|2026-03)/details")
_decode = msgspec.json.Decoder().decode


class HubSpotMock:
    """State and rules of the platform; `answer` is called once per request, at its arrival."""

    def __init__(self, config: MockConfig | None = None) -> None:
        self.config = config or MockConfig()
        self.clock = MockClock()
        self.faults = Faults(self.config.seed)
        self.objects = Portals(self.config.unique)
        self.batches = Batches(self.objects)
        self.journal: deque[tuple[int, str, str, int, int]] = deque(maxlen=max(1, self.config.journal))
        self.by_status: Counter[int] = Counter()
        self.refused_for: Counter[str] = Counter()
        self.first_arrival = self.last_arrival = 0
        self.write_calls = 0
        self._windows: dict[str, RollingWindow] = {}
        self._days: dict[int, CalendarDay] = {}
        self._searches: dict[int, RollingWindow] = {}

    # -- counting

    def window(self, token: str) -> RollingWindow | None:
        """The rolling window of a token's app."""
        if self.config.window is None:
            return None
        if token not in self._windows:
            amount, per = self.config.window
            self._windows[token] = RollingWindow(amount, per, count_rejected=self.config.count_rejected)
        return self._windows[token]

    def day(self, portal: Portal) -> CalendarDay | None:
        """The day's quota of a portal."""
        if self.config.daily is None:
            return None
        if portal.portal_id not in self._days:
            self._days[portal.portal_id] = CalendarDay(self.config.daily, portal.time_zone)
        return self._days[portal.portal_id]

    def most_in_any_window(self) -> int:
        """The most calls that any rolling window ever held."""
        return max((window.most for window in self._windows.values()), default=0)

    def _search_window(self, portal: Portal) -> RollingWindow | None:
        if self.config.search is None:
            return None
        return self._searches.setdefault(portal.portal_id, RollingWindow(self.config.search, 1.0))

    def admit(self, token: str, portal: Portal, *, search: bool) -> MockReply | None:
        """Count a call; a 429 if it is one too many for any limit."""
        now = self.clock.monotonic()
        window, day = self.window(token), self.day(portal)
        seconds = self._search_window(portal) if search else None
        if day is not None and day.remaining(self.clock.wall()) == 0:
            return self._limited("DAILY", "You have reached your daily limit.")
        if seconds is not None and seconds.remaining(now) == 0:
            return self._limited("SECONDLY", "You have reached your secondly limit.")
        if window is not None and not window.admit(now):
            return self._limited("TEN_SECONDLY_ROLLING", "You have reached your ten_secondly_rolling limit.")
        if day is not None:
            day.admit(self.clock.wall())
        if seconds is not None:
            seconds.admit(now)
        return None

    def _limited(self, policy: str, message: str) -> MockReply:
        self.refused_for[policy] += 1
        reply = refuse(429, message, "RATE_LIMITS", errorType="RATE_LIMIT", policyName=policy)
        reply.body["requestId"] = reply.body["correlationId"]
        return reply

    def limit_headers(self, token: str, portal: Portal) -> dict[str, str]:
        """What HubSpot says of its limits on an authenticated reply that is no search."""
        headers: dict[str, str] = {}
        window, day = self.window(token), self.day(portal)
        if window is not None:
            headers["x-hubspot-ratelimit-max"] = str(window.amount)
            headers["x-hubspot-ratelimit-remaining"] = str(window.remaining(self.clock.monotonic()))
            headers["x-hubspot-ratelimit-interval-milliseconds"] = str(window.per // 1_000_000)
        if day is not None:
            headers["x-hubspot-ratelimit-daily"] = str(day.amount)
            headers["x-hubspot-ratelimit-daily-remaining"] = str(day.remaining(self.clock.wall()))
        return headers

    # -- answering

    def answer(self, method: str, path: str, authorization: str, body: bytes) -> MockReply:
        """Do one request at the moment of its arrival."""
        now = self.clock.monotonic()
        self.first_arrival = self.first_arrival or now
        self.last_arrival = now
        reply = self._answer(method, path, authorization, body)
        self.by_status[reply.status] += 1
        self.journal.append((now, method, path, reply.status, reply.records))
        return reply

    def _answer(self, method: str, path: str, authorization: str, body: bytes) -> MockReply:
        kind, _, token = authorization.partition(" ")
        if kind.lower() != "bearer" or not token:
            return refuse(401, "Authentication credentials not found.", "INVALID_AUTHENTICATION")
        if self.config.only_known and token not in self.config.portals:
            return refuse(401, "The access token is not valid.", "INVALID_AUTHENTICATION")
        portal = self.config.portals.get(token, self.config.portal)
        search = _SEARCH.fullmatch(path) is not None
        reply = self.admit(token, portal, search=search)
        if reply is None:
            reply = self._route(method, path, token, portal, body)
        if not search:
            reply.headers |= self.limit_headers(token, portal)
        return reply

    def _route(self, method: str, path: str, token: str, portal: Portal, body: bytes) -> MockReply:
        if found := _BATCH.fullmatch(path):
            return self._batch(method, token, portal, found["type"], found["action"], body)
        if _ACCOUNT.fullmatch(path) and method == "GET":
            return MockReply(200, _details(portal))
        if (found := _PROPERTIES.fullmatch(path)) and method == "GET":
            kind = self.objects.type(portal.portal_id, found["type"])
            return _no_such(found["type"]) if kind is None else MockReply(200, _told(kind))
        if (found := _SEARCH.fullmatch(path)) and method == "POST":
            return self._search(portal, found["type"], body)
        if (found := _OBJECT.fullmatch(path)) and method == "GET":
            return self._one(portal, found["type"], found["id"])
        return refuse(404, f"No such resource: {method} {path}", "OBJECT_NOT_FOUND")

    def _batch(self, method: str, token: str, portal: Portal, name: str, action: str, body: bytes) -> MockReply:
        kind = self.objects.type(portal.portal_id, name)
        if kind is None:
            return _no_such(name)
        if method != "POST":
            return refuse(405, "HTTP 405 Method Not Allowed", "VALIDATION_ERROR")
        if action != "read":
            self.write_calls += 1
            if token in self.config.read_only_tokens:
                return refuse(
                    403, f"This app hasn't been granted all required scopes: crm.objects.{name}.write", "MISSING_SCOPES"
                )
        try:
            decoded = _decode(body)
        except msgspec.DecodeError as error:
            return refuse(400, f"Invalid input JSON: {error}", "VALIDATION_ERROR")
        return self.batches.run(kind, action, decoded)

    def _search(self, portal: Portal, name: str, body: bytes) -> MockReply:
        kind = self.objects.type(portal.portal_id, name)
        if kind is None:
            return _no_such(name)
        try:
            asked: Any = _decode(body or b"{}")
            filters = [each for group in asked.get("filterGroups", []) for each in group["filters"]]
            limit = min(200, int(asked.get("limit", 10)))
        except (msgspec.DecodeError, AttributeError, KeyError, TypeError, ValueError) as error:
            return refuse(400, f"Invalid search: {error}", "VALIDATION_ERROR")
        found = [
            {"id": object_id, "properties": stored}
            for object_id, stored in kind.by_id.items()
            if all(str(stored.get(each.get("propertyName"))) == str(each.get("value")) for each in filters)
        ]
        return MockReply(200, {"total": len(found), "results": found[:limit]})

    def _one(self, portal: Portal, name: str, object_id: str) -> MockReply:
        kind = self.objects.type(portal.portal_id, name)
        if kind is None:
            return _no_such(name)
        stored = kind.by_id.get(object_id)
        if stored is None:
            return refuse(404, "resource not found", "OBJECT_NOT_FOUND")
        return MockReply(200, {"id": object_id, "properties": stored, "archived": False})


def _no_such(name: str) -> MockReply:
    return refuse(400, f"Unable to infer object type from: {name}", "VALIDATION_ERROR")


def _told(kind: ObjectType) -> dict[str, Any]:
    return {"results": [each.told() for each in kind.properties.values()]}


def _details(portal: Portal) -> dict[str, Any]:
    return {
        "portalId": portal.portal_id, "accountType": portal.account_type, "timeZone": portal.time_zone,
        "utcOffset": "-05:00", "companyCurrency": "USD", "dataHostingLocation": "na1", "uiDomain": "app.hubspot.com",
    }  # fmt: skip
