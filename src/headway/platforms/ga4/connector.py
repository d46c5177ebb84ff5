"""Events into Google Analytics 4 by the Measurement Protocol: 25 a request, all of one client.

Source: Google Analytics, Measurement Protocol (GA4) reference. Rules:
* A request belongs to one client, one user and one set of user properties: such events form a group.
* What was sent cannot be taken back, and the same event twice counts twice: a call whose outcome is unknown is never
  repeated.
* The endpoint says nothing of what it throws away: everything is checked before (see rules.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from headway.delivery.outcome import Delivered, MappingFault, Outcome, Rejected, SplitNeeded, Verdict
from headway.delivery.records import Call, Record, Reply
from headway.errors import PlatformError, UsageError
from headway.platforms.connector import OneCall, Schema, Shaper
from headway.platforms.ga4.replies import error_of, meaning
from headway.platforms.ga4.rules import BODY, EVENTS, EventRules, columns_of, micros_of

__all__ = ["EventsConnector"]

_JSON = {"content-type": "application/json"}
_NUMBERS = frozenset({
    "value", "tax", "shipping", "engagement_time_msec", "quantity", "price", "discount", "index", "percent_scrolled",
})  # fmt: skip
_encode = msgspec.json.Encoder(decimal_format="number").encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class EventsConnector(OneCall):
    """Events of one data stream. Raises UsageError for anything else."""

    platform = "ga4"
    keyed = False
    batch_size = EVENTS
    batch_bytes = BODY - 6_000  # what stands above the events
    overhead = 16
    repeatable = False

    def __init__(self, object_type: str, mode: str, key: str) -> None:
        if object_type != "events":
            raise UsageError(f"{object_type!r} cannot be written to Google Analytics: what can is ga4:events")
        if mode != "insert":
            raise UsageError(f"events can only be inserted into Google Analytics, not {mode!r}: leave --mode out")
        self.object_type = object_type
        self.mode = mode
        self.key = key

    def normalise_key(self, key: str) -> str:
        """Trimmed."""
        return key.strip()

    def group(self, values: Mapping[str, object]) -> str:
        """The client, the user and what is said of them."""
        above, _, user = columns_of(values)
        told = [above.get(name) for name in ("client_id", "app_instance_id", "user_id")]
        consent = [above.get(f"consent.{name}") for name in ("ad_user_data", "ad_personalization")]
        more = [consent, sorted(user.items())] if user or any(consent) else []
        return json.dumps([*told, *more], default=str, ensure_ascii=False)

    def shaper(self, schema: Schema | None) -> Shaper:
        """The request's part and the event, side by side."""
        del schema
        return _shaped

    def delivery(self, records: int, via: str | None = None) -> EventsConnector:
        """There is but one way; raises UsageError for a name of another."""
        del records
        if via is not None:
            raise UsageError(f"--via {via}: events travel to Google Analytics in one way only: leave it out")
        return self

    def known_schema(self) -> EventRules:
        """The same for all."""
        return EventRules()

    def schema_call(self) -> None:
        """There is none to read."""

    def schema(self, reply: Reply) -> Schema:
        """Never asked."""
        raise PlatformError(f"Google Analytics tells no schema of events (HTTP {reply.status})")

    def cached_schema(self, data: bytes) -> Schema:
        """Never asked."""
        raise PlatformError(f"a cached schema of {len(data)} bytes cannot be one of events")

    def call(self, records: Sequence[Record]) -> Call:
        """One request for the events of one client."""
        return Call("POST", "/mp/collect", _body(records), _JSON)

    def verdict(self, records: Sequence[Record], reply: Reply) -> Verdict:
        """All or nothing: the reply is about the request, never about an event."""
        outcome: Outcome = meaning(reply)
        if isinstance(outcome, MappingFault) or (isinstance(outcome, SplitNeeded) and len(records) == 1):
            one = len(records) == 1
            outcome = Rejected(outcome.code, outcome.message) if one else SplitNeeded(outcome.code, outcome.message)
        if isinstance(outcome, Delivered):
            outcome = Delivered()
        return Verdict((outcome,) * len(records), reply.status)

    def validation(self, records: Sequence[Record]) -> Call:
        """The same request to the endpoint that answers and records nothing."""
        return Call("POST", "/debug/mp/collect", _body(records) if records else b"{}", _JSON)

    def validated(self, records: Sequence[Record], reply: Reply) -> Sequence[str]:
        """What Google says of the events."""
        who = ", ".join(record.key for record in records)
        if not 200 <= reply.status < 300:
            return (f"{who}: the validation was refused: {': '.join(error_of(reply))}",)
        try:
            messages = json.loads(reply.body).get("validationMessages") or []
            return [f"{who}: {each['validationCode']}: {each['description']}" for each in messages]
        except (ValueError, LookupError, TypeError, AttributeError):
            return (f"{who}: the validation's reply cannot be read",)


def _shaped(values: Mapping[str, object]) -> Mapping[str, object]:
    above, params, user = columns_of(values)
    request: dict[str, object] = {
        name: str(above[name]) for name in ("client_id", "app_instance_id", "user_id") if above.get(name) is not None
    }
    if user:
        request["user_properties"] = {name: {"value": value} for name, value in user.items()}
    consent = {name.removeprefix("consent."): value for name, value in above.items() if name.startswith("consent.")}
    if consent:
        request["consent"] = consent
    event: dict[str, object] = {"name": above["name"]}
    at = above.get("timestamp_micros", above.get("timestamp"))
    micros = None if at is None else micros_of(at)
    if micros is not None:
        event["timestamp_micros"] = micros
    if params:
        event["params"] = {name: _number(value) if name in _NUMBERS else value for name, value in params.items()}
    return {"request": request, "event": event}


def _number(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return int(value) if value.lstrip("+-").isdecimal() else float(value)
    except ValueError:
        return value


def _body(records: Sequence[Record]) -> bytes:
    if not records:
        return b"{}"
    rows = [_decode(record.payload) for record in records]
    request: dict[str, Any] = rows[0]["request"]
    return _encode(request | {"events": [row["event"] for row in rows]})
