"""What HubSpot's replies mean for the records of a call.

Rules:
* Results are matched by trace id, else by key; never by position. A record that a 2xx does not name is not delivered.
* A whole batch that was refused wrote nothing: whoever the reply names is at fault, the others go again at once.
* Messages are HubSpot's own text.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from headway.delivery.outcome import (
    CredentialsRejected,
    Delivered,
    MappingFault,
    Outcome,
    Rejected,
    SplitNeeded,
    Transient,
    Verdict,
)
from headway.delivery.records import Record, Reply
from headway.platforms.hubspot.replies import BatchReply, ErrorDetail, ErrorReply, ResultItem, error_of, message_of
from headway.platforms.refusals import rate_limited, wait_of

__all__ = ["judge"]

_decode_batch = msgspec.json.Decoder(BatchReply, strict=False).decode
_MAPPING_CODES = {
    "PROPERTY_DOESNT_EXIST", "READ_ONLY_VALUE", "PROPERTY_READ_ONLY", "READ_ONLY_PROPERTY", "INVALID_OBJECT_TYPE",
    "NON_UNIQUE_PROPERTY",
}  # fmt: skip
_MAPPING_WORDS = ("does not exist", "read only", "read-only", "by non-unique", "unable to infer object type")
_IDS = ("ids", "id", "objectWriteTraceId", "existingId", "email", "emails")
_LOCKED_SECONDS = 2.0


def judge(records: Sequence[Record], reply: Reply, key: str, mode: str) -> Verdict:
    """One outcome per record, in order; never raises, whatever the reply holds."""
    status = reply.status
    if 200 <= status < 300:
        if mode == "archive" and status != 207:
            return Verdict(tuple(Delivered(record.key) for record in records), status, _request_id(reply))
        return Verdict(_written(records, reply, key), status, _request_id(reply))
    error = error_of(reply)
    request_id = error.correlationId or error.requestId or _request_id(reply)
    return Verdict(_refused(records, reply, error, key), status, request_id[:100])


def _request_id(reply: Reply) -> str:
    return reply.headers.get("x-hubspot-correlation-id", "")[:100]


# -- 2xx


def _written(records: Sequence[Record], reply: Reply, key: str) -> tuple[Outcome, ...]:
    try:
        batch = _decode_batch(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        broken = Transient("MALFORMED_REPLY", f"HTTP {reply.status} with a body that cannot be read")
        return (broken,) * len(records)
    traced, keyed = _by_name(batch.results, key)
    blamed = _Blame(batch.errors, reply) if batch.errors else None
    outcomes: list[Outcome] = []
    for record in records:
        found = traced.get(str(record.id))
        if found is None:
            found = keyed.get(record.key.lower())
        if found is not None:
            outcomes.append(Delivered(found))
        else:
            fault = blamed.of(record) if blamed is not None else None
            outcomes.append(
                fault or Transient("NO_RESULT", f"HTTP {reply.status} that does not say what became of the record")
            )
    return tuple(outcomes)


def _by_name(results: Sequence[ResultItem], key: str) -> tuple[dict[str, str], dict[str, str]]:
    """The remote ids by trace id and by key in lower case."""
    traced = {item.objectWriteTraceId: item.id for item in results if item.objectWriteTraceId is not None}
    keyed: dict[str, str] = {}
    for item in results:
        value: Any = item.id if key == "hs_object_id" else item.properties.get(key)
        if value is not None:
            keyed[str(value).strip().lower()] = item.id
    return traced, keyed


class _Blame:
    """The errors of a 207, by the record that each names."""

    def __init__(self, errors: Sequence[ErrorDetail], reply: Reply) -> None:
        self._named: dict[str, Outcome] = {}
        self._traced: dict[str, Outcome] = {}
        self._nameless: Outcome | None = None
        for error in errors:
            outcome = _of_error(error, reply)
            traces = error.named("objectWriteTraceId")
            names = error.named("ids", "id", "email", "emails")
            for trace in traces:
                self._traced[trace] = outcome
            for name in names:
                self._named[name.strip().lower()] = outcome
            if not traces and not names:
                self._nameless = outcome

    def of(self, record: Record) -> Outcome | None:
        """What was said of a record; an error that names nobody is whose result is missing."""
        return self._traced.get(str(record.id)) or self._named.get(record.key.lower()) or self._nameless


def _of_error(error: ErrorDetail, reply: Reply) -> Outcome:
    code = error.code or error.category or "REJECTED"
    message = message_of(error, reply)
    refused = rate_limited("hubspot", Reply(400, {}, json.dumps({"category": code}).encode()), code, message)
    if refused is not None:
        return refused
    if code in {"INTERNAL_ERROR", "SERVICE_UNAVAILABLE", "LOCKED"}:
        return Transient(code, message, applied=True)
    return Rejected(code, message)


# -- everything else


def _refused(records: Sequence[Record], reply: Reply, error: ErrorReply, key: str) -> tuple[Outcome, ...]:
    status = reply.status
    code = error.category or error.errorType or f"HTTP_{status}"
    message = message_of(error, reply)
    wait = wait_of(reply)
    outcome: Outcome | None = rate_limited("hubspot", reply, error.policyName or code, message)
    if outcome is not None:
        pass
    elif status in {401, 403}:
        outcome = CredentialsRejected(code, message)
    elif status == 423:
        outcome = Transient(code, message, max(wait or 0.0, _LOCKED_SECONDS), applied=False)
    elif status == 477:
        outcome = Transient(code, message, wait, applied=False)
    elif status >= 500 or status == 408:
        outcome = Transient(code, message, wait, applied=True)
    elif status == 404 and not error.named(*_IDS):
        outcome = MappingFault(code, message)
    elif status in {400, 404, 409, 413, 414, 422}:
        return _at_fault(records, reply, error, key, code, message)
    else:
        outcome = Transient(code, f"unexpected HTTP {status}: {message}", wait, applied=False)
    return (outcome,) * len(records)


def _at_fault(
    records: Sequence[Record], reply: Reply, error: ErrorReply, key: str, code: str, message: str
) -> tuple[Outcome, ...]:
    """A 4xx for the whole batch: nothing was written; find whose fault it is."""
    if _blames_mapping(error, message):
        inner = next((each.code for each in error.errors if each.code), code)
        return (MappingFault(inner or code, message),) * len(records)
    if len(records) == 1:
        return (Rejected(code, message),)
    guilty = _guilty(records, error, key)
    if 0 < len(guilty) < len(records):
        again = Transient("BATCH_REJECTED", message, applied=False)
        return tuple(Rejected(code, message) if record.id in guilty else again for record in records)
    del reply
    return (SplitNeeded(code, message),) * len(records)


def _blames_mapping(error: ErrorReply, message: str) -> bool:
    codes = {each.code for each in error.errors} | {error.code, error.category}
    if codes & _MAPPING_CODES:
        return True
    lowered = message.lower()
    return any(word in lowered for word in _MAPPING_WORDS) and "propert" in lowered


def _guilty(records: Sequence[Record], error: ErrorReply, key: str) -> set[int]:
    """The records that the error names, by trace id, by key, or by a value that only they hold."""
    del key
    details = [error, *error.errors]
    traces = {trace for each in details for trace in each.named("objectWriteTraceId")}
    names = {name.strip().lower() for each in details for name in each.named("ids", "id", "email", "emails")}
    guilty = {record.id for record in records if str(record.id) in traces or record.key.lower() in names}
    return guilty or _by_value(records, details)


def _by_value(records: Sequence[Record], details: Sequence[ErrorDetail]) -> set[int]:
    """Records whose property holds the very value that the error quotes."""
    wanted = [
        (name, value)
        for each in details
        for name in each.named("propertyName", "name")
        for value in each.named("propertyValue", "value", "invalidValue")
    ]
    if not wanted:
        return set()
    found: set[int] = set()
    for record in records:
        try:
            properties: dict[str, Any] = msgspec.json.decode(record.payload)
        except msgspec.DecodeError:
            continue
        if any(str(properties.get(name)) == value for name, value in wanted):
            found.add(record.id)
    return found
