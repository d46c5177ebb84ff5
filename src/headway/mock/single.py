"""HubSpot's endpoints for one object: list, read, create, update, archive. They share the rules of the batches."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import msgspec

from headway.mock.batches import Batches, Input, told
from headway.mock.objects import ObjectType
from headway.mock.replies import MockReply, refuse
from headway.mock.routes import Route

__all__ = ["Singles", "decode_object"]

_decode = msgspec.json.Decoder(Input).decode
_MOST_PER_PAGE = 100


def decode_object(body: bytes) -> dict[str, Any]:
    """A JSON object; ValueError for anything else."""
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(str(error)) from error


class Singles:
    """One object per call."""

    def __init__(self, batches: Batches) -> None:
        self._batches = batches

    def run(self, kind: ObjectType, to: Route, query: str, body: bytes, wall: int) -> MockReply:
        """One call at an instant (nanoseconds since 1970)."""
        asked = {name: values[-1] for name, values in parse_qs(query).items()}
        names = [name for name in asked.get("properties", "").split(",") if name] or kind.shown
        if to.action == "list":
            return _list(kind, asked, names)
        by = asked.get("idProperty")
        if by and not kind.is_unique(by):
            return refuse(400, f"Unable to perform {to.action} by non-unique {kind.type_id} property {by}")
        if to.action in {"create", "update"}:
            return self._write(kind, to, by, body, wall)
        target = kind.find(by, to.object_id)
        if target is None:
            return MockReply(204, None) if to.action == "archive" else _nothing()
        if to.action == "archive":
            kind.remove(target)
            kind.note(target)
            return MockReply(204, None, records=1)
        return MockReply(200, told(target, kind.by_id[target], names))

    def _write(self, kind: ObjectType, to: Route, by: str | None, body: bytes, wall: int) -> MockReply:
        try:
            each = _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return refuse(400, f"Invalid input JSON: {error}", "VALIDATION_ERROR")
        each = Input(each.properties, None if to.action == "create" else to.object_id, by)
        reply = self._batches.write(kind, to.action, [each], wall)
        if reply.status == 207:
            return _nothing()
        if 200 <= reply.status < 300:
            reply.body = reply.body["results"][0]
        return reply


def _list(kind: ObjectType, asked: dict[str, str], names: list[str]) -> MockReply:
    try:
        limit, after = int(asked.get("limit", "10")), int(asked.get("after", "0"))
    except ValueError as error:
        return refuse(400, f"Invalid paging: {error}", "VALIDATION_ERROR")
    if not 0 < limit <= _MOST_PER_PAGE:
        return refuse(400, f"limit must be between 1 and {_MOST_PER_PAGE}, not {limit}", "VALIDATION_ERROR")
    found = [(key, stored) for key, stored in kind.by_id.items() if int(key) > after]
    reply: dict[str, Any] = {"results": [told(key, stored, names) for key, stored in found[:limit]]}
    if len(found) > limit:
        reply["paging"] = {"next": {"after": found[limit - 1][0]}}
    return MockReply(200, reply)


def _nothing() -> MockReply:
    return refuse(404, "resource not found", "OBJECT_NOT_FOUND")
