"""What a Salesforce object looks like, by `describe`: what may be written, with which values, and by which key.

Source: Salesforce REST API Developer Guide, "sObject Describe"; Object Reference, "Field Types".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date

import msgspec

from headway.delivery.outcome import Rejected
from headway.delivery.records import Reply
from headway.errors import CredentialsError, MappingError, PlatformError
from headway.platforms.cached import CachedSchema
from headway.platforms.connector import RowChecker, Shaper
from headway.platforms.nearest import did_you_mean
from headway.platforms.salesforce.account import message_of
from headway.platforms.salesforce.csvs import NULL

__all__ = ["Field", "SalesforceSchema"]

_TEXT = frozenset({"string", "textarea", "email", "phone", "url", "encryptedstring"})
_NUMBERS = frozenset({"int", "double", "currency", "percent", "long"})
_TRUE, _FALSE = frozenset({"true", "1", "yes"}), frozenset({"false", "0", "no"})
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?", re.ASCII)
_CLIP = 60


class Field(msgspec.Struct, omit_defaults=True):
    """One field."""

    name: str
    label: str = ""
    type: str = "string"
    length: int = 0
    createable: bool = False
    updateable: bool = False
    external: bool = False
    options: list[str] = []
    relationship: str = ""


class _Option(msgspec.Struct):
    value: str = ""
    active: bool = True


class _Told(msgspec.Struct):
    name: str
    label: str = ""
    type: str = "string"
    length: int = 0
    createable: bool = False
    updateable: bool = False
    externalId: bool = False  # noqa: N815  # Salesforce's own names
    idLookup: bool = False  # noqa: N815
    restrictedPicklist: bool = False  # noqa: N815
    picklistValues: list[_Option] = []  # noqa: N815
    relationshipName: str | None = None  # noqa: N815


class _Describe(msgspec.Struct):
    fields: list[_Told]
    createable: bool = True
    updateable: bool = True
    deletable: bool = True


class SalesforceSchema(CachedSchema):
    """The fields of one object, by name."""

    sobject: str
    fields: dict[str, Field]
    modes: list[str] = msgspec.field(default_factory=list)

    @classmethod
    def from_reply(cls, sobject: str, reply: Reply) -> SalesforceSchema:
        """Read the reply to the describe call."""
        if reply.status in {401, 403}:
            raise CredentialsError(f"Salesforce does not let this user read {sobject}: {message_of(reply)}")
        if reply.status in {400, 404}:
            raise MappingError(
                f"Salesforce knows no object {sobject!r}, or this user may not see it ({message_of(reply)}): check the "
                "destination's name; custom objects end in __c"
            )
        if reply.status != 200:
            raise PlatformError(
                f"Salesforce did not describe {sobject} (HTTP {reply.status}: {message_of(reply)}); try again later"
            )
        try:
            told = msgspec.json.decode(reply.body, type=_Describe, strict=False)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise PlatformError(f"Salesforce's description of {sobject} cannot be read: {error}") from error
        may = {"insert": told.createable, "update": told.updateable, "delete": told.deletable}
        may["upsert"] = told.createable and told.updateable
        return cls(sobject, {each.name: _field(each) for each in told.fields}, [each for each in may if may[each]])

    # -- columns

    def check_columns(self, columns: Sequence[str], key: str, mode: str) -> None:
        """Raises MappingError for the first column that cannot be written, with the nearest field."""
        if mode not in self.modes:
            raise MappingError(f"this user may not {mode} {self.sobject}: ask for the permission, or use another user")
        self._check_key(key, mode)
        if mode == "delete":
            return
        for column in columns:
            if column == key == "Id":
                continue
            field = self._of(column)
            if field is None:
                raise MappingError(
                    f"{self.sobject} has no field {column!r}{did_you_mean(column, self._labels())} (map the column or "
                    "leave it out)"
                )
            if not (field.createable or field.updateable):
                raise MappingError(
                    f"the field {column!r} of {self.sobject} is read-only, or hidden from this user: leave that "
                    "column out (--map)"
                )

    def _labels(self) -> dict[str, str]:
        return {name: field.label for name, field in self.fields.items()}

    def _of(self, column: str) -> Field | None:
        """The field that a column writes; `Account.Ext__c` writes the reference whose relationship is Account."""
        parent, dot, _ = column.partition(".")
        if not dot:
            return self.fields.get(column)
        return next((field for field in self.fields.values() if field.relationship == parent), None)

    def _check_key(self, key: str, mode: str) -> None:
        if key == "Id":
            return
        field = self.fields.get(key)
        if field is None:
            raise MappingError(f"{self.sobject} has no field {key!r} for --key{did_you_mean(key, self._labels())}")
        if mode == "upsert" and not field.external:
            usable = [name for name, each in self.fields.items() if each.external and name != "Id"]
            hint = (
                f"use {', '.join(usable[:5])}" if usable else "make a field with External ID and Unique in Salesforce"
            )
            raise MappingError(f"{key!r} of {self.sobject} is no external id, and --key must name one: {hint}")

    # -- rows

    def row_checker(self, columns: Sequence[str]) -> RowChecker | None:
        """What says what is wrong with a row's values."""
        checks = {column: _check(field) for column in columns if (field := self.fields.get(column)) is not None}

        def check(values: Mapping[str, object]) -> Rejected | None:
            for name, value in values.items():
                if value == NULL:
                    return Rejected("NULL_TEXT", f"{name} holds {NULL}, by which Salesforce clears a field: correct it")
                look = checks.get(name)
                if look is None or value is None or value == "":
                    continue
                wrong = look(value)
                if wrong:
                    return Rejected("INVALID_VALUE", f"{name}: {wrong}")
            return None

        return check

    def shaper(self) -> Shaper:
        """Values as they travel: true and false, None for a cell that clears, parents by their external id."""
        flags = frozenset(name for name, field in self.fields.items() if field.type == "boolean")
        return lambda values: shaped(values, flags)


def shaped(values: Mapping[str, object], flags: frozenset[str] = frozenset()) -> Mapping[str, object]:
    """One row's values as they travel."""
    made: dict[str, object] = {}
    for name, given in values.items():
        value: object = given
        if given == "" and isinstance(given, str):
            value = None
        elif name in flags and isinstance(given, str | int):
            word = str(given).strip().lower()
            value = True if word in _TRUE else False if word in _FALSE else given
        parent, dot, field = name.partition(".")
        if dot:
            inner = made.setdefault(parent, {})
            if isinstance(inner, dict):
                inner[field] = value
        else:
            made[name] = value
    return made


def _field(told: _Told) -> Field:
    options = [each.value for each in told.picklistValues if each.active] if told.restrictedPicklist else []
    return Field(
        told.name, told.label, told.type, told.length, told.createable, told.updateable,
        told.externalId or told.idLookup, options, told.relationshipName or "",
    )  # fmt: skip


def _check(field: Field) -> Callable[[object], str]:
    """What says what is wrong with a value, '' for nothing."""
    if field.type in _TEXT and field.length:
        return lambda value: _too_long(str(value), field.length)
    if field.type in _NUMBERS:
        return lambda value: "" if _number(value) else f"{_clip(value)} is no number: write 1234.5"
    if field.type == "boolean":
        words = _TRUE | _FALSE
        return lambda value: "" if str(value).strip().lower() in words else f"{_clip(value)} is neither true nor false"
    if field.type == "date":
        return lambda value: "" if _day(value) else f"{_clip(value)} is no date: write 2026-11-30"
    if field.type == "datetime":
        return lambda value: (
            ""
            if _day(value) or _MOMENT.fullmatch(str(value))
            else (f"{_clip(value)} is no date and time: write 2026-11-30T12:00:00Z")
        )
    if field.options and field.type == "picklist":
        known = frozenset(field.options)
        return lambda value: (
            "" if str(value) in known else (f"{_clip(value)} is not among {', '.join(field.options[:8])}")
        )
    return lambda _: ""


def _too_long(text: str, most: int) -> str:
    return "" if len(text) <= most else f"{len(text)} characters, more than the {most} that fit"


def _number(value: object) -> bool:
    return not isinstance(value, bool) and (
        isinstance(value, int | float) or bool(_NUMBER.fullmatch(str(value).strip()))
    )


def _day(value: object) -> bool:
    if isinstance(value, date):
        return True
    try:
        date.fromisoformat(str(value))
    except ValueError:
        return False
    return True


def _clip(value: object) -> str:
    text = str(value)
    return repr(text if len(text) <= _CLIP else text[:_CLIP] + "…")
