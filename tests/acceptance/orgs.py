"""Mock platforms, accounts and rows that the acceptance tests of all platforms share."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

import headway
from headway.mock import Field, GA4Config, MailchimpConfig, MockConfig, SalesforceConfig, Served, SObject, serve
from headway.mock.salesforce.config import STANDARD

EXAMPLES = Path(__file__).parents[2] / "src" / "headway" / "examples"
CONTACT = SObject(
    "Contact",
    (
        *STANDARD[0].fields, Field("Bioguide_ID__c", external_id=True), Field("Party__c"), Field("State__c"),
        Field("District__c"),
    ),
)  # fmt: skip
OFFICE = SObject(
    "Office__c",
    (
        Field("Office_ID__c", external_id=True), Field("Street__c"), Field("Building__c"), Field("Suite__c"),
        Field("City__c"), Field("State__c"), Field("Zip__c"), Field("Phone__c", "phone", 60), Field("Hours__c"),
    ),
)  # fmt: skip
LIST = "a1b2c3d4e5"


def key_pair() -> tuple[str, str]:
    """A private key and its public one, in PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()


@contextmanager
def served(platform: str, **options: Any) -> Iterator[Served]:
    """A mock of the platform."""
    if platform == "salesforce":
        options = {"objects": (CONTACT, OFFICE)} | options
        config: Any = SalesforceConfig(**options)
    else:
        config = {"hubspot": MockConfig, "mailchimp": MailchimpConfig, "ga4": GA4Config}[platform](**options)
    with serve(config) as mock:
        yield mock


def account(platform: str, mock: Served, folder: Path, **options: Any) -> headway.Account:
    """An account on it, with limits of its own."""
    given: dict[str, Any] = {"base_url": mock.url, "state": folder / "limits.db", "timeout": 30.0}
    if "login" not in options and "token" not in options:
        if platform == "ga4":
            given["login"] = headway.Measurement("G-MOCK", "a-secret-of-the-stream")
        else:
            given["token"] = "0123456789abcdef0123456789abcdef-us6" if platform == "mailchimp" else "token-of-a-test"
    return headway.account(platform, **given | options)


def rows(platform: str, count: int) -> list[dict[str, object]]:
    """Records for it; keys are 0 … count - 1 in some form."""
    now = time.time()
    if platform == "hubspot":
        return [{"email": f"p{n}@example.com", "firstname": f"Name {n}"} for n in range(count)]
    if platform == "salesforce":
        return [{"Bioguide_ID__c": f"C{n:07d}", "LastName": f"Name {n}"} for n in range(count)]
    if platform == "mailchimp":
        return [{"email_address": f"P{n}@example.com", "FNAME": f"Name {n}"} for n in range(count)]
    return [
        {
            "name": "purchase",
            "client_id": f"client-{n // 40}",
            "value": 1.5,
            "event_id": str(n),
            "timestamp": now - n % 900,
        }
        for n in range(count)
    ]


DESTINATIONS = {"hubspot": "contacts", "salesforce": "Contact", "mailchimp": LIST, "ga4": "events"}
KEYS = {"hubspot": "email", "salesforce": "Bioguide_ID__c", "mailchimp": "email_address", "ga4": ""}


def stored(platform: str, mock: Served) -> int:
    """Records that the platform holds."""
    stats = mock.stats()
    if platform == "ga4":
        return int(stats["events"])
    if platform == "mailchimp":
        return int(stats["members"][LIST])
    return int(stats["objects"].get(DESTINATIONS[platform], 0))


def balanced(report: headway.Report) -> bool:
    """Whether every record is accounted for, and none is left."""
    whole = report.delivered + report.unchanged + report.dead + report.skipped + report.pending
    return report.read == whole and report.pending == 0
