"""A platform that enforces its rules, for tests of whatever talks to it; it shares no code with what it judges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headway.mock.app import MockApp
    from headway.mock.clock import ManualClock
    from headway.mock.config import Foreign, MockConfig, Portal
    from headway.mock.entries import EntryConfig
    from headway.mock.faults import Fault
    from headway.mock.ga4.config import GA4Config
    from headway.mock.mailchimp.config import Audience, MailchimpConfig, MergeField
    from headway.mock.salesforce.config import Field, SalesforceConfig, SObject
    from headway.mock.schema import CustomObject, Property
    from headway.mock.server import Served, aserve, run, serve

__all__ = [
    "Audience",
    "CustomObject",
    "EntryConfig",
    "Fault",
    "Field",
    "Foreign",
    "GA4Config",
    "MailchimpConfig",
    "ManualClock",
    "MergeField",
    "MockApp",
    "MockConfig",
    "Portal",
    "Property",
    "SObject",
    "SalesforceConfig",
    "Served",
    "aserve",
    "run",
    "serve",
]

_HOMES = {
    "Audience": "mailchimp.config", "CustomObject": "schema", "EntryConfig": "entries", "Fault": "faults",
    "Field": "salesforce.config", "Foreign": "config", "GA4Config": "ga4.config", "MailchimpConfig": "mailchimp.config",
    "ManualClock": "clock", "MergeField": "mailchimp.config", "MockApp": "app", "MockConfig": "config",
    "Portal": "config", "Property": "schema", "SObject": "salesforce.config",
    "SalesforceConfig": "salesforce.config", "Served": "server", "aserve": "server", "run": "server", "serve": "server",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module 'headway.mock' has no attribute {name!r}")
    return getattr(import_module(f"headway.mock.{_HOMES[name]}"), name)
