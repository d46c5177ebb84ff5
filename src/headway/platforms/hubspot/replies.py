"""HubSpot's replies as far as they are read: tolerant structs for results and errors.

Shapes: developers.hubspot.com/docs/api/error-handling; every field of an error is optional there.
"""

from __future__ import annotations

from typing import Any

import msgspec

from headway.delivery.records import Reply

__all__ = ["BatchReply", "ErrorDetail", "ErrorReply", "ResultItem", "error_of", "message_of"]

_LONGEST = 500


class ResultItem(msgspec.Struct):
    """One written object."""

    id: str = ""
    properties: dict[str, Any] = {}
    objectWriteTraceId: str | None = None  # noqa: N815  # HubSpot's own names


class ErrorDetail(msgspec.Struct):
    """One error, of a record or of the whole batch; `context` holds lists of strings."""

    message: str = ""
    category: str = ""
    code: str = ""
    subCategory: Any = None  # noqa: N815
    context: dict[str, Any] = {}
    errors: list[ErrorDetail] = []

    def named(self, *keys: str) -> list[str]:
        """The strings that the context holds under any of these keys."""
        found: list[str] = []
        for key in keys:
            value = self.context.get(key)
            found += [str(each) for each in (value if isinstance(value, list) else [value]) if each is not None]
        return found


class BatchReply(msgspec.Struct):
    """A 2xx of a batch endpoint."""

    results: list[ResultItem] = []
    errors: list[ErrorDetail] = []


class ErrorReply(ErrorDetail):
    """A 4xx or 5xx."""

    status: Any = None
    errorType: str = ""  # noqa: N815
    policyName: str = ""  # noqa: N815
    correlationId: str = ""  # noqa: N815
    requestId: str = ""  # noqa: N815


_decode_error = msgspec.json.Decoder(ErrorReply, strict=False).decode


def error_of(reply: Reply) -> ErrorReply:
    """The error that a reply holds; an empty one when it holds none that can be read."""
    try:
        return _decode_error(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ErrorReply()


def message_of(error: ErrorDetail, reply: Reply) -> str:
    """HubSpot's own text, of bounded length; the status when there is none."""
    return (error.message or f"HTTP {reply.status}").strip()[:_LONGEST]
