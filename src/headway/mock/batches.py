"""HubSpot's batch endpoints: what each does with its inputs, and how it refuses them."""

from __future__ import annotations

from typing import Any

from headway.mock.objects import ObjectType, Portals, now_text
from headway.mock.replies import MockReply, refuse
from headway.mock.schema import wrong_value

__all__ = ["Batches", "Poison"]

_MOST = 100


class Poison:
    """Refuses the whole batch of a record whose `prop` holds `value`; `names` says whether the reply tells which."""

    def __init__(self, prop: str, value: str, *, names: bool) -> None:
        self.prop = prop
        self.value = value
        self.names = names


class Batches:
    """Creates, updates, upserts, reads and archives."""

    def __init__(self, portals: Portals) -> None:
        self._portals = portals
        self.poisons: list[Poison] = []

    def run(self, kind: ObjectType, action: str, body: Any) -> MockReply:
        """One batch call; `body` is decoded JSON."""
        inputs = body.get("inputs") if isinstance(body, dict) else None
        if not isinstance(inputs, list) or not all(isinstance(each, dict) for each in inputs):
            return refuse(400, "Invalid input JSON: inputs must be a list of objects", "VALIDATION_ERROR")
        if len(inputs) > _MOST:
            return refuse(
                400, f"The maximum batch size is {_MOST}, but {len(inputs)} inputs were sent", "VALIDATION_ERROR"
            )
        if action == "archive":
            for each in inputs:
                kind.remove(str(each.get("id", "")))
            return MockReply(204, None, records=len(inputs))
        if action == "read":
            return self._read(kind, inputs, body.get("idProperty"))
        return self._write(kind, action, inputs)

    @staticmethod
    def _read(kind: ObjectType, inputs: list[dict[str, Any]], by: str | None) -> MockReply:
        ids = [(str(each.get("id", "")), kind.find(by, str(each.get("id", "")))) for each in inputs]
        results = [_told(found, kind.by_id[found]) for _, found in ids if found is not None]
        missing = [asked for asked, found in ids if found is None]
        errors = []
        if missing:
            errors = [_detail("OBJECT_NOT_FOUND", "Could not get some objects, they may be deleted", {"ids": missing})]
        return _complete(results, errors, 200)

    def _write(self, kind: ObjectType, action: str, inputs: list[dict[str, Any]]) -> MockReply:
        refused = self._whole(kind, action, inputs)
        if refused is not None:
            return refused
        traces = [each.get("objectWriteTraceId") for each in inputs]
        traced = all(trace is not None for trace in traces) and len(set(traces)) == len(traces)
        results: list[dict[str, Any]] = []
        errors: list[dict[str, Any]] = []
        accepted: list[tuple[dict[str, Any], str | None]] = []
        for each in inputs:
            error, target = self._judge(kind, action, each)
            if error is None:
                accepted.append((each, target))
            elif not traced and error["category"] != "OBJECT_NOT_FOUND":
                status = 409 if error["category"] == "CONFLICT" else 400
                return refuse(status, error["message"], error["category"])
            else:
                errors.append(error)
        results = [self._store(kind, each, target) for each, target in accepted]
        results.reverse()  # HubSpot's results are not in the order of the inputs
        return _complete(results, errors, 201 if action == "create" else 200)

    def _whole(self, kind: ObjectType, action: str, inputs: list[dict[str, Any]]) -> MockReply | None:
        """What refuses the batch whatever the trace ids."""
        names = {name for each in inputs for name in (each.get("properties") or {})}
        for name in sorted(names):
            found = kind.properties.get(name)
            if found is None:
                return _bad_property(name, f'Property "{name}" does not exist', "PROPERTY_DOESNT_EXIST")
            if found.read_only and name != "hs_object_id":
                return _bad_property(
                    name, f'"{name}" is a read only property; its value cannot be set.', "READ_ONLY_VALUE"
                )
        if action in {"update", "upsert"}:
            by = {each.get("idProperty") for each in inputs}
            for name in by:
                if name and not kind.is_unique(str(name)):
                    message = f"Unable to perform {action} by non-unique 0-3 property {name}"
                    return refuse(400, message, "VALIDATION_ERROR")
            ids = [str(each.get("id", "")) for each in inputs]
            twice = sorted({each for each in ids if ids.count(each) > 1}) if len(set(ids)) < len(ids) else []
            if twice:
                message = f"Duplicate IDs found in batch input: [{', '.join(twice)}]. IDs must be unique"
                return refuse(400, message, "VALIDATION_ERROR", context={"ids": twice})
        return self._poisoned(inputs)

    def _poisoned(self, inputs: list[dict[str, Any]]) -> MockReply | None:
        for poison in self.poisons:
            bad = [each for each in inputs if str((each.get("properties") or {}).get(poison.prop)) == poison.value]
            if bad:
                message = "Internal validation of the batch failed"
                if not poison.names:
                    return refuse(400, message, "VALIDATION_ERROR")
                ids = [str(each.get("id") or each.get("objectWriteTraceId")) for each in bad]
                traces = [str(each.get("objectWriteTraceId")) for each in bad]
                return refuse(400, message, "VALIDATION_ERROR", context={"ids": ids, "objectWriteTraceId": traces})
        return None

    def _judge(self, kind: ObjectType, action: str, each: dict[str, Any]) -> tuple[dict[str, Any] | None, str | None]:
        """An error for this input, or the id of the object that it changes (None: a new one)."""
        properties = each.get("properties") or {}
        trace = each.get("objectWriteTraceId")
        context: dict[str, Any] = {} if trace is None else {"objectWriteTraceId": [trace]}
        for name, value in properties.items():
            code = wrong_value(kind.properties[name], value)
            if code:
                inner = f'[{{"isValid":false,"message":"{value} was not valid","error":"{code}","name":"{name}"}}]'
                return _detail("VALIDATION_ERROR", f"Property values were not valid: {inner}", context), None
        if action == "create":
            taken = next(
                (found for name, value in properties.items() if kind.is_unique(name)
                 and (found := kind.find(name, str(value))) is not None), None,
            )  # fmt: skip
            if taken is not None:
                message = f"{kind.name.rstrip('s').title()} already exists. Existing ID: {taken}"
                return _detail("CONFLICT", message, {**context, "existingId": [taken]}), None
            return None, None
        target = kind.find(each.get("idProperty"), str(each.get("id", "")))
        if target is None and action == "update":
            return _detail("OBJECT_NOT_FOUND", "Could not find the object", {"ids": [str(each.get("id"))]}), None
        return None, target

    def _store(self, kind: ObjectType, each: dict[str, Any], target: str | None) -> dict[str, Any]:
        object_id = target or self._portals.new_id()
        properties = dict(each.get("properties") or {})
        if each.get("idProperty"):
            properties.setdefault(str(each["idProperty"]), each.get("id"))
        key = str(each.get("id") or properties.get("email") or object_id)
        stored = kind.write(object_id, properties, key)
        told = _told(object_id, {name: stored[name] for name in (*properties, "hs_object_id")})
        told["new"] = target is None
        if each.get("objectWriteTraceId") is not None:
            told["objectWriteTraceId"] = each["objectWriteTraceId"]
        return told


def _bad_property(name: str, message: str, code: str) -> MockReply:
    inner = f'[{{"isValid":false,"message":"{message}","error":"{code}","name":"{name}"}}]'
    details = [{"message": message, "code": code, "context": {"propertyName": [name]}}]
    return refuse(400, f"Property values were not valid: {inner}", "VALIDATION_ERROR", errors=details)


def _detail(category: str, message: str, context: dict[str, Any]) -> dict[str, Any]:
    return {"status": "error", "category": category, "message": message, "context": context}


def _told(object_id: str, properties: dict[str, Any]) -> dict[str, Any]:
    return {"id": object_id, "properties": properties, "archived": False}


def _complete(results: list[dict[str, Any]], errors: list[dict[str, Any]], status: int) -> MockReply:
    stamp = now_text()
    body: dict[str, Any] = {"status": "COMPLETE", "results": results, "startedAt": stamp, "completedAt": stamp}
    if errors:
        body |= {"numErrors": len(errors), "errors": errors}
        status = 207
    return MockReply(status, body, records=len(results))
