"""A platform that enforces its rules, for tests of whatever talks to it; it shares no code with what it judges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headway.mock.app import MockApp
    from headway.mock.clock import ManualClock
    from headway.mock.config import Foreign, MockConfig, Portal
    from headway.mock.entries import EntryConfig
    from headway.mock.faults import Fault
    from headway.mock.schema import CustomObject, Property
    from headway.mock.server import Served, aserve, run, serve

__all__ = [
    "CustomObject",
    "EntryConfig",
    "Fault",
    "Foreign",
    "ManualClock",
    "MockApp",
    "MockConfig",
    "Portal",
    "Property",
    "Served",
    "aserve",
    "run",
    "serve",
]

_HOMES = {
    "CustomObject": "schema", "EntryConfig": "entries", "Fault": "faults", "Foreign": "config", "ManualClock": "clock",
    "MockApp": "app", "MockConfig": "config", "Portal": "config", "Property": "schema", "Served": "server",
    "aserve": "server", "run": "server", "serve": "server",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module 'headway.mock' has no attribute {name!r}")
    return getattr(import_module(f"headway.mock.{_HOMES[name]}"), name)
