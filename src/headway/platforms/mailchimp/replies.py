"""What Mailchimp's replies mean. A rate limit is a 429, or a bare 403 without JSON; neither says when to come back.

Source: Mailchimp Marketing API, "Errors" and "API Limits".
"""

from __future__ import annotations

import json
from typing import Any

from headway.delivery.outcome import (
    CredentialsRejected,
    Delivered,
    MappingFault,
    Outcome,
    Rejected,
    Transient,
)
from headway.delivery.records import Reply
from headway.platforms.mailchimp.account import message_of
from headway.platforms.refusals import rate_limited, wait_of

__all__ = ["code_of", "meaning", "of_problem"]


def meaning(reply: Reply) -> Outcome:
    """What a reply says of a whole call."""
    if 200 <= reply.status < 300:
        return Delivered()
    return of_problem(reply.status, reply.body, reply, alone=False)


def of_problem(status: int, body: bytes, reply: Reply, *, alone: bool) -> Outcome:
    """What a problem says: of the one record that it came for (`alone`), or of the call as a whole."""
    said = _problem(body)
    title = code_of(said, status)
    message = message_of(Reply(status, {}, body))
    here = Reply(status, reply.headers, body, at=reply.at)
    wait = wait_of(here)
    if status == 403 and not said:
        title, message = "FORBIDDEN_BARE", "403 without a body: too many calls"
    refused = rate_limited("mailchimp", here, title, message)
    if refused is not None:
        return refused
    if status in {401, 403}:
        return CredentialsRejected(title, message)
    if status >= 500 or status == 408:
        return Transient(title, message, wait, applied=True)
    if alone:
        return Rejected(title, message)
    if status in {404, 405}:
        return MappingFault(title, f"{message} (is the list's id right?)")
    return MappingFault(title, message)


def code_of(said: dict[str, Any], status: int) -> str:
    """A problem's title as a code: `Member Exists` is MEMBER_EXISTS."""
    title = said.get("title")
    return str(title).strip().upper().replace(" ", "_")[:100] if title else f"HTTP_{status}"


def _problem(body: bytes) -> dict[str, Any]:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}
