"""What a HubSpot object looks like, and what is wrong with columns and values before they are sent.

Source: developers.hubspot.com/docs/api/crm/properties.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime

import msgspec

from headway.delivery.outcome import Rejected
from headway.delivery.records import Reply
from headway.errors import CredentialsError, MappingError, PlatformError
from headway.platforms.cached import CachedSchema
from headway.platforms.connector import RowChecker
from headway.platforms.hubspot.replies import error_of, message_of
from headway.platforms.nearest import did_you_mean

__all__ = ["HubSpotSchema", "Property"]

_CLIP = 60
_MILLISECONDS = re.compile(r"-?\d{9,15}")
_DAY_MS = 86_400_000
_BOOLS = frozenset({"true", "false", "1", "0"})


class Property(msgspec.Struct, omit_defaults=True):
    """One property: its type, its options (value → hidden or not is not told apart), and what may be done with it."""

    name: str
    label: str = ""
    type: str = "string"
    field: str = ""
    options: list[str] = []
    unique: bool = False
    read_only: bool = False


class _Option(msgspec.Struct):
    value: str = ""


class _Meta(msgspec.Struct):
    readOnlyValue: bool = False  # noqa: N815  # HubSpot's own names


class _Told(msgspec.Struct):
    name: str
    label: str = ""
    type: str = "string"
    fieldType: str = ""  # noqa: N815
    options: list[_Option] = []
    hasUniqueValue: bool = False  # noqa: N815
    calculated: bool = False
    modificationMetadata: _Meta | None = None  # noqa: N815


class _Properties(msgspec.Struct):
    results: list[_Told]


class HubSpotSchema(CachedSchema):
    """The properties of one object type, by name."""

    object_type: str
    properties: dict[str, Property]

    @classmethod
    def from_reply(cls, object_type: str, reply: Reply) -> HubSpotSchema:
        """Read the reply to the schema call."""
        said = "" if reply.status == 200 else message_of(error_of(reply), reply)
        if reply.status in {401, 403}:
            raise CredentialsError(f"HubSpot does not let this token read the properties of {object_type}: {said}")
        if reply.status in {400, 404}:
            raise MappingError(f"HubSpot knows no object {object_type!r} ({said}): check the destination's name")
        if reply.status != 200:
            raise PlatformError(f"HubSpot did not tell the properties of {object_type} (HTTP {reply.status}: {said})")
        try:
            told = msgspec.json.decode(reply.body, type=_Properties, strict=False).results
        except msgspec.DecodeError as error:
            raise PlatformError(f"HubSpot's properties of {object_type} cannot be read: {error}") from error
        return cls(object_type, {each.name: _property(each) for each in told})

    # -- columns

    def check_columns(self, columns: Sequence[str], key: str, mode: str) -> None:
        """Raises MappingError for the first column that cannot be written, with the nearest property."""
        self._check_key(key, mode)
        if mode == "archive":
            return
        for column in columns:
            if column == "hs_object_id" and column == key:
                continue
            found = self.properties.get(column)
            if found is None:
                near = self._near(column)
                raise MappingError(
                    f"{self.object_type} has no property {column!r}{near} (map the column or leave it out)"
                )
            if found.read_only:
                raise MappingError(
                    f"the property {column!r} of {self.object_type} is read-only: leave that column out (--map)"
                )

    def _check_key(self, key: str, mode: str) -> None:
        if key == "hs_object_id":
            return
        found = self.properties.get(key)
        if found is None:
            raise MappingError(f"{self.object_type} has no property {key!r} for --key{self._near(key)}")
        if mode in {"upsert", "update"} and not (found.unique or (key == "email" and self.object_type == "contacts")):
            usable = [name for name, each in self.properties.items() if each.unique]
            if self.object_type == "contacts":
                usable.insert(0, "email")
            hint = f"use {', '.join(usable[:5])}" if usable else "make a property with unique values in HubSpot"
            raise MappingError(
                f"--key {key}: values of that property of {self.object_type} are not unique, so it identifies nothing: "
                f"{hint}"
            )

    def _near(self, column: str) -> str:
        return did_you_mean(column, {name: each.label for name, each in self.properties.items()})

    # -- values

    def row_checker(self, columns: Sequence[str]) -> RowChecker | None:
        """A function from a row's values to what is wrong with them; None if no column needs a look."""
        checks: dict[str, Callable[[str], str]] = {}
        for column in columns:
            found = self.properties.get(column)
            check = _check_for(found) if found is not None else None
            if check is not None:
                checks[column] = check
        if not checks:
            return None
        items = tuple(checks.items())

        def check_row(values: Mapping[str, object]) -> Rejected | None:
            for column, check in items:
                value = values.get(column)
                if value is None or value == "":
                    continue
                wrong = check(value if isinstance(value, str) else _text(value))
                if wrong:
                    return Rejected("INVALID_VALUE", f"{column}: {str(value)[:_CLIP]!r} {wrong}")
            return None

        return check_row


def _property(told: _Told) -> Property:
    meta = told.modificationMetadata
    return Property(
        told.name, told.label, told.type, told.fieldType, [option.value for option in told.options],
        told.hasUniqueValue, told.calculated or (meta is not None and meta.readOnlyValue),
    )  # fmt: skip


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _check_for(each: Property) -> Callable[[str], str] | None:
    if each.type == "enumeration" and each.options:
        return _options(each)
    return {"number": _number, "bool": _bool, "date": _date, "datetime": _datetime}.get(each.type)


def _options(each: Property) -> Callable[[str], str]:
    options = frozenset(each.options)
    several = each.field == "checkbox"

    def check(value: str) -> str:
        if value in options:
            return ""
        parts = [part.strip() for part in value.split(";")] if several else [value.strip()]
        wrong = next((part for part in parts if part and part not in options), None)
        if wrong is None:
            return ""
        hint = did_you_mean(wrong, dict.fromkeys(each.options, "")) or f": one of {', '.join(each.options[:8])}"
        return f"is not an option{hint}"

    return check


def _number(value: str) -> str:
    try:
        float(value)
    except ValueError:
        return "is not a number: write 1234.5, without separators or currency"
    return ""


def _bool(value: str) -> str:
    return "" if value.lower() in _BOOLS else "is neither true nor false"


def _date(value: str) -> str:
    if _MILLISECONDS.fullmatch(value):
        return "" if int(value) % _DAY_MS == 0 else "is not midnight UTC in milliseconds: write YYYY-MM-DD"
    try:
        date.fromisoformat(value)
    except ValueError:
        return "is not a date: write YYYY-MM-DD"
    return ""


def _datetime(value: str) -> str:
    if _MILLISECONDS.fullmatch(value):
        return ""
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return "is not a date and time: write 2026-11-23T18:30:00Z"
    return ""
