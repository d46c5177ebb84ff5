"""A row as a member of a Mailchimp audience, and the calls that write one or many.

Source: Mailchimp Marketing API, "List Members" and "Batch subscribe or unsubscribe". Rules:
* A merge field stands inside `merge_fields`, an interest inside `interests`; everything else is the member's own.
* Who is new is subscribed unless a column says otherwise; a PUT leaves the status of those who are there alone.
* A member's address in the API is the MD5 of the e-mail address in lower case.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from headway.delivery.outcome import Delivered, Outcome, Rejected, Transient, Verdict
from headway.delivery.records import Call, Record, Reply
from headway.platforms.mailchimp.replies import meaning, of_problem

__all__ = [
    "OWN",
    "Operation",
    "bulk_call",
    "bulk_verdict",
    "member_hash",
    "operation",
    "shaped",
    "single_call",
    "single_verdict",
]

OWN = (
    "email_address", "status", "status_if_new", "email_type", "language", "vip", "ip_signup", "timestamp_signup",
    "ip_opt", "timestamp_opt", "tags", "location.latitude", "location.longitude",
)  # fmt: skip
_BOOLS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_JSON = {"content-type": "application/json"}
_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.encode


def member_hash(address: str) -> str:
    """The id by which the API knows a member."""
    return hashlib.md5(address.lower().encode(), usedforsecurity=False).hexdigest()


def shaped(values: Mapping[str, object]) -> Mapping[str, object]:
    """One row as a member. `interests.ID` and `location.latitude` are columns with a dot; tags are split at commas."""
    made: dict[str, Any] = {}
    for name, value in values.items():
        parent, dot, inner = name.partition(".")
        if dot and parent in {"interests", "location"}:
            made.setdefault(parent, {})[inner] = _flag(value) if parent == "interests" else _number(value)
        elif name == "vip":
            made[name] = _flag(value)
        elif name == "tags" and isinstance(value, str):
            made[name] = [each.strip() for each in value.split(",") if each.strip()]
        elif name in OWN:
            made[name] = value
        else:
            made.setdefault("merge_fields", {})[name] = value
    return made


def _flag(value: object) -> object:
    return _BOOLS.get(str(value).strip().lower(), value)


def _number(value: object) -> object:
    try:
        return float(str(value))
    except ValueError:
        return value


# -- many in one call


def bulk_call(audience: str, mode: str, records: Sequence[Record]) -> Call:
    """Up to 500 members in one call."""
    members = [
        msgspec.Raw(record.payload) if b'"status"' in record.payload else _subscribed(record.payload)
        for record in records
    ]
    body = _encode({"members": members, "update_existing": mode == "upsert"})
    return Call("POST", f"/3.0/lists/{audience}", body, _JSON, timeout=150.0)


def _subscribed(payload: bytes) -> dict[str, Any]:
    member = _decode(payload)
    member.setdefault("status", member.pop("status_if_new", "subscribed"))
    return member


class _Saved(msgspec.Struct):
    email_address: str = ""
    id: str = ""


class _Refused(msgspec.Struct):
    email_address: str = ""
    error: str = ""
    error_code: str = ""
    field: str = ""
    field_message: str = ""


class _Bulk(msgspec.Struct):
    new_members: list[_Saved] = []
    updated_members: list[_Saved] = []
    errors: list[_Refused] = []


_decode_bulk = msgspec.json.Decoder(_Bulk, strict=False).decode


def bulk_verdict(records: Sequence[Record], reply: Reply) -> Verdict:
    """One outcome per record: 200 says nothing, the lists inside do."""
    if not 200 <= reply.status < 300:
        return Verdict((meaning(reply),) * len(records), reply.status)
    try:
        said = _decode_bulk(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        broken = Transient("MALFORMED_REPLY", f"HTTP {reply.status} with a body that cannot be read")
        return Verdict((broken,) * len(records), reply.status)
    told: dict[str, Outcome] = {each.email_address.lower(): _refusal(each) for each in said.errors}
    for each in (*said.new_members, *said.updated_members):
        told[each.email_address.lower()] = Delivered(each.id)
    missing = Transient("NO_RESULT", f"HTTP {reply.status} that does not say what became of the record")
    return Verdict(tuple(told.get(record.key, missing) for record in records), reply.status)


def _refusal(said: _Refused) -> Outcome:
    message = said.error or said.field_message or "refused without a reason"
    if said.field and said.field_message:
        message = f"{message} ({said.field}: {said.field_message})"
    return Rejected(said.error_code or "REJECTED", message[:500])


# -- one by one, in a call of its own or as an operation of a batch


class Operation(msgspec.Struct):
    """One request, as a batch writes it; `body` is JSON in a string."""

    method: str
    path: str
    operation_id: str
    body: str | msgspec.UnsetType = msgspec.UNSET


def operation(audience: str, mode: str, record: Record) -> Operation:
    """What writes one record."""
    base = f"/lists/{audience}/members"
    one = f"{base}/{member_hash(record.key)}"
    number = str(record.id)
    if mode == "archive":
        return Operation("DELETE", one, number)
    if mode == "delete":
        return Operation("POST", f"{one}/actions/delete-permanent", number)
    member = _decode(record.payload)
    if mode == "upsert":
        member.setdefault("status_if_new", member.get("status", "subscribed"))
        return Operation("PUT", one, number, _encode(member).decode())
    if mode == "insert":
        member.setdefault("status", member.pop("status_if_new", "subscribed"))
        return Operation("POST", base, number, _encode(member).decode())
    return Operation("PATCH", one, number, _encode(member).decode())


def single_call(audience: str, mode: str, record: Record) -> Call:
    """One member, one call."""
    made = operation(audience, mode, record)
    body = made.body.encode() if isinstance(made.body, str) else None
    return Call(made.method, f"/3.0{made.path}", body, _JSON)


def single_verdict(status: int, body: bytes, reply: Reply) -> Outcome:
    """What the reply to one record's request says of it."""
    if 200 <= status < 300:
        try:
            return Delivered(str(_decode(body).get("id", "")) if body else "")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return Transient("MALFORMED_REPLY", f"HTTP {status} with a body that cannot be read")
    return of_problem(status, body, reply, alone=True)
