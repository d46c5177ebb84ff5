"""What the ASGI application, the server and the admin API need of a mock platform, HubSpot or any other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from headway.mock.clock import Clock
from headway.mock.faults import Faults
from headway.mock.journal import Entry, Journal
from headway.mock.replies import MockReply

__all__ = ["Arrival", "Config", "Platform"]


class Config(Protocol):
    """How a mock behaves on the wire; delays are seconds (least, most)."""

    @property
    def seed(self) -> int:
        """Of all that is random."""

    @property
    def max_body(self) -> int:
        """Bytes of a request."""

    @property
    def arrival_delay(self) -> tuple[float, float]:
        """Before a call is counted."""

    @property
    def reply_delay(self) -> tuple[float, float]:
        """Between a call's work and its reply."""

    def platform(self, clock: Clock | None = None) -> Any:
        """The mock that behaves so."""


class Arrival(Protocol):
    """A call that was counted; `refused` is its reply if it goes no further."""

    entry: Entry
    refused: MockReply | None


class Platform(Protocol):
    """State and rules of one platform."""

    @property
    def config(self) -> Any:
        """How it behaves, a Config."""

    clock: Clock
    faults: Faults
    journal: Journal
    url: str  # where it is served, for replies that hold addresses; '' while it is not

    @property
    def acts(self) -> Mapping[tuple[str, str], Callable[[str, dict[str, str], Any], MockReply]]:
        """What its admin API does beside what all have: (method, name) → f(rest of the path, query, JSON said)."""

    def arrive(self, method: str, path: str, authorization: str, query: str = "") -> Any:
        """Count one call now; an Arrival."""

    def perform(self, arrived: Any, body: bytes) -> MockReply:
        """Do the work of a call that was counted."""

    def worded(self, status: int) -> MockReply:
        """A made-up error with that status, as the platform words it."""

    def visit(self, authorization: str, calls: int) -> int:
        """So many calls of another app, now, against the limits of this one; says how many were refused."""

    def statistics(self) -> dict[str, Any]:
        """What was counted, as plain values."""

    def forget(self) -> None:
        """Start anew."""
