"""How a mock Salesforce behaves: limits, tokens, objects, and how its Bulk jobs run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from headway.errors import UsageError
from headway.mock.clock import Clock
from headway.mock.service import WireConfig

if TYPE_CHECKING:
    from headway.mock.salesforce.org import SalesforceMock

__all__ = ["STANDARD", "Field", "SObject", "SalesforceConfig"]


@dataclass(frozen=True, slots=True)
class Field:
    """A field of an object."""

    name: str
    type: str = "string"
    length: int = 255
    required: bool = False
    external_id: bool = False
    unique: bool = False
    createable: bool = True
    updateable: bool = True
    picklist: tuple[str, ...] = ()
    label: str = ""


@dataclass(frozen=True, slots=True)
class SObject:
    """An object: its name and fields beside Id and the audit fields, which all have."""

    name: str
    fields: tuple[Field, ...] = ()
    label: str = ""


_PERSON = (
    Field("FirstName", length=40, label="First Name"),
    Field("LastName", length=80, required=True, label="Last Name"),
    Field("Email", "email", 80),
    Field("Phone", "phone", 40),
    Field("MobilePhone", "phone", 40, label="Mobile Phone"),
    Field("Title", length=128),
    Field("Description", "textarea", 32_000),
    Field(
        "LeadSource", "picklist", picklist=("Web", "Phone Inquiry", "Partner Referral", "Other"), label="Lead Source"
    ),
    Field("HasOptedOutOfEmail", "boolean", 0, label="Email Opt Out"),
)
STANDARD = (
    SObject("Contact", (
        *_PERSON, Field("Department", length=80), Field("Birthdate", "date", 0),
        Field("MailingStreet", "textarea", 255),
        Field("MailingCity", length=40), Field("MailingState", length=80), Field("MailingPostalCode", length=20),
        Field("MailingCountry", length=80), Field("AccountId", "reference", 18),
    )),
    SObject("Account", (
        Field("Name", required=True), Field("Website", "url"), Field("Phone", "phone", 40),
        Field("Industry", length=40), Field("BillingCity", length=40), Field("BillingCountry", length=80),
        Field("AnnualRevenue", "currency", 0),
        Field("NumberOfEmployees", "int", 0),
    )),
    SObject("Lead", (*_PERSON, Field("Company", required=True), Field("Status", length=40))),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SalesforceConfig(WireConfig):
    """What it enforces; UsageError for what makes no sense.

    Limits, None for none: `daily` API calls in any 24 hours; `long_running` calls in flight for longer than
    `long_after` seconds; `bulk_batches` and `bulk_records` in any 24 hours.

    Who may call: any bearer token but those revoked, or, with `only_issued`, those that the token endpoint gave to
    `clients` (id → secret) and to whoever signs with the key of `jwt_keys` (id → public key, PEM); they end after
    `token_ttl` seconds. `read_only_tokens` may not write.

    `objects` beside the standard ones. `keep` whole "objects" or only their "keys".

    Bulk: a closed job waits `bulk_delay` seconds, then `bulk_rate` records a second are worked off. `fail_jobs`: which
    of them (numbers from 1, as they were closed) fail after half of their records. `lock_rows`: the share of writes
    that find their row locked.
    """

    daily: int | None = 1_000_000
    long_running: int | None = 25
    long_after: float = 20.0
    bulk_batches: int | None = 15_000
    bulk_records: int | None = 150_000_000
    org_id: str = "00D000000000001AAA"
    objects: tuple[SObject, ...] = ()
    keep: Literal["objects", "keys"] = "objects"
    clients: Mapping[str, str] = field(default_factory=dict)
    jwt_keys: Mapping[str, str] = field(default_factory=dict)
    token_ttl: float | None = None
    only_issued: bool = False
    read_only_tokens: frozenset[str] = frozenset()
    bulk_delay: float = 0.0
    bulk_rate: float = 20_000.0
    fail_jobs: tuple[int, ...] = ()
    lock_rows: float = 0.0

    def __post_init__(self) -> None:
        super(SalesforceConfig, self).__post_init__()  # slots make another class of it
        if not 0 <= self.lock_rows <= 1 or self.bulk_rate <= 0 or self.bulk_delay < 0:
            raise UsageError("lock_rows lies between 0 and 1, bulk_rate is above 0, bulk_delay is not negative")

    def platform(self, clock: Clock | None = None) -> SalesforceMock:
        """The org that behaves so."""
        from headway.mock.salesforce.org import SalesforceMock

        return SalesforceMock(self, clock)
