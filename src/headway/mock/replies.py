"""A reply of the mock, before it is bytes, and HubSpot's shape of an error."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

__all__ = ["MockReply", "refuse"]


@dataclass(slots=True)
class MockReply:
    """Status, JSON body (None for empty), extra headers, and how many records it wrote."""

    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)
    records: int = 0


def refuse(status: int, message: str, category: str, **more: Any) -> MockReply:
    """An error as HubSpot words it."""
    correlation = str(uuid.uuid4())
    body = {"status": "error", "message": message, "correlationId": correlation, "category": category, **more}
    return MockReply(status, body, {"x-hubspot-correlation-id": correlation})
