"""Who keeps shared state: the one operation that SQLite, Redis and PostgreSQL offer alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from headway.limits.sharing.lots import LotAnswer, LotAsk
from headway.limits.sharing.places import Answer, Ask, Keeping

__all__ = ["Backend", "Request"]


@dataclass(frozen=True, slots=True)
class Request:
    """One holder's ask for the limit that is shared under `key`; `keeping` is None for a calendar quota."""

    key: str
    amount: int
    keeping: Keeping | None
    ask: Ask | LotAsk


class Backend(Protocol):
    """Keeps shared state."""

    def exchange(self, requests: Sequence[Request]) -> list[Answer | LotAnswer]:
        """Answer all requests in one transaction, in their order; raises HeadwayError if the state is out of reach."""

    def close(self) -> None:
        """Let go of the state."""
