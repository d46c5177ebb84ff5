"""Whose HubSpot account a token belongs to. Source: developers.hubspot.com, account information API."""

from __future__ import annotations

import msgspec

from headway.core.records import Call, Reply
from headway.errors import CredentialsError, PlatformError
from headway.platforms.connector import Identity
from headway.platforms.hubspot.replies import error_of, message_of

__all__ = ["identity", "identity_call"]


class _Details(msgspec.Struct):
    portalId: int  # noqa: N815  # HubSpot's own names
    timeZone: str = "UTC"  # noqa: N815
    accountType: str = ""  # noqa: N815


def identity_call() -> Call:
    """Asks for the portal's id, zone and kind."""
    return Call("GET", "/account-info/v3/details")


def identity(reply: Reply) -> Identity:
    """Read the reply; raises CredentialsError (401, 403) or PlatformError."""
    if reply.status in {401, 403}:
        said = message_of(error_of(reply), reply)
        raise CredentialsError(f"HubSpot does not accept the token: {said}; check it and its scopes, then go on")
    if reply.status != 200:
        said = message_of(error_of(reply), reply)
        raise PlatformError(f"HubSpot did not say whose account this is (HTTP {reply.status}: {said}); try again later")
    try:
        details = msgspec.json.decode(reply.body, type=_Details)
    except msgspec.DecodeError as error:
        raise PlatformError(
            f"HubSpot's account details cannot be read ({error}); is the base URL HubSpot's?"
        ) from error
    return Identity(str(details.portalId), details.timeZone or "UTC", details.accountType)
