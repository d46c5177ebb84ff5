"""What Salesforce's replies mean. Errors are a JSON array; a rate limit is a 403, told from a permission by its code.

Source: Salesforce REST API Developer Guide, "Status Codes and Error Responses"; API limits cheat sheet.
"""

from __future__ import annotations

import json
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
)
from headway.delivery.records import Reply
from headway.platforms.refusals import rate_limited, wait_of

__all__ = ["Fault", "fault_of", "meaning", "of_code", "refused"]

_LONGEST = 500
_PASSING = frozenset({"UNABLE_TO_LOCK_ROW", "SERVER_UNAVAILABLE", "QUERY_TIMEOUT", "REQUEST_RUNNING_TOO_LONG"})
_NOT_APPLIED = frozenset({"UNABLE_TO_LOCK_ROW", "ALL_OR_NONE_OPERATION_ROLLED_BACK", "SERVER_UNAVAILABLE"})
_MAPPING = frozenset({"INVALID_FIELD_FOR_INSERT_UPDATE", "INVALID_TYPE", "INVALID_FIELD", "NOT_FOUND", "INVALIDENTITY"})
_WORDS = (
    "no such column",
    "field name not found",
    "is not supported",
    "does not exist",
    "unable to create/update fields",
)


class Fault(msgspec.Struct):
    """One error; every field is optional, for some are missing now and then."""

    message: str = ""
    errorCode: str = ""  # noqa: N815  # Salesforce's own names
    statusCode: str = ""  # noqa: N815
    fields: list[str] = []

    @property
    def code(self) -> str:
        """Its code."""
        return (self.errorCode or self.statusCode)[:100]

    @property
    def text(self) -> str:
        """Its message."""
        return self.message.strip()[:_LONGEST]


_decode = msgspec.json.Decoder(list[Fault] | Fault, strict=False).decode


def fault_of(reply: Reply) -> Fault:
    """The first error that a reply holds; an empty one when it holds none that can be read."""
    try:
        said: Any = _decode(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Fault()
    return (said[0] if said else Fault()) if isinstance(said, list) else said


def meaning(reply: Reply) -> Outcome:
    """What a reply says of a call that carries no records."""
    if 200 <= reply.status < 300:
        return Delivered()
    return refused(reply)


def refused(reply: Reply) -> Outcome:
    """What a reply that is no success says of the whole call."""
    status, fault = reply.status, fault_of(reply)
    code, message = fault.code or f"HTTP_{status}", fault.text or f"HTTP {status}"
    wait = wait_of(reply)
    refused = rate_limited("salesforce", reply, code, message)
    if refused is not None:
        return refused
    if status in {401, 403}:
        return CredentialsRejected(code, message)
    if code in _PASSING or status >= 500 or status == 408:
        return Transient(code, message, wait, applied=code not in _NOT_APPLIED)
    if status == 404 or (status == 400 and _blames_mapping(code, message)):
        return MappingFault(code, message)
    if status in {300, 400, 405, 409, 413, 414, 415, 422, 431}:
        return SplitNeeded(code, message)
    return Transient(code, f"unexpected HTTP {status}: {message}", wait, applied=False)


def of_code(code: str, message: str) -> Outcome:
    """What an error says of the one record that it came for."""
    if code in _PASSING or code == "ALL_OR_NONE_OPERATION_ROLLED_BACK":
        return Transient(code, message, applied=code not in _NOT_APPLIED)
    said = json.dumps([{"errorCode": code, "message": message}]).encode()
    refused = rate_limited("salesforce", Reply(400, {}, said), code, message)
    if refused is not None:
        return refused
    if _blames_mapping(code, message):
        return MappingFault(code, message)
    return Rejected(code or "REJECTED", message)


def _blames_mapping(code: str, message: str) -> bool:
    return code in _MAPPING and any(word in message.lower() for word in _WORDS)
