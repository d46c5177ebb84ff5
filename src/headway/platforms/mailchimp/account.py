"""Whose Mailchimp account a key belongs to. Source: Mailchimp Marketing API, "API Root"."""

from __future__ import annotations

import json

from headway.delivery.records import Call, Reply
from headway.errors import CredentialsError, PlatformError
from headway.platforms.connector import Identity

__all__ = ["identity", "identity_call", "message_of"]


def identity_call() -> Call:
    """Asks for the account's id and zone."""
    return Call("GET", "/3.0/?fields=account_id,account_timezone,account_name")


def identity(reply: Reply) -> Identity:
    """Read the reply; raises CredentialsError (401, 403) or PlatformError."""
    message = message_of(reply)
    if reply.status in {401, 403}:
        raise CredentialsError(f"Mailchimp does not accept the API key: {message}; check it, then go on")
    if reply.status != 200:
        raise PlatformError(f"Mailchimp did not say whose account this is (HTTP {reply.status}: {message})")
    try:
        said = json.loads(reply.body)
        who = said["account_id"]
        zone = said.get("account_timezone")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise PlatformError(
            "Mailchimp's account cannot be read (no account_id); is the base URL Mailchimp's?"
        ) from error
    return Identity(str(who), zone if isinstance(zone, str) and zone else "UTC", "STANDARD")


def message_of(reply: Reply) -> str:
    """What a problem says (RFC 9457), in Mailchimp's words."""
    try:
        said = json.loads(reply.body)
    except (ValueError, RecursionError):
        return f"HTTP {reply.status}"
    if not isinstance(said, dict):
        return f"HTTP {reply.status}"
    text = str(said.get("detail") or said.get("title") or f"HTTP {reply.status}").strip()
    errors = said.get("errors")
    if isinstance(errors, list):
        told = [f"{each.get('field')}: {each.get('message')}" for each in errors if isinstance(each, dict)]
        text = "; ".join([text, *told])
    return text[:500]
