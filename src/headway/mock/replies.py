"""A reply of the mock, before it is bytes, and HubSpot's shapes of errors.

Source: developers.hubspot.com, error handling.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from headway.mock.clock import SECOND

__all__ = ["BatchError", "MockReply", "complete", "date_header", "invalid_values", "refuse", "stamp"]

_rng = random.Random(0)  # correlation ids tell requests apart, no more


@dataclass(slots=True)
class MockReply:
    """Status, JSON body (None for empty), extra headers, how many records it wrote, and the policy that refused it.

    `raw`: a body that is sent as it is, instead of JSON.
    """

    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)
    records: int = 0
    policy: str = ""
    raw: bytes | None = None


class BatchError(msgspec.Struct):
    """One error of a 207, or of a whole batch."""

    category: str
    message: str
    context: dict[str, list[str]] = {}
    errors: list[dict[str, Any]] | msgspec.UnsetType = msgspec.UNSET
    status: str = "error"


def correlation_id() -> str:
    """A new one."""
    digits = f"{_rng.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def refuse(status: int, message: str, category: str = "", **more: Any) -> MockReply:
    """An error as HubSpot words it."""
    correlation = correlation_id()
    body = {"status": "error", "message": message, "correlationId": correlation}
    if category:
        body["category"] = category
    return MockReply(status, body | more, {"x-hubspot-correlation-id": correlation})


def invalid_values(wrong: list[tuple[str, str, str]]) -> tuple[str, list[dict[str, Any]]]:
    """HubSpot's message for (property, code, message) of values that it does not take, and the details beside it."""
    listed = [
        {"isValid": False, "message": message, "error": code, "name": name, "localizedErrorMessage": message}
        for name, code, message in wrong
    ]
    details = [{"message": message, "code": code, "context": {"propertyName": [name]}} for name, code, message in wrong]
    return f"Property values were not valid: {msgspec.json.encode(listed).decode()}", details


def complete(results: list[Any], errors: list[BatchError], at: int, status: int, written: int) -> MockReply:
    """A batch that was done; 207 when some of it was not."""
    text = stamp(at)
    body: dict[str, Any] = {"status": "COMPLETE", "results": results, "startedAt": text, "completedAt": text}
    if errors:
        body |= {"numErrors": len(errors), "errors": errors}
        status = 207
    return MockReply(status, body, records=written)


def stamp(wall: int) -> str:
    """An instant (nanoseconds since 1970) as HubSpot writes it."""
    seconds, rest = divmod(wall, SECOND)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1_000_000:03d}Z"


def date_header(second: int) -> str:
    """An HTTP date, whatever the locale."""
    at = datetime.fromtimestamp(second, UTC)
    day = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")[at.weekday()]
    months = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
    return f"{day}, {at.day:02d} {months[at.month - 1]} {at.year} {at:%H:%M:%S} GMT"
