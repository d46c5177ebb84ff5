"""Whose HubSpot account a token belongs to. Source: developers.hubspot.com, account information API."""

from __future__ import annotations

import json
from typing import Any

from headway.delivery.records import Call, Reply
from headway.errors import CredentialsError, PlatformError
from headway.platforms.connector import Identity

__all__ = ["identity", "identity_call"]


def identity_call() -> Call:
    """Asks for the portal's id, zone and kind."""
    return Call("GET", "/account-info/v3/details")


def identity(reply: Reply) -> Identity:
    """Read the reply; raises CredentialsError (401, 403) or PlatformError."""
    said = _object(reply.body)
    message = str(said.get("message") or f"HTTP {reply.status}").strip()[:500]
    if reply.status in {401, 403}:
        raise CredentialsError(f"HubSpot does not accept the token: {message}; check it and its scopes, then go on")
    if reply.status != 200:
        raise PlatformError(
            f"HubSpot did not say whose account this is (HTTP {reply.status}: {message}); try again later"
        )
    portal, zone, kind = said.get("portalId"), said.get("timeZone"), said.get("accountType")
    if not isinstance(portal, int) or isinstance(portal, bool):
        raise PlatformError("HubSpot's account details cannot be read (no portalId); is the base URL HubSpot's?")
    return Identity(str(portal), zone if isinstance(zone, str) and zone else "UTC", str(kind or ""))


def _object(body: bytes) -> dict[str, Any]:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}
