"""What `headway mock` makes of its options: the configuration of each platform, and what to tell its user."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from headway.errors import UsageError
from headway.mock.config import MockConfig, Portal
from headway.mock.entries import EntryConfig
from headway.mock.ga4.config import GA4Config
from headway.mock.mailchimp.config import MailchimpConfig
from headway.mock.platform import Config
from headway.mock.salesforce.config import STANDARD, Field, SalesforceConfig, SObject
from headway.platforms import catalog_reader

__all__ = ["config_of", "words_for"]

_HUBSPOT = frozenset({"window", "search", "count_rejected"})
_DAY = 40_000
_FIELDS: Mapping[str, Mapping[str, str]] = {
    "salesforce": {
        "daily": "daily", "concurrency": "long_running", "bulk-batches": "bulk_batches", "bulk-records": "bulk_records",
    },
    "mailchimp": {"concurrency": "connections"},
    "ga4": {
        "concurrency": "concurrent", "daily": "daily", "tokens-day": "tokens_day", "tokens-hour": "tokens_hour",
        "tokens-project-hour": "tokens_project_hour",
    },
}  # fmt: skip


def config_of(name: str, options: Mapping[str, Any], given: Iterable[str]) -> Config:
    """The mock that the options ask for; raises UsageError for an option that is not for this platform."""
    given = frozenset(given)
    wire = {each: options[each] for each in ("latency", "jitter", "seed")}
    if name == "hubspot":
        return _hubspot(options, given, wire)
    for option in sorted(given & _HUBSPOT):
        raise UsageError(f"--{option.replace('_', '-')} is for mock hubspot only: choose another --tier")
    if name != "salesforce" and (options["unique"] or options["fields"]) and given & {"unique", "fields"}:
        raise UsageError("--unique is for mock hubspot and salesforce, --field for mock salesforce")
    limits = _limits(name, options, given)
    if name == "salesforce":
        return SalesforceConfig(**wire, **limits, objects=_objects(options, given))
    if name == "mailchimp":
        return MailchimpConfig(**wire, **limits)
    if name == "ga4":
        return GA4Config(**wire, **limits)
    if "daily" in given:
        raise UsageError("--daily is for mock hubspot, salesforce and ga4 only: choose another --tier")
    tier = str(options["tier"]) if "tier" in given else ""
    seats = options["seats"] or 0
    catalog_reader.load(name).seated(tier or None, seats)
    return EntryConfig(catalog_reader.file_of(name), tier, seats=seats, time_zone=options["time_zone"], **wire)


def _hubspot(options: Mapping[str, Any], given: frozenset[str], wire: Mapping[str, Any]) -> MockConfig:
    if given & {"tier", "seats"}:
        raise UsageError("mock hubspot has no --tier and --seats: say --window, --daily and --search")
    if "fields" in given:
        raise UsageError("--field is for mock salesforce only")
    daily = options["daily"] if "daily" in given else _DAY
    return MockConfig(
        window=options["window"], daily=daily or None, search=options["search"] or None, **wire,
        count_rejected=options["count_rejected"], portal=Portal(time_zone=options["time_zone"]),
        unique=_pairs(options["unique"] if "unique" in given else (), "--unique"),
    )  # fmt: skip


def _limits(name: str, options: Mapping[str, Any], given: frozenset[str]) -> dict[str, Any]:
    """The amounts of the tier, as the mock calls them."""
    fields = _FIELDS.get(name)
    if fields is None:
        return {}
    seats = (options["seats"] if "seats" in given else 0) or 0
    tier = catalog_reader.load(name).seated((options["tier"] if "tier" in given else "") or None, seats)
    found: dict[str, Any] = {fields[entry.name]: entry.allowed(seats) for entry in tier.limits if entry.name in fields}
    if "daily" in given:
        if "daily" not in fields:
            raise UsageError(f"--daily: {name} counts no calls of a day")
        found["daily"] = options["daily"] or None
    return found


def _objects(options: Mapping[str, Any], given: frozenset[str]) -> tuple[SObject, ...]:
    """The standard objects, and others, with the fields that were asked for."""
    made = {each.name: list(each.fields) for each in STANDARD}
    for option, external in (("unique", True), ("fields", False)):
        for owner, name in _pairs(options[option] if option in given else (), f"--{option.rstrip('s')}"):
            made.setdefault(owner, [Field("Name")]).append(Field(name, external_id=external))
    return tuple(SObject(name, tuple(fields)) for name, fields in made.items())


def _pairs(given: Iterable[str], option: str) -> tuple[tuple[str, str], ...]:
    pairs = [each.partition(".") for each in given]
    for owner, dot, name in pairs:
        if not (owner and dot and name):
            raise UsageError(f"{option} {owner}{dot}{name}: write TYPE.PROPERTY, contacts.member_number for example")
    return tuple((owner, name) for owner, _, name in pairs)


_EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "hubspot": (
        "export HUBSPOT_TOKEN=any-token-will-do",
        "headway sync contacts.csv hubspot:contacts --key email --base-url {url}",
    ),
    "salesforce": (
        "export SALESFORCE_TOKEN=any-token-will-do SALESFORCE_INSTANCE_URL={url}",
        "headway sync people.csv salesforce:Contact --key Customer_Number__c  (--unique Contact.Customer_Number__c)",
    ),
    "mailchimp": (
        "export MAILCHIMP_API_KEY=0123456789abcdef0123456789abcdef-us1",
        "headway sync members.csv mailchimp:a1b2c3d4e5 --key email_address --base-url {url}",
    ),
    "ga4": (
        "export GA4_MEASUREMENT_ID=G-MOCK GA4_API_SECRET=any-secret GA4_TOKEN=any-token",
        "headway sync events.csv ga4:events --base-url {url}",
        "headway report ga4 --property 123456 --metrics activeUsers --dimensions date --base-url {url}",
    ),
}


def words_for(name: str, url: str, tier: str) -> list[str]:
    """What to tell whoever started it."""
    profile = catalog_reader.load(name)
    told = "" if name in _EXAMPLES and not tier else f" (tier {tier or profile.default_tier})"
    lines = [f"A mock {profile.title}{told} listens on {url} (Ctrl-C ends it; {url}/_mock/stats tells what it counted)"]
    return lines + [f"  {line.format(url=url)}" for line in _EXAMPLES.get(name, ())]
