"""What Google's replies mean: the Measurement Protocol answers 2xx to nearly everything, the Data API does not.

Sources: Google Analytics Measurement Protocol, "Verify implementation"; Data API v1beta, "Limits and quotas".
"""

from __future__ import annotations

import json

from headway.delivery.outcome import (
    CredentialsRejected,
    Delivered,
    MappingFault,
    Outcome,
    SplitNeeded,
    Transient,
)
from headway.delivery.records import Reply
from headway.platforms.refusals import rate_limited, wait_of

__all__ = ["error_of", "meaning"]


def error_of(reply: Reply) -> tuple[str, str]:
    """Status and message of a Google error, as far as they can be read."""
    try:
        said = json.loads(reply.body)
    except (ValueError, RecursionError):
        said = None
    error = said.get("error") if isinstance(said, dict) else None
    if not isinstance(error, dict):
        return f"HTTP_{reply.status}", f"HTTP {reply.status}"
    return str(error.get("status") or f"HTTP_{reply.status}")[:100], str(error.get("message") or "").strip()[:500]


def meaning(reply: Reply) -> Outcome:
    """What a reply says of a whole call."""
    status = reply.status
    if 200 <= status < 300:
        return Delivered()
    code, message = error_of(reply)
    wait = wait_of(reply)
    refused = rate_limited("ga4", reply, code, message)
    if refused is not None:
        return refused
    if status in {401, 403}:
        return CredentialsRejected(code, message)
    if status >= 500 or status == 408:
        return Transient(code, message, wait, applied=True)
    if status == 413:
        return SplitNeeded(code, message)
    return MappingFault(code, message)
