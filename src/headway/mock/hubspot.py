"""A HubSpot portal: counts a call when it arrives, refuses it or does it.

A call has two instants here: `arrive` counts it against the limits, `perform` does its work. Both are synchronous and
read the injected clock, so that tests may drive the platform in virtual time without a server.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from headway.errors import UsageError
from headway.mock.batches import Batches
from headway.mock.clock import SECOND, Clock, SystemClock
from headway.mock.config import MockConfig, Portal
from headway.mock.enforcement import App, Enforcer, Refusal
from headway.mock.faults import Faults
from headway.mock.granting import Granting
from headway.mock.journal import Entry, Journal
from headway.mock.objects import ObjectType, Portals
from headway.mock.replies import MockReply, refuse
from headway.mock.routes import Route, route
from headway.mock.schema import from_official
from headway.mock.search import search
from headway.mock.service import form_of
from headway.mock.single import Singles, decode_object

__all__ = ["Arrived", "HubSpotMock"]


@dataclass(slots=True)
class Arrived:
    """A call that was counted. `refused` is its reply if it goes no further."""

    method: str
    path: str
    query: str
    entry: Entry
    to: Route
    app: App | None
    refused: MockReply | None


class HubSpotMock:
    """State and rules of the platform."""

    def __init__(self, config: MockConfig | None = None, clock: Clock | None = None) -> None:
        self.config = config = config or MockConfig()
        self.url = ""
        self.clock: Clock = clock or SystemClock()
        self.tokens = Granting(
            self.clock, clients=config.clients, refresh=config.refresh_tokens, ttl=config.token_ttl,
            only_issued=config.only_issued,
        )  # fmt: skip
        self.acts: dict[tuple[str, str], Any] = {("POST", "expire"): self.tokens.act_expire}
        self.faults = Faults(config.seed)
        for rule in config.faults:
            self.faults.add(rule)
        self.objects = Portals(
            config.unique, config.properties, config.custom_objects, config.keep, ledger=config.ledger
        )
        self.batches = Batches(
            self.objects, self.faults, seed=config.seed, echo_trace=config.echo_trace, unknown=config.unknown_property
        )
        self.singles = Singles(self.batches)
        self.enforcer = Enforcer(config, self.clock)
        self.journal = Journal(config.journal)

    # -- counting

    def arrive(self, method: str, path: str, authorization: str, query: str = "") -> Arrived:
        """Count one call now."""
        entry = self.journal.arrive(self.clock.monotonic(), method, path)
        to = route(method, path)
        arrived = Arrived(method, path, query, entry, to, None, None)
        if to.kind == "oauth":
            return arrived
        kind, _, token = authorization.partition(" ")
        if kind.lower() != "bearer" or not token.strip():
            arrived.refused = refuse(401, _NO_CREDENTIALS, "INVALID_AUTHENTICATION")
            return arrived
        app = arrived.app = self.enforcer.app(token.strip()) if self.tokens.good(token.strip()) else None
        if app is None and token.strip().startswith("issued-token-"):
            arrived.refused = refuse(401, "The OAuth token used to make this call expired.", "EXPIRED_AUTHENTICATION")
            return arrived
        if app is None:
            arrived.refused = refuse(401, "The access token is not valid.", "INVALID_AUTHENTICATION")
            return arrived
        entry.app = app.number
        refusal = self.enforcer.admit(app, search=to.kind == "search")
        if refusal is not None:
            entry.policy = refusal.policy
            arrived.refused = self._limited(refusal)
        return arrived

    def limit_headers(self, app: App) -> dict[str, str]:
        """What HubSpot says of its limits on an authenticated reply that is no search."""
        config, headers = self.config, {}
        now, wall = self.clock.monotonic(), self.clock.wall()
        if config.window is not None:
            per = app.window.per / SECOND
            secondly = max(1, int((app.window.amount or 0) / per))
            headers = {
                "x-hubspot-ratelimit-max": str(app.window.amount),
                "x-hubspot-ratelimit-remaining": str(app.window.remaining(now)),
                "x-hubspot-ratelimit-interval-milliseconds": str(app.window.per // 1_000_000),
                "x-hubspot-ratelimit-secondly": str(secondly),  # still sent, no longer enforced
                "x-hubspot-ratelimit-secondly-remaining": str(max(0, secondly - app.seconds.held(now))),
            }
        if config.daily is not None and not app.oauth:
            headers["x-hubspot-ratelimit-daily"] = str(app.account.day.amount)
            headers["x-hubspot-ratelimit-daily-remaining"] = str(app.account.day.remaining(wall))
        return headers

    def _limited(self, refusal: Refusal) -> MockReply:
        policy = refusal.policy
        message = f"You have reached your {policy.lower()} limit."
        reply = refuse(429, message, "RATE_LIMITS", errorType="RATE_LIMIT", policyName=policy)
        reply.body["requestId"] = reply.body["correlationId"]
        reply.policy = policy
        if self.config.retry_after:
            reply.headers["retry-after"] = str(max(1, -int(-refusal.frees_in // 1)))
        return reply

    # -- answering

    def answer(self, method: str, path: str, authorization: str, body: bytes, query: str = "") -> MockReply:
        """Count and do one request at this moment: for virtual time, without delays and faults of the wire."""
        arrived = self.arrive(method, path, authorization, query)
        reply = self.perform(arrived, body)
        self.journal.finish(arrived.entry, reply.status, self.clock.monotonic())
        return reply

    def perform(self, arrived: Arrived, body: bytes) -> MockReply:
        """Do the work of a call that was counted; gives its reply with all headers."""
        reply = arrived.refused or self._do(arrived, body)
        arrived.entry.records = reply.records
        self.journal.records += reply.records
        if arrived.app is not None and arrived.to.kind != "search":
            reply.headers |= self.limit_headers(arrived.app)
        return reply

    def _do(self, arrived: Arrived, body: bytes) -> MockReply:
        to, app = arrived.to, arrived.app
        if to.kind == "oauth":
            return self.tokens.ask(form_of(body))
        assert app is not None, "a call without an app was refused on arrival"
        if (refused := _no_route(arrived) or self._without_scope(app, to)) is not None:
            return refused
        if to.writes:
            self.journal.write_calls += 1
        if to.kind == "account":
            return MockReply(200, details(app.account.portal, self.clock.wall()))
        if to.kind == "schemas":
            return self._schemas(app.account.portal.portal_id, to.name)
        kind = self.objects.type(app.account.portal.portal_id, to.name)
        if kind is None:
            return refuse(400, f"Unable to infer object type from: {to.name}")
        if to.kind == "batch":
            return self.batches.run(kind, to.action, body, self.clock.wall(), arrived.path)
        if to.kind == "search":
            return search(kind, body)
        if to.kind == "properties":
            return _properties(kind, to, body)
        return self.singles.run(kind, to, arrived.query, body, self.clock.wall())

    def _without_scope(self, app: App, to: Route) -> MockReply | None:
        scope = to.scope
        if not scope:
            return None
        denied = to.writes and app.token in self.config.read_only_tokens
        if not denied and (app.scopes is None or scope in app.scopes):
            return None
        message = (
            "This app hasn't been granted all required scopes to make this call. "
            "Read more about required scopes here: https://developers.hubspot.com/scopes."
        )
        told = "One or more of the following scopes are required."
        errors = [{"message": told, "context": {"requiredGranularScopes": [scope]}}]
        links = {"scopes": "https://developers.hubspot.com/scopes"}
        return refuse(403, message, "MISSING_SCOPES", errors=errors, links=links)

    def _schemas(self, portal: int, name: str) -> MockReply:
        if not name:
            return MockReply(200, {"results": [each.told(portal) for each in self.objects.custom.values()]})
        found = self.objects.custom_named(portal, name)
        if found is None:
            return refuse(400, f"Unable to infer object type from: {name}")
        return MockReply(200, found.told(portal))

    def worded(self, status: int) -> MockReply:
        """A made-up error with that status, as HubSpot words it."""
        message, category, more = _WORDS.get(status, ("internal error", "", {}))
        return refuse(status, message, category, **more)

    def visit(self, authorization: str, calls: int) -> int:
        """So many calls of another app, now, in the window of this one; says how many were refused."""
        token = authorization.partition(" ")[2].strip()
        app = self.enforcer.app(token) if token else None
        return 0 if app is None else self.enforcer.visit(app, calls)

    # -- for tests

    def statistics(self) -> dict[str, Any]:
        """As GET /_mock/stats."""
        from headway.mock.stats import statistics

        return statistics(self)

    @property
    def write_calls(self) -> int:
        """Calls that came to their work and could write."""
        return self.journal.write_calls

    def window(self, token: str) -> Any:
        """The rolling window of a token's app."""
        app = self.enforcer.app(token)
        return None if app is None or self.config.window is None else app.window

    def forget(self) -> None:
        """Start anew: no objects, no counts, no journal; limits, schema and faults stay."""
        self.objects.forget()
        self.enforcer.forget()
        self.journal = Journal(self.config.journal)


_WORDS: dict[int, tuple[str, str, dict[str, Any]]] = {
    401: ("The OAuth token used to make this call expired.", "EXPIRED_AUTHENTICATION", {}),
    403: ("This access_token does not have proper permissions!", "MISSING_SCOPES", {}),
    423: ("This resource is locked for the moment. Please wait at least 2 seconds.", "LOCKED", {}),
    429: (
        "You have reached your ten_secondly_rolling limit.",
        "RATE_LIMITS",
        {"errorType": "RATE_LIMIT", "policyName": "TEN_SECONDLY_ROLLING"},
    ),
    477: ("The account is being moved to another data centre. Please try again later.", "MIGRATION_IN_PROGRESS", {}),
    500: ("internal error", "", {}),
    502: ("bad gateway", "", {}),
    503: ("service unavailable", "SERVICE_UNAVAILABLE", {}),
    504: ("gateway timeout", "", {}),
    524: ("a timeout occurred", "", {}),
}

_NO_CREDENTIALS = (
    "Authentication credentials not found. This API supports OAuth 2.0 authentication and you can find more details at "
    "https://developers.hubspot.com/docs/methods/auth/oauth-overview"
)


def _no_route(arrived: Arrived) -> MockReply | None:
    if arrived.to.kind == "unknown":
        return refuse(404, f"No resource at {arrived.path}", "OBJECT_NOT_FOUND")
    if arrived.to.kind != "wrong method":
        return None
    reply = refuse(405, "HTTP 405 Method Not Allowed", "VALIDATION_ERROR")
    reply.headers["allow"] = arrived.to.action
    return reply


def _properties(kind: ObjectType, to: Route, body: bytes) -> MockReply:
    if to.action == "create":
        try:
            made = from_official(decode_object(body))
        except (ValueError, KeyError, TypeError, UsageError) as error:
            return refuse(400, f"Invalid input JSON: {error}", "VALIDATION_ERROR")
        if made.name in kind.properties:
            return refuse(409, f"A property named '{made.name}' already exists.", "CONFLICT")
        kind.add(made)
        return MockReply(201, made.told())
    if not to.action:
        return MockReply(200, {"results": [each.told() for each in kind.properties.values()]})
    found = kind.properties.get(to.action)
    if found is None:
        return refuse(404, f"Property {to.action} does not exist", "OBJECT_NOT_FOUND")
    return MockReply(200, found.told())


def details(portal: Portal, wall: int) -> dict[str, Any]:
    """As the account information API tells it."""
    offset = datetime.fromtimestamp(wall // SECOND, UTC).astimezone(ZoneInfo(portal.time_zone)).utcoffset()
    minutes = 0 if offset is None else round(offset.total_seconds() / 60)
    sign, (hours, rest) = "-" if minutes < 0 else "+", divmod(abs(minutes), 60)
    return {
        "portalId": portal.portal_id,
        "accountType": portal.account_type,
        "timeZone": portal.time_zone,
        "companyCurrency": "USD",
        "additionalCurrencies": [],
        "utcOffset": f"{sign}{hours:02d}:{rest:02d}",
        "utcOffsetMilliseconds": minutes * 60_000,
        "uiDomain": "app.hubspot.com",
        "dataHostingLocation": "na1",
    }
