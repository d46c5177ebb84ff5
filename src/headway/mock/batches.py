"""HubSpot's batch endpoints: what each does with its inputs, and how it refuses them.

Rules (developers.hubspot.com, CRM object API and multi-status errors):
* At most 100 inputs. What is wrong with one input refuses the whole batch and nothing is written, unless every input
  carries an objectWriteTraceId of its own: then the good ones are written and a 207 names the others by trace id.
* The same id twice, an idProperty that is not unique, more than 100 inputs: always the whole batch.
* An update of an object that does not exist is a 207 that names it by `ids`, trace ids or not.
* Results come in another order than the inputs, e-mail addresses in lower case.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import msgspec

from headway.mock.faults import Faults
from headway.mock.objects import ObjectType, Portals, folded, normalised
from headway.mock.replies import BatchError, MockReply, complete, invalid_values, refuse, stamp

__all__ = ["ACTIONS", "Batches", "Input", "Poison"]

ACTIONS = frozenset({"create", "update", "upsert", "read", "archive"})
_MOST = 100

Value = str | int | float | bool | None


class Input(msgspec.Struct):
    """One input of a batch."""

    properties: dict[str, Value] = {}
    id: str | int | None = None
    idProperty: str | None = None  # noqa: N815  # HubSpot's own names
    objectWriteTraceId: str | None = None  # noqa: N815
    associations: list[Any] | None = None


class _Body(msgspec.Struct):
    inputs: list[Input]
    idProperty: str | None = None  # noqa: N815
    properties: list[str] = []


class Result(msgspec.Struct, omit_defaults=True):
    """One object in a reply."""

    id: str
    properties: dict[str, str | None]
    createdAt: str  # noqa: N815
    updatedAt: str  # noqa: N815
    archived: bool | msgspec.UnsetType = msgspec.UNSET
    new: bool | msgspec.UnsetType = msgspec.UNSET
    objectWriteTraceId: str | None = None  # noqa: N815


_decode = msgspec.json.Decoder(_Body, strict=True).decode


@dataclass(frozen=True, slots=True)
class Poison:
    """A batch with a record whose `prop` holds `value` is refused whole; `names`: whether the reply tells which."""

    prop: str
    value: str
    names: bool


@dataclass(slots=True)
class _Judged:
    """An input that may be written: its values as kept, and the object it changes (None: a new one)."""

    each: Input
    values: dict[str, str]
    target: str | None


@dataclass(slots=True)
class _Batch:
    """What was found out about a batch so far; `taken` has the unique values that its inputs give away."""

    kind: ObjectType
    action: str
    accepted: list[_Judged] = field(default_factory=list)
    errors: list[BatchError] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    taken: set[tuple[str, str]] = field(default_factory=set)


class Batches:
    """Creates, updates, upserts, reads and archives."""

    def __init__(
        self, portals: Portals, faults: Faults, *, seed: int = 1, echo_trace: bool = True, unknown: str = "batch"
    ) -> None:
        self._portals = portals
        self._faults = faults
        self._echo = echo_trace
        self._unknown_refuses_batch = unknown == "batch"
        self._rng = random.Random(f"order-{seed}")
        self.poisons: list[Poison] = []

    def run(self, kind: ObjectType, action: str, body: bytes, wall: int, path: str = "") -> MockReply:
        """One batch call at an instant (nanoseconds since 1970)."""
        try:
            decoded = _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return refuse(400, f"Invalid input JSON: {error}", "VALIDATION_ERROR")
        inputs = decoded.inputs
        if len(inputs) > _MOST:
            message = f"The maximum batch size is {_MOST}, but {len(inputs)} inputs were sent"
            return refuse(400, message, "VALIDATION_ERROR")
        if not inputs:
            return refuse(400, "Invalid request: inputs must not be empty", "VALIDATION_ERROR")
        if action == "archive":
            gone = [str(each.id) for each in inputs if kind.remove(str(each.id))]
            for key in gone:
                kind.note(key)
            return MockReply(204, None, records=len(gone))
        if action == "read":
            return self._read(kind, decoded, wall)
        return self.write(kind, action, inputs, wall, path)

    # -- reading

    def _read(self, kind: ObjectType, body: _Body, wall: int) -> MockReply:
        if body.idProperty and not kind.is_unique(body.idProperty):
            return _non_unique("read", kind, body.idProperty)
        asked = [str(each.id) for each in body.inputs]
        found = [(each, kind.find(body.idProperty, each)) for each in asked]
        missing = [each for each, target in found if target is None]
        results = [
            told(target, kind.by_id[target], body.properties or kind.shown) for _, target in found if target is not None
        ]
        results = self._moved(results)
        return complete(results, [not_found(kind, missing)] if missing else [], wall, 200, 0)

    # -- writing

    def write(self, kind: ObjectType, action: str, inputs: list[Input], wall: int, path: str = "") -> MockReply:
        """Create, update or upsert decoded inputs."""
        refused = self._whole(kind, action, inputs) or self._poisoned(inputs, path)
        if refused is not None:
            return refused
        traces = {each.objectWriteTraceId for each in inputs}
        traced = None not in traces and len(traces) == len(inputs)
        batch = _Batch(kind, action)
        for each in inputs:
            error = self._judge(batch, each)
            if error is not None and not traced:
                status = 409 if error.category == "CONFLICT" else 400
                more: dict[str, Any] = {"errors": error.errors} if error.errors else {}
                return refuse(status, error.message, error.category, **more)
            if error is not None:
                error.context = {"objectWriteTraceId": [str(each.objectWriteTraceId)], **error.context}
                batch.errors.append(error)
        if batch.missing:
            batch.errors.append(not_found(kind, batch.missing))
        at = stamp(wall)
        results = [self._store(batch, each, at) for each in batch.accepted]
        results = self._moved(results)
        return complete(results, batch.errors, wall, 201 if action == "create" else 200, len(results))

    def _moved(self, results: list[Result]) -> list[Result]:
        """In an order in which none stands where its input stood."""
        cut = self._rng.randrange(1, len(results)) if len(results) > 1 else 0
        return results[cut:] + results[:cut]

    def _whole(self, kind: ObjectType, action: str, inputs: list[Input]) -> MockReply | None:
        """What refuses the batch whatever the trace ids."""
        if self._unknown_refuses_batch:
            for each in inputs:
                if (wrong := _unwritable(kind, each)) is not None:
                    message, details = invalid_values(wrong)
                    return refuse(400, message, "VALIDATION_ERROR", errors=details)
        if action == "create":
            return None
        for by in {each.idProperty for each in inputs}:
            if by and not kind.is_unique(by):
                return _non_unique(action, kind, by)
        if any(each.id is None or each.id == "" for each in inputs):
            return refuse(400, "Some required fields were not set: [id]", "VALIDATION_ERROR")
        ids = [(each.idProperty, folded(each.idProperty or "", str(each.id))) for each in inputs]
        if len(set(ids)) < len(ids):
            twice = [value for (_, value), count in Counter(ids).items() if count > 1]
            message = f"Duplicate IDs found in batch input: [{', '.join(twice)}]. IDs must be unique"
            return refuse(400, message, "VALIDATION_ERROR", context={"ids": twice})
        return None

    def _poisoned(self, inputs: list[Input], path: str) -> MockReply | None:
        for poison in self.poisons:
            guilty = [each for each in inputs if str(each.properties.get(poison.prop)) == poison.value]
            if guilty:
                return _poison_reply(400, poison.prop, "id" if poison.names else "no", guilty)
        found = self._faults.poison("POST", path, inputs)
        return None if found is None else _poison_reply(found[0].status, found[0].prop, found[0].names, found[1])

    def _judge(self, batch: _Batch, each: Input) -> BatchError | None:
        """Accept one input, note its object as missing, or say what is wrong with it."""
        kind, values = batch.kind, normalised(each.properties)
        wrong = (None if self._unknown_refuses_batch else _unwritable(kind, each)) or _wrong_values(kind, values)
        if wrong:
            message, details = invalid_values(wrong)
            return BatchError("VALIDATION_ERROR", message, {}, details)
        target: str | None = None
        if batch.action != "create":
            target = kind.find(each.idProperty, str(each.id))
            if target is None and (batch.action == "update" or not each.idProperty):
                batch.missing.append(str(each.id))
                return None
            if each.idProperty and each.idProperty != "hs_object_id":
                values.setdefault(each.idProperty, folded(each.idProperty, str(each.id)))
        taken = self._taken(batch, values, target)
        if taken is not None:
            message = f"{_singular(kind).capitalize()} already exists"
            if not taken:  # by another input of this very batch
                return BatchError("CONFLICT", message)
            return BatchError("CONFLICT", f"{message}. Existing ID: {taken}", {"existingId": [taken]})
        batch.accepted.append(_Judged(each, values, target))
        return None

    @staticmethod
    def _taken(batch: _Batch, values: dict[str, str], target: str | None) -> str | None:
        """Another object's id that has these unique values, "" if another input; else they are this input's now."""
        mine = [(name, value) for name in batch.kind.unique_names if (value := values.get(name))]
        for name, value in mine:
            holder = batch.kind.find(name, value)
            if holder is not None and holder != target:
                return holder
            if (name, value) in batch.taken:
                return ""
        batch.taken.update(mine)
        return None

    def _store(self, batch: _Batch, judged: _Judged, at: str) -> Result:
        each, kind = judged.each, batch.kind
        object_id = judged.target or self._portals.new_id()
        stored = kind.write(object_id, judged.values, at)
        kind.note(_ledger_key(kind, judged, object_id))
        shown = {name: stored.get(name) for name in judged.values}
        shown["hs_object_id"] = object_id
        shown["createdate"] = created = stored.get("createdate", at)
        shown["lastmodifieddate" if kind.name == "contacts" else "hs_lastmodifieddate"] = at
        result = Result(object_id, shown, created, at, archived=False)
        if batch.action == "upsert":
            result.new = judged.target is None
        if self._echo:
            result.objectWriteTraceId = each.objectWriteTraceId
        return result


def told(object_id: str, stored: dict[str, str], names: list[str]) -> Result:
    """An object with the properties that were asked for."""
    shown: dict[str, str | None] = {name: stored.get(name) for name in names}
    shown["hs_object_id"] = object_id
    created = stored.get("createdate", "")
    shown["createdate"] = created
    return Result(object_id, shown, created, stored.get("hs_lastmodifieddate", created), archived=False)


def not_found(kind: ObjectType, ids: list[str]) -> BatchError:
    """HubSpot's error for objects that do not exist."""
    named = _singular(kind).upper()
    message = f"Could not get some {named} objects, they may be deleted or not exist. Check that ids are valid."
    return BatchError("OBJECT_NOT_FOUND", message, {"ids": ids})


def _singular(kind: ObjectType) -> str:
    return "company" if kind.name == "companies" else kind.name.removesuffix("s")


def _non_unique(action: str, kind: ObjectType, by: str) -> MockReply:
    message = f"Unable to perform {action} by non-unique {kind.type_id} property {by}"
    return refuse(400, message, "VALIDATION_ERROR")


def _unwritable(kind: ObjectType, each: Input) -> list[tuple[str, str, str]] | None:
    """Properties of an input that do not exist or may not be written."""
    wrong: list[tuple[str, str, str]] = []
    for name in each.properties:
        found = kind.properties.get(name)
        if found is None:
            wrong.append((name, "PROPERTY_DOESNT_EXIST", f'Property "{name}" does not exist'))
        elif found.read_only and not (name == "hs_object_id" and str(each.properties[name]) == str(each.id)):
            message = f'"{name}" is a read only property; its value cannot be set.'
            wrong.append((name, "READ_ONLY_VALUE", message))
    return wrong or None


def _wrong_values(kind: ObjectType, values: dict[str, str]) -> list[tuple[str, str, str]] | None:
    wrong: list[tuple[str, str, str]] | None = None
    for name, value in values.items():
        check = kind.properties[name].wrong
        if check is not None and value and (said := check(value)) is not None:
            wrong = wrong or []
            wrong.append((name, *said))
    return wrong


def _ledger_key(kind: ObjectType, judged: _Judged, object_id: str) -> str:
    each = judged.each
    if each.id is not None and each.id != "":
        return folded(each.idProperty or "", str(each.id))
    return next((value for name in kind.unique_names if (value := judged.values.get(name))), object_id)


def _poison_reply(status: int, prop: str, names: str, guilty: list[Input]) -> MockReply:
    message = "Internal validation of the batch failed"
    if names == "no":
        return refuse(status, message, "VALIDATION_ERROR")
    if names == "value":
        values = [str(each.properties.get(prop)) for each in guilty]
        message = f"{values[0]} was not valid"
        details = [
            {"message": message, "code": "INVALID_VALUE", "context": {"propertyName": [prop], "propertyValue": values}}
        ]
        return refuse(status, message, "VALIDATION_ERROR", errors=details)
    context = {"objectWriteTraceId": [str(each.objectWriteTraceId) for each in guilty]}
    if names == "id":
        context = {
            "ids": [str(each.id) if each.id is not None else str(each.properties.get("email")) for each in guilty]
        }
    return refuse(status, message, "VALIDATION_ERROR", context=context)
