"""Replies that refuse a call for its rate, as outcomes: the catalogue's recogniser in the words of delivery."""

from __future__ import annotations

from headway.delivery.outcome import RateLimited
from headway.delivery.records import Reply
from headway.limits.headers import retry_after
from headway.platforms.catalog_reader import load
from headway.platforms.recognition import refusal_of

__all__ = ["rate_limited", "wait_of"]


def rate_limited(platform: str, reply: Reply, code: str, message: str) -> RateLimited | None:
    """What refused the call, None if nothing did; `code` and `message` as the platform wrote them."""
    refusal = refusal_of(load(platform), reply.status, reply.headers, reply.body, reply.at)
    return None if refusal is None else RateLimited(refusal.limit, refusal.wait, code, message)


def wait_of(reply: Reply) -> float | None:
    """Seconds that the reply asks to wait, whatever the reason."""
    return retry_after(reply.headers, reply.at)
