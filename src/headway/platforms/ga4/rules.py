"""What the Measurement Protocol takes, checked here: the platform answers 2xx to whatever it throws away.

Source: Google Analytics, Measurement Protocol reference, "Limitations", "Reserved names". Rules:
* Names of events and parameters begin with a letter, have letters, digits and underscores, 40 characters at most, and
  are not Google's own.
* At most 25 parameters an event, values of 100 characters; at most 25 user properties, names of 24, values of 36.
* Events may lie at most 72 hours back.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from headway.delivery.outcome import Rejected
from headway.errors import MappingError
from headway.platforms.connector import RowChecker

__all__ = ["BODY", "EVENTS", "EventRules", "columns_of", "micros_of"]

EVENTS = 25
BODY = 130_000
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}", re.ASCII)
_USER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,23}", re.ASCII)
_PARAMS, _VALUE, _USER_VALUE, _HOURS = 25, 100, 36, 72
_PREFIXES = ("_", "firebase_", "ga_", "google_", "gtag.")
_RESERVED_EVENTS = frozenset({
    "ad_activeview", "ad_click", "ad_exposure", "ad_query", "ad_reward", "adunit_exposure", "app_background",
    "app_clear_data", "app_exception", "app_remove", "app_store_refund", "app_store_subscription_cancel",
    "app_store_subscription_convert", "app_store_subscription_renew", "app_uninstall", "app_update", "app_upgrade",
    "dynamic_link_app_open", "dynamic_link_app_update", "dynamic_link_first_open", "error", "firebase_campaign",
    "firebase_in_app_message_action", "firebase_in_app_message_dismiss", "firebase_in_app_message_impression",
    "first_open", "first_visit", "notification_dismiss", "notification_foreground", "notification_open",
    "notification_receive", "notification_send", "os_update", "session_start", "user_engagement",
})  # fmt: skip
_RESERVED_PARAMS = frozenset({"firebase_conversion"})
_RESERVED_USER = frozenset({
    "first_open_time", "first_visit_time", "last_deep_link_referrer", "user_id", "first_open_after_install",
})  # fmt: skip
_ABOVE = frozenset({
    "name", "client_id", "app_instance_id", "user_id", "timestamp_micros", "timestamp",
    "consent.ad_user_data", "consent.ad_personalization",
})  # fmt: skip
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ].*")
_LONGEST = 10_000


def columns_of(values: Mapping[str, object]) -> tuple[dict[str, object], dict[str, object], dict[str, object]]:
    """A row's values apart: what stands above the event, its parameters, the user's properties."""
    above: dict[str, object] = {}
    params: dict[str, object] = {}
    user: dict[str, object] = {}
    for name, value in values.items():
        if name in _ABOVE:
            above[name] = value
        elif name.startswith("user_properties."):
            user[name.removeprefix("user_properties.")] = value
        else:
            params[name.removeprefix("params.")] = value
    return above, params, user


def micros_of(value: object) -> int | None:
    """An instant as microseconds since 1970: of a number of seconds, milli- or microseconds, or of ISO 8601."""
    if isinstance(value, datetime):
        return int((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp() * 1_000_000)
    text = str(value).strip()
    if _MOMENT.fullmatch(text):
        try:
            return micros_of(datetime.fromisoformat(text))
        except ValueError:
            return None
    try:
        number = float(text)
    except ValueError:
        return None
    if not 1e8 <= number < 1e17:
        return None
    scale = 1_000_000 if number < 1e11 else 1000 if number < 1e14 else 1
    return int(text) if scale == 1 and text.isdecimal() else int(number * scale)


class EventRules:
    """The schema of every data stream: the same for all. `wall` gives Unix seconds."""

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall

    def check_columns(self, columns: Sequence[str], key: str, mode: str) -> None:
        """Raises MappingError without an event's name or a client, and for names that no event may use."""
        del key, mode
        if "name" not in columns:
            raise MappingError("events need a column `name`, the event's: map one to it, --map \"name='purchase', *\"")
        if "client_id" not in columns and "app_instance_id" not in columns:
            raise MappingError("events need a column `client_id` (or `app_instance_id`, of an app): map one to it")
        _, params, user = columns_of(dict.fromkeys(columns))
        for name in params:
            wrong = _wrong_param(name)
            if wrong:
                raise MappingError(f"the parameter {name!r} {wrong} (map the column or leave it out)")
        for name in user:
            wrong = _wrong_user(name)
            if wrong:
                raise MappingError(f"the user property {name!r} {wrong} (map the column or leave it out)")

    def row_checker(self, columns: Sequence[str]) -> RowChecker | None:
        """What says what is wrong with a row's event."""
        del columns
        return self._check

    def to_bytes(self) -> bytes:
        """It is never cached."""
        return b""

    def _check(self, values: Mapping[str, object]) -> Rejected | None:
        above, params, user = columns_of(values)
        wrong = self._wrong_above(above)
        if not wrong and len(params) > _PARAMS:
            wrong = f"has {len(params)} parameters, more than {_PARAMS}"
        if not wrong and len(user) > _PARAMS:
            wrong = f"has {len(user)} user properties, more than {_PARAMS}"
        wrong = wrong or _wrong_values(params, _VALUE, _wrong_param) or _wrong_values(user, _USER_VALUE, _wrong_user)
        if not wrong:
            return None
        code, _, words = wrong.partition("|") if "|" in wrong else ("EVENT_INVALID", "", wrong)
        return Rejected(code, f"the event {words}")

    def _wrong_above(self, above: Mapping[str, object]) -> str:
        name = str(above.get("name") or "")
        if not _NAME.fullmatch(name):
            return f"NAME_INVALID|name {name[:60]!r} is not 1 to 40 letters, digits and underscores, a letter first"
        if name in _RESERVED_EVENTS or name.startswith(_PREFIXES):
            return f"NAME_RESERVED|name {name!r} is reserved by Google"
        if not (above.get("client_id") or above.get("app_instance_id")):
            return "VALUE_REQUIRED|has no client_id"
        at = above.get("timestamp_micros", above.get("timestamp"))
        if at is None:
            return ""
        micros = micros_of(at)
        if micros is None:
            return f"VALUE_INVALID|time {str(at)[:60]!r} cannot be read: write 2026-11-30T12:00:00Z"
        age = self._wall() - micros / 1_000_000
        if age > _HOURS * 3600:
            return f"VALUE_OUT_OF_BOUNDS|is {age / 3600:.0f} hours old, more than the {_HOURS} that are taken"
        return ""


def _wrong_param(name: str) -> str:
    if not _NAME.fullmatch(name):
        return "is not 1 to 40 letters, digits and underscores, a letter first"
    return "is reserved by Google" if name in _RESERVED_PARAMS or name.startswith(_PREFIXES) else ""


def _wrong_user(name: str) -> str:
    if not _USER_NAME.fullmatch(name):
        return "is not 1 to 24 letters, digits and underscores, a letter first"
    return "is reserved by Google" if name in _RESERVED_USER or name.startswith(_PREFIXES) else ""


def _wrong_values(values: Mapping[str, object], longest: int, named: Callable[[str], str]) -> str:
    for name, value in values.items():
        wrong = named(name)
        if wrong:
            return f"NAME_INVALID|name of {name[:60]!r} {wrong}"
        if isinstance(value, str) and len(value) > longest:
            return f"EXCEEDED_MAX_ENTITIES|value of {name!r} has {len(value)} characters, more than {longest}"
        if isinstance(value, list | dict) and len(json.dumps(value, default=str)) > _LONGEST:
            return f"EXCEEDED_MAX_ENTITIES|value of {name!r} is larger than {_LONGEST} characters"
    return ""
