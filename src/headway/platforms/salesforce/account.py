"""Whose Salesforce org a token belongs to, and what everybody used of its limits.

Sources: Salesforce REST API Developer Guide, "Query", "Limits"; Object Reference, "Organization".
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from headway.delivery.records import Call, Reply
from headway.errors import CredentialsError, PlatformError
from headway.limits.headers import Remaining
from headway.platforms.connector import Identity

__all__ = ["VERSION", "identity", "identity_call", "left", "message_of", "usage_call"]

VERSION = "v60.0"
_QUERY = "SELECT Id, IsSandbox, TimeZoneSidKey, OrganizationType FROM Organization LIMIT 1"
_NAMES = {"DailyApiRequests": "daily", "DailyBulkApiBatches": "bulk-batches"}


def identity_call() -> Call:
    """Asks for the org's id, zone and kind."""
    return Call("GET", f"/services/data/{VERSION}/query?q={quote(_QUERY, safe='')}")


def identity(reply: Reply) -> Identity:
    """Read the reply; raises CredentialsError (401, 403) or PlatformError."""
    if reply.status in {401, 403}:
        raise CredentialsError(f"Salesforce does not accept the token: {message_of(reply)}; check it, then go on")
    if reply.status != 200:
        said = f"HTTP {reply.status}: {message_of(reply)}"
        raise PlatformError(f"Salesforce did not say whose org this is ({said}); try again later")
    try:
        row: dict[str, Any] = json.loads(reply.body)["records"][0]
        org = str(row["Id"])
    except (ValueError, LookupError, TypeError) as error:
        raise PlatformError("Salesforce's org cannot be read (no Id); is the base URL that of an org?") from error
    kind = "SANDBOX" if row.get("IsSandbox") is True else "STANDARD"
    zone = row.get("TimeZoneSidKey")
    return Identity(org[:15], zone if isinstance(zone, str) and zone else "UTC", kind)


def usage_call() -> Call:
    """Asks what is left of the org's limits."""
    return Call("GET", f"/services/data/{VERSION}/limits")


def left(reply: Reply) -> Sequence[Remaining]:
    """What is left, everybody's calls counted; whatever cannot be read is not believed."""
    try:
        said = json.loads(reply.body)
    except (ValueError, RecursionError):
        return ()
    found: list[Remaining] = []
    for name, limit in _NAMES.items():
        told = said.get(name) if isinstance(said, dict) else None
        most, rest = (told.get("Max"), told.get("Remaining")) if isinstance(told, dict) else (None, None)
        if type(most) is int and type(rest) is int and most >= 1 and rest <= most:
            found.append(Remaining("daily", most, max(0, rest), name=limit))
    return tuple(found)


def message_of(reply: Reply) -> str:
    """What an error says, in Salesforce's words."""
    try:
        said = json.loads(reply.body)
    except (ValueError, RecursionError):
        return f"HTTP {reply.status}"
    first = said[0] if isinstance(said, list) and said else said
    if not isinstance(first, dict):
        return f"HTTP {reply.status}"
    words = first.get("message") or first.get("error_description") or first.get("errorCode") or f"HTTP {reply.status}"
    return str(words).strip()[:500]
