"""The objects of an org: fields, rows, and what is wrong with a row. Values are kept exactly as they were sent.

Source: Salesforce Object Reference, "Field Types"; SOAP API Developer Guide, "Core Data Types: StatusCode".
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from datetime import date
from typing import Any, NamedTuple

from headway.mock.salesforce.config import Field, SObject

__all__ = ["Fault", "Table"]

_READ_ONLY = tuple(
    Field(name, "datetime" if name != "Id" else "id", 0, createable=False, updateable=False)
    for name in ("Id", "CreatedDate", "LastModifiedDate", "SystemModstamp")
)
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_NUMBERS = frozenset({"double", "currency", "int", "percent", "long"})
_XSD = {"int": "int", "boolean": "boolean", "date": "date", "datetime": "dateTime"}


class Fault(NamedTuple):
    """Why a row was not written."""

    code: str
    message: str
    fields: tuple[str, ...] = ()


class Table:
    """One object's rows, by id and by each external id."""

    def __init__(self, made: SObject, number: int, *, keep: bool, lock: float, seed: int) -> None:
        self.name = made.name
        self.label = made.label or made.name.removesuffix("__c").replace("_", " ")
        self.fields = {each.name: each for each in (*_READ_ONLY, *made.fields)}
        self.rows: dict[str, dict[str, Any]] = {}
        self.writes = 0
        self.written: dict[str, int] = {}
        self._keys = [each.name for each in made.fields if each.external_id or each.unique]
        self._by: dict[str, dict[str, str]] = {name: {} for name in self._keys}
        self._prefix = f"{'003' if made.name == 'Contact' else f'a{number:02d}'}"
        self._keep = keep
        self._lock = lock
        self._rng = random.Random(f"locks-{seed}-{made.name}")

    def find(self, field: str, value: str) -> str | None:
        """The id of the row with this external id."""
        if field == "Id":
            return value if value in self.rows else None
        return self._by.get(field, {}).get(value.lower())

    # -- writing

    def write(
        self, operation: str, values: Mapping[str, Any], key: str, *, bulk: bool = False
    ) -> tuple[str, bool] | Fault:
        """Insert, update (by Id), upsert (by `key`) or delete one row: its id and whether it is new, or a fault."""
        if self._lock and self._rng.random() < self._lock:
            return Fault("UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record")
        if operation == "delete":
            return self._delete(str(values.get("Id") or ""))
        found: str | None = None
        if operation == "update":
            found = self.find("Id", str(values.get("Id") or ""))
            if found is None:
                return Fault("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
        elif operation == "upsert":
            given = values.get(key)
            if given in {None, ""}:
                return Fault("MISSING_ARGUMENT", f"{key} not specified")
            found = self.find(key, str(given))
        wrong = self._wrong(values, found, operation, bulk=bulk)
        if wrong is not None:
            return wrong
        return self._store(values, found, key if operation == "upsert" else "")

    def _store(self, values: Mapping[str, Any], found: str | None, key: str) -> tuple[str, bool]:
        created = found is None
        row_id = found or f"{self._prefix}{len(self.rows) + 1:012d}AAA"
        row = self.rows.setdefault(row_id, {"Id": row_id})
        if self._keep:
            for name, value in values.items():
                if name != "Id":
                    row[name] = value
        for name in self._keys:
            if values.get(name) not in {None, ""}:
                self._by[name][str(values[name]).lower()] = row_id
        self.writes += 1
        mark = str(values.get(key) or row_id)
        self.written[mark] = self.written.get(mark, 0) + 1
        return row_id, created

    def _delete(self, row_id: str) -> tuple[str, bool] | Fault:
        if self.rows.pop(row_id, None) is None:
            return Fault("ENTITY_IS_DELETED", "entity is deleted")
        for index in self._by.values():
            for value in [value for value, owner in index.items() if owner == row_id]:
                del index[value]
        self.writes += 1
        return row_id, False

    # -- checking

    def _wrong(self, values: Mapping[str, Any], found: str | None, operation: str, *, bulk: bool) -> Fault | None:
        return (
            self._wrong_fields(values, found, operation, bulk=bulk)
            or self._missing(values, found)
            or self._duplicate(values, found)
        )

    def _wrong_fields(
        self, values: Mapping[str, Any], found: str | None, operation: str, *, bulk: bool
    ) -> Fault | None:
        for position, (name, value) in enumerate(values.items()):
            if name == "Id" and operation == "update":
                continue
            field = self.fields.get(name)
            if field is None:
                if "." in name or isinstance(value, dict):
                    continue
                return Fault("INVALID_FIELD", f"No such column '{name}' on sobject of type {self.name}", (name,))
            if not (field.createable if found is None else field.updateable):
                return Fault(
                    "INVALID_FIELD_FOR_INSERT_UPDATE",
                    f"Unable to create/update fields: {name}. Please check the security settings of this field.",
                    (name,),
                )
            wrong = None if value is None or value == "" else _wrong_value(field, value, position, bulk=bulk)
            if wrong is not None:
                return wrong
        return None

    def _missing(self, values: Mapping[str, Any], found: str | None) -> Fault | None:
        if found is None:
            missing = [f.name for f in self.fields.values() if f.required and values.get(f.name) in {None, ""}]
            if missing:
                told = ", ".join(missing)
                return Fault("REQUIRED_FIELD_MISSING", f"Required fields are missing: [{told}]", tuple(missing))
        return None

    def _duplicate(self, values: Mapping[str, Any], found: str | None) -> Fault | None:
        for name in self._keys:
            value = values.get(name)
            owner = None if value in {None, ""} else self._by[name].get(str(value).lower())
            if owner is not None and owner != found:
                return Fault(
                    "DUPLICATE_VALUE",
                    f"duplicate value found: {name} duplicates value on record with id: {owner}",
                    (name,),
                )
        return None

    # -- telling

    def told(self) -> dict[str, Any]:
        """As describe tells it."""
        return {
            "name": self.name, "label": self.label, "createable": True, "updateable": True, "deletable": True,
            "queryable": True, "custom": self.name.endswith("__c"),
            "fields": [_told(each) for each in self.fields.values()],
        }  # fmt: skip


def _told(field: Field) -> dict[str, Any]:
    return {
        "name": field.name, "label": field.label or field.name.removesuffix("__c").replace("_", " "),
        "type": field.type, "length": field.length, "createable": field.createable, "updateable": field.updateable,
        "nillable": not field.required, "defaultedOnCreate": field.type == "boolean", "calculated": False,
        "externalId": field.external_id, "unique": field.unique or field.external_id,
        "idLookup": field.external_id or field.name == "Id", "custom": field.name.endswith("__c"),
        "restrictedPicklist": bool(field.picklist), "referenceTo": [], "relationshipName": None,
        "picklistValues": [{"value": each, "label": each, "active": True} for each in field.picklist],
    }  # fmt: skip


def _wrong_value(field: Field, value: Any, position: int, *, bulk: bool) -> Fault | None:
    label = field.label or field.name
    text = value if isinstance(value, str) else str(value)
    if field.type in _NUMBERS | _XSD.keys():
        fine = _parses(field.type, value, bulk=bulk)
        if not fine:
            xsd = _XSD.get(field.type, "double")
            if bulk:
                words = (
                    f"Failed to deserialize field at col {position}. Due to, '{text}' is not a valid value for the type"
                )
                return Fault("INVALID_FIELD", f"{words} xsd:{xsd}", (field.name,))
            words = f"Cannot deserialize instance of {field.type} from VALUE_STRING value {text}"
            return Fault("JSON_PARSER_ERROR", words, (field.name,))
        return None
    if field.type == "email" and not _EMAIL.fullmatch(text):
        return Fault("INVALID_EMAIL_ADDRESS", f"{label}: invalid email address: {text}", (field.name,))
    if field.picklist and text not in field.picklist:
        words = f"{label}: bad value for restricted picklist field: {text}"
        return Fault("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", words, (field.name,))
    if field.length and len(text) > field.length:
        words = f"{label}: data value too large: {text[:40]} (max length={field.length})"
        return Fault("STRING_TOO_LONG", words, (field.name,))
    return None


def _parses(kind: str, value: Any, *, bulk: bool) -> bool:
    if kind == "boolean":
        return isinstance(value, bool) or (bulk and str(value).lower() in {"true", "false", "1", "0"})
    if kind in _NUMBERS:
        return not isinstance(value, bool) and _NUMBER.fullmatch(str(value)) is not None
    text = str(value)
    try:
        date.fromisoformat(text[:10])
    except ValueError:
        return False
    return len(text) == 10 or (kind == "datetime" and text[10] in "T ")
