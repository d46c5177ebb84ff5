"""The platforms that can be written to: what an account needs to know of each. Imported when first used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from headway.core.outcome import Outcome
from headway.core.records import Call, Record, Reply
from headway.errors import UsageError
from headway.platforms import catalog_reader
from headway.platforms.connector import Connector, Identity

__all__ = ["Identifier", "Platform", "identifier", "platform"]


@dataclass(frozen=True, slots=True)
class Identifier:
    """How to ask a platform whose account a credential belongs to; `headers` carry the credential."""

    call: Callable[[], Call]
    read: Callable[[Reply], Identity]
    headers: Callable[[str], Mapping[str, str]]


def identifier(name: str) -> Identifier | None:
    """How to ask; None for a platform that cannot be asked. Needs the standard library only."""
    if name != "hubspot":
        return None
    from headway.platforms.hubspot.account import identity, identity_call

    return Identifier(identity_call, identity, _bearer)


def _bearer(token: str) -> Mapping[str, str]:
    return {"authorization": f"Bearer {token}"}


@dataclass(frozen=True, slots=True)
class Platform:
    """How to talk to a platform: who we are, what a reply means, how records travel.

    `headers` gives the credential's header fields; `connector` takes object type, mode and key, and raises UsageError
    for what the platform does not offer; `meaning` is what a reply says of a call that carries no records.
    """

    identity_call: Callable[[], Call]
    identity: Callable[[Reply], Identity]
    connector: Callable[[str, str, str], Connector]
    meaning: Callable[[Reply], Outcome]
    headers: Callable[[str], Mapping[str, str]]


def platform(name: str) -> Platform:
    """A platform by name; raises UsageError for one that is unknown or that nothing can be sent to yet."""
    if name == "hubspot":
        return _hubspot()
    catalog_reader.load(name)
    raise UsageError(f"{name} is in the catalogue, but nothing can be sent to it yet: only hubspot can be written to")


def _hubspot() -> Platform:
    from headway.platforms.hubspot.account import identity, identity_call
    from headway.platforms.hubspot.deliveries import HubSpotConnector
    from headway.platforms.hubspot.verdicts import judge

    def meaning(reply: Reply) -> Outcome:
        return judge((Record(0, "", b"{}"),), reply, "", "archive").outcomes[0]

    return Platform(identity_call, identity, HubSpotConnector, meaning, _bearer)
