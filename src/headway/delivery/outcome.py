"""What a reply can mean, for one record and for the whole call.

A connector reads a reply and says one `Outcome` for every record of the batch, each record exactly once. Waiting,
counting of tries and dead letters are decided elsewhere (retry.py, engine).
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "CredentialsRejected",
    "Delivered",
    "MappingFault",
    "Outcome",
    "RateLimited",
    "Rejected",
    "SplitNeeded",
    "Transient",
    "Verdict",
]


@dataclass(frozen=True, slots=True)
class Delivered:
    """The destination has the record. `remote_id` is its identifier there, '' if the reply does not say."""

    remote_id: str = ""


@dataclass(frozen=True, slots=True)
class RateLimited:
    """The platform refused the call for its rate: pauses the destination, never uses up a record's tries.

    `limit` names the limit that refused (a name of the account's limits) or '' when unknown; `retry_after` in
    seconds: what the platform asks for, else until the reset that it tells, else None; `code` and `message` as the
    platform wrote them.
    """

    limit: str = ""
    retry_after: float | None = None
    code: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Transient:
    """A failure that may pass by itself (network, 5xx, locked). `retry_after` in seconds if the platform said so.

    `applied` tells whether the destination may have the record all the same: False when the platform certainly
    rejected it, True when unknown.
    """

    code: str = ""
    message: str = ""
    retry_after: float | None = None
    applied: bool = True


@dataclass(frozen=True, slots=True)
class Rejected:
    """The record itself is at fault; never retried."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class MappingFault:
    """The mapping is at fault, so that every record will fail alike (an unknown or read-only property)."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class CredentialsRejected:
    """The platform does not accept who we are, or we may not do this."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class SplitNeeded:
    """The whole batch was refused for a record that the reply does not name: send it again in halves.

    A batch of one record is never `SplitNeeded`: its connector says `Rejected`.
    """

    code: str
    message: str


Outcome = Delivered | RateLimited | Transient | Rejected | MappingFault | CredentialsRejected | SplitNeeded


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one reply said: an outcome per record, in the order of the batch's records.

    `status` is the HTTP status (0 without a reply), `request_id` the platform's identifier of the call, for support
    tickets.
    """

    outcomes: tuple[Outcome, ...]
    status: int = 0
    request_id: str = ""
