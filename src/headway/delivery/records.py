"""The values that platforms, stores, sources and the engine share.

Rules:
* A record's payload is a JSON object in UTF-8 bytes, exactly as its properties will travel. It is spliced into a
  call's body, never parsed and written again on the way.
* A batch of records exists only between claim and finish.
* Header names of a reply are lower case.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Call", "Record", "Reply"]

_NO_HEADERS: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Record:
    """One row on its way to a destination, as claimed from the store.

    `attempts` counts the present one; `part` is the piece of a split batch it belongs to, 0 if none; `unknown` says
    that an earlier attempt ended without a reply.
    """

    id: int
    key: str
    payload: bytes
    group: str = ""
    attempts: int = 1
    part: int = 0
    unknown: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request, before anybody sends it.

    `path` is relative to the account's base URL (it begins with `/`, query string included). `limits` names the
    account's limits that the call counts against; None means all that the account's routing finds; `cost` what it
    costs of them, by name where that is not 1. `timeout` in seconds, `max_body` of the reply in bytes, None for the
    transport's defaults. `url`: a whole address elsewhere, instead of `path`; no credential goes there.
    """

    method: str
    path: str
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=lambda: _NO_HEADERS)
    limits: frozenset[str] | None = None
    timeout: float | None = None
    cost: int | Mapping[str, int] = 1
    url: str = ""
    max_body: int | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: status, headers (names in lower case), the whole body, seconds from send to last byte.

    `at`: our wall clock when it was there, in nanoseconds since the epoch; 0 where nobody looked.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=lambda: _NO_HEADERS)
    body: bytes = b""
    seconds: float = 0.0
    at: int = 0
