"""The platforms that can be written to: what an account needs to know of each. Imported when first used."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from headway.accounts.credentials import Credentials
from headway.accounts.logins import Measurement
from headway.delivery.outcome import Outcome
from headway.delivery.records import Call, Record, Reply
from headway.errors import UsageError
from headway.limits.headers import Remaining
from headway.platforms import catalog_reader
from headway.platforms.connector import Connector, Identity

__all__ = ["Identifier", "Platform", "address", "authorization", "identifier", "platform"]


@dataclass(frozen=True, slots=True)
class Identifier:
    """How to ask a platform whose account a credential belongs to, and what was used of its limits.

    `usage` and `left`: the call that tells the limits, where there is one, and what its reply says of them.
    """

    call: Callable[[], Call]
    read: Callable[[Reply], Identity]
    usage: Callable[[], Call] | None = None
    left: Callable[[Reply], Sequence[Remaining]] = lambda _: ()


def identifier(name: str) -> Identifier | None:
    """How to ask; None for a platform that cannot be asked. Needs the standard library only."""
    if name == "hubspot":
        from headway.platforms.hubspot import account as hubspot

        return Identifier(hubspot.identity_call, hubspot.identity)
    if name == "salesforce":
        from headway.platforms.salesforce import account as salesforce

        return Identifier(salesforce.identity_call, salesforce.identity, salesforce.usage_call, salesforce.left)
    if name == "mailchimp":
        from headway.platforms.mailchimp import account as mailchimp

        return Identifier(mailchimp.identity_call, mailchimp.identity)
    return None


def authorization(name: str, token: str) -> Mapping[str, str]:
    """The header fields that carry a token; never to be shown."""
    if not token:
        return {}
    if name == "mailchimp" and _MAILCHIMP_KEY.fullmatch(token):
        basic = base64.b64encode(f"headway:{token}".encode()).decode()
        return {"authorization": f"Basic {basic}"}
    return {"authorization": f"Bearer {token}"}


def address(name: str, credentials: Credentials) -> str:
    """The platform's address as the credentials tell it; '' where they do not."""
    if name == "ga4":
        return "https://www.google-analytics.com" if isinstance(credentials.login, Measurement) else _REPORTS
    found = _MAILCHIMP_KEY.fullmatch(credentials.token) if name == "mailchimp" else None
    return f"https://{found['centre']}.api.mailchimp.com" if found is not None else ""


_REPORTS = "https://analyticsdata.googleapis.com"
_MAILCHIMP_KEY = re.compile(r"[0-9A-Za-z]+-(?P<centre>[a-z]{2}\d{1,3})")


@dataclass(frozen=True, slots=True)
class Platform:
    """How records travel to a platform.

    `connector` takes object type, mode and key, and raises UsageError for what the platform does not offer; `mode` is
    the one that is meant where none is named; `meaning` is what a reply says of a call that carries no records.
    """

    connector: Callable[[str, str, str], Connector]
    meaning: Callable[[Reply], Outcome]
    mode: str = "upsert"


def platform(name: str) -> Platform:
    """A platform by name; raises UsageError for one that is unknown or that nothing can be sent to."""
    made = _PLATFORMS.get(name)
    if made is not None:
        return made()
    catalog_reader.load(name)
    known = ", ".join(_PLATFORMS)
    raise UsageError(f"{name} is in the catalogue, but nothing can be sent to it: what can be written to is {known}")


def _hubspot() -> Platform:
    from headway.platforms.hubspot.deliveries import HubSpotConnector
    from headway.platforms.hubspot.verdicts import judge

    def meaning(reply: Reply) -> Outcome:
        return judge((Record(0, "", b"{}"),), reply, "", "archive").outcomes[0]

    return Platform(HubSpotConnector, meaning)


def _salesforce() -> Platform:
    from headway.platforms.salesforce.connector import SalesforceConnector
    from headway.platforms.salesforce.replies import meaning

    return Platform(SalesforceConnector, meaning)


def _mailchimp() -> Platform:
    from headway.platforms.mailchimp.connector import MailchimpConnector
    from headway.platforms.mailchimp.replies import meaning

    return Platform(MailchimpConnector, meaning)


def _ga4() -> Platform:
    from headway.platforms.ga4.connector import EventsConnector
    from headway.platforms.ga4.replies import meaning

    return Platform(EventsConnector, meaning, "insert")


_PLATFORMS: Mapping[str, Callable[[], Platform]] = {
    "hubspot": _hubspot, "salesforce": _salesforce, "mailchimp": _mailchimp, "ga4": _ga4,
}  # fmt: skip
