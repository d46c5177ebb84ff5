"""What the Measurement Protocol makes of a request: messages of the debug endpoint, events that are thrown away.

Source: Google Analytics, Measurement Protocol reference and "Validate events".
"""

from __future__ import annotations

import re
from typing import Any

__all__ = ["messages"]

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_PREFIXES = ("_", "firebase_", "ga_", "google_", "gtag.")
_RESERVED = frozenset({
    "ad_click", "ad_exposure", "ad_impression_reserved", "app_remove", "app_update", "error", "first_open",
    "first_visit", "in_app_purchase_reserved", "notification_send", "os_update", "session_start", "user_engagement",
})  # fmt: skip
_HOURS_72 = 72 * 3600 * 1_000_000


def messages(said: Any, size: int, wall_micros: int) -> list[dict[str, str]]:
    """What is wrong with a request; empty if nothing is."""
    if not isinstance(said, dict):
        return [_told("", "VALUE_INVALID", "Unable to parse Measurement Protocol JSON payload.")]
    found: list[dict[str, str]] = []
    if size > 130_000:
        found.append(_told("", "EXCEEDED_MAX_ENTITIES", "The request body is larger than 130kB."))
    if not (said.get("client_id") or said.get("app_instance_id")):
        found.append(_told("client_id", "VALUE_REQUIRED", "Measurement requires a client_id."))
    events = said.get("events")
    if not isinstance(events, list) or not events:
        return [*found, _told("events", "VALUE_REQUIRED", "The request holds no events.")]
    if len(events) > 25:
        found.append(_told("events", "EXCEEDED_MAX_ENTITIES", "The request holds more than 25 events."))
    found += _of_user(said.get("user_properties") or {})
    for index, event in enumerate(events):
        found += _of_event(index, event, said, wall_micros)
    return found


def _of_user(user: Any) -> list[dict[str, str]]:
    found = []
    if len(user) > 25:
        found.append(_told("user_properties", "EXCEEDED_MAX_ENTITIES", "More than 25 user properties."))
    for name, value in user.items():
        if not _NAME.fullmatch(name) or len(name) > 24:
            found.append(_told("user_properties", "NAME_INVALID", f"User property name [{name}] is invalid."))
        inner = value.get("value") if isinstance(value, dict) else None
        if isinstance(inner, str) and len(inner) > 36:
            found.append(_told("user_properties", "VALUE_INVALID", f"Value of user property [{name}] is too long."))
    return found


def _of_event(index: int, event: Any, said: dict[str, Any], wall_micros: int) -> list[dict[str, str]]:
    where = f"Event at index: [{index}]"
    name = str(event.get("name") or "") if isinstance(event, dict) else ""
    if not _NAME.fullmatch(name) or len(name) > 40:
        words = f"{where} has invalid name [{name}]. Names must start with an alphabetic character."
        return [_told("events", "NAME_INVALID", words)]
    if name in _RESERVED or name.startswith(_PREFIXES):
        return [_told("events", "NAME_RESERVED", f"{where} has name [{name}] which is reserved.")]
    found = []
    params = event.get("params") or {}
    if len(params) > 25:
        found.append(_told("events.params", "EXCEEDED_MAX_ENTITIES", f"{where} has more than 25 params."))
    for param, value in params.items():
        if not _NAME.fullmatch(param) or len(param) > 40:
            found.append(_told("events.params", "NAME_INVALID", f"{where} has param [{param}] with an invalid name."))
        elif param.startswith(_PREFIXES):
            found.append(_told("events.params", "NAME_RESERVED", f"{where} has param [{param}] which is reserved."))
        if isinstance(value, str) and len(value) > 100:
            found.append(_told("events.params", "VALUE_INVALID", f"{where} has param [{param}] with a value too long."))
        if param == "value" and isinstance(value, str):
            found.append(_told("events.params", "VALUE_INVALID", f"{where} has param [value] which is no number."))
    at = event.get("timestamp_micros", said.get("timestamp_micros"))
    if isinstance(at, int) and at < wall_micros - _HOURS_72:
        found.append(_told("timestamp_micros", "VALUE_OUT_OF_BOUNDS", f"{where} is older than 72 hours."))
    return found


def _told(field: str, code: str, words: str) -> dict[str, str]:
    return {"fieldPath": field, "description": words, "validationCode": code}
