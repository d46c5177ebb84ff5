"""Up to 200 records in one call: sObject Collections. The reply says of each, in order, what became of it.

Source: Salesforce REST API Developer Guide, "Execute Composite Requests: sObject Collections".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from headway.delivery.outcome import Delivered, Outcome, SplitNeeded, Transient, Verdict
from headway.delivery.records import Call, Record, Reply
from headway.platforms.salesforce.account import VERSION
from headway.platforms.salesforce.replies import Fault, of_code, refused

__all__ = ["MOST", "call", "verdict"]

MOST = 200
_JSON = {"content-type": "application/json"}


class _Saved(msgspec.Struct):
    success: bool = False
    id: str | None = None
    created: bool | None = None
    errors: list[Fault] = []


_decode = msgspec.json.Decoder(list[_Saved], strict=False).decode
_encode = msgspec.json.encode


def call(sobject: str, mode: str, key: str, records: Sequence[Record]) -> Call:
    """One call for these records; payloads go in as they are."""
    base = f"/services/data/{VERSION}/composite/sobjects"
    if mode == "delete":
        ids = ",".join(quote(record.key, safe="") for record in records)
        return Call("DELETE", f"{base}?ids={ids}&allOrNone=false")
    attributes = b'{"attributes":' + _encode({"type": sobject})
    rows = b",".join(attributes + _after(record.payload, record.key, mode) for record in records)
    body = b'{"allOrNone":false,"records":[' + rows + b"]}"
    if mode == "upsert":
        return Call("PATCH", f"{base}/{sobject}/{key}", body, _JSON)
    return Call("PATCH" if mode == "update" else "POST", base, body, _JSON)


def _after(payload: bytes, key: str, mode: str) -> bytes:
    """A payload behind the attributes; the id, which nobody writes, names the record to update."""
    inner = payload.strip()[1:]
    name = b',"Id":' + _encode(key) if mode == "update" else b""
    return name + (inner if inner.strip() == b"}" else b"," + inner)


def verdict(records: Sequence[Record], reply: Reply) -> Verdict:
    """One outcome per record, in order; never raises, whatever the reply holds."""
    if not 200 <= reply.status < 300:
        outcome = refused(reply)
        if isinstance(outcome, SplitNeeded) and len(records) == 1:
            outcome = of_code(outcome.code, outcome.message)
        return Verdict((outcome,) * len(records), reply.status)
    try:
        saved = _decode(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        saved = []
    if len(saved) != len(records):
        words = f"HTTP {reply.status} with {len(saved)} results for {len(records)} records"
        return Verdict((Transient("MALFORMED_REPLY", words),) * len(records), reply.status)
    return Verdict(tuple(_outcome(each) for each in saved), reply.status)


def _outcome(saved: _Saved) -> Outcome:
    if saved.success:
        return Delivered(saved.id or "")
    fault: Any = saved.errors[0] if saved.errors else Fault()
    return of_code(fault.code, fault.text or fault.code or "refused without a reason")
