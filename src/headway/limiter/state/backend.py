"""Who keeps shared state: the one operation that SQLite, Redis and PostgreSQL offer alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from headway.limits.sharing.exchange import AnyAnswer, Request

__all__ = ["Backend", "Request"]


class Backend(Protocol):
    """Keeps shared state."""

    def exchange(self, requests: Sequence[Request], patience: float) -> list[AnyAnswer]:
        """Answer all requests in one transaction, in their order.

        Raises HeadwayError if the state is out of reach, after `patience` seconds if others keep it busy.
        """

    def notices(self) -> list[str]:
        """What the user should know of the state and was not told yet, each in a sentence."""

    def close(self) -> None:
        """Let go of the state."""
