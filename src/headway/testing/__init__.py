"""For the tests of whoever uses Headway: mock platforms, virtual time, assertions; as fixtures in plugin.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headway.testing.platform import TestPlatform, asgi, mock_platform
    from headway.testing.virtual import VirtualClock, run_virtually

__all__ = ["TestPlatform", "VirtualClock", "asgi", "mock_platform", "run_virtually"]

_HOMES = {
    "TestPlatform": "platform",
    "VirtualClock": "virtual",
    "asgi": "platform",
    "mock_platform": "platform",
    "run_virtually": "virtual",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module 'headway.testing' has no attribute {name!r}")
    return getattr(import_module(f"headway.testing.{_HOMES[name]}"), name)
