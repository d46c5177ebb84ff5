"""What every platform offers the engine: batching and the meaning of replies. No input or output happens here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from headway.core.outcome import Rejected, Verdict
from headway.core.records import Call, Record, Reply

__all__ = ["Connector", "Identity", "RowChecker", "Schema"]

RowChecker = Callable[[Mapping[str, object]], Rejected | None]


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose account the credential belongs to: the platform's id for it, the zone of its midnight, and its kind."""

    account_id: str
    time_zone: str
    kind: str = ""


class Schema(Protocol):
    """What the destination's object looks like."""

    def check_columns(self, columns: Sequence[str], key: str, mode: str) -> None:
        """Raises MappingError for unknown or read-only properties and for keys that identify nothing."""

    def row_checker(self, columns: Sequence[str]) -> RowChecker | None:
        """A function that says what is wrong with a row's values; None if nothing needs a check."""

    def to_bytes(self) -> bytes:
        """For the cache."""


class Connector(Protocol):
    """Deliveries of one kind of object in one mode, by one key."""

    platform: str
    object_type: str
    mode: str
    key: str
    batch_size: int
    batch_bytes: int
    repeatable: bool
    key_travels: bool  # whether the key property is written as well; an identifier of the platform's own is not

    def normalise_key(self, key: str) -> str:
        """The record's identity in the destination."""

    def call(self, records: Sequence[Record]) -> Call:
        """One call for these records."""

    def verdict(self, records: Sequence[Record], reply: Reply) -> Verdict:
        """One outcome per record, in order."""

    def schema_call(self) -> Call:
        """The call that reads the schema."""

    def schema(self, reply: Reply) -> Schema:
        """Raises CredentialsError, MappingError (unknown object) or PlatformError."""

    def cached_schema(self, data: bytes) -> Schema:
        """A schema from `to_bytes`."""
