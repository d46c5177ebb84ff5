"""What an engine is told, what it counts, and why it stopped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Protocol

from headway.core.outcome import Verdict
from headway.core.records import Call, Record, Reply
from headway.limiter import Limiter
from headway.permit import Permit
from headway.stores.model import Claim, Disposition

__all__ = ["INTERRUPTED", "Delivery", "Ended", "Ending", "Link", "Queue", "Settings", "Tally"]


class Ending(Enum):
    """Why an engine stopped."""

    FINISHED = "finished"
    INTERRUPTED = "interrupted"
    QUOTA = "quota"
    GUARD = "guard"
    MAPPING = "mapping"
    CREDENTIALS = "credentials"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Ended:
    """How it ended: in words, and for a pause until when."""

    ending: Ending
    reason: str = ""
    until: datetime | None = None


INTERRUPTED = Ended(Ending.INTERRUPTED, "stopped on request")


@dataclass(frozen=True, slots=True)
class Settings:
    """What the user may set.

    `max_dead`: the share of dead records above which the run pauses, judged once `judged_after` were seen;
    `wait_for_quota`: seconds to wait for a quota's reset before pausing; `rate`: records per second at most, None for
    no limit but the platform's; `timeout`: of a call, in seconds; `patience`: seconds without a single useful reply
    after which the destination counts as unreachable.
    """

    priority: str = "bulk"
    max_dead: float = 0.2
    judged_after: int = 200
    wait_for_quota: float = 0.0
    rate: float | None = None
    timeout: float = 30.0
    patience: float = 900.0


@dataclass(slots=True)
class Tally:
    """What one session did. `parts`: seconds by part; `first_sent`, `last_reply`: monotonic seconds, 0 for never."""

    requests: int = 0
    rate_limited: int = 0
    retries: int = 0
    delivered: int = 0
    dead: int = 0
    first_sent: float = 0.0
    last_reply: float = 0.0
    parts: dict[str, float] = field(default_factory=dict)

    def spent(self, part: str, seconds: float) -> None:
        """Add seconds to a part."""
        self.parts[part] = self.parts.get(part, 0.0) + seconds


class Queue(Protocol):
    """The part of a store that an engine uses, for one run."""

    def claim(self, run: str, limit: int, max_bytes: int, lease: float, owner: str) -> Claim | None:
        """Records for the next call, formed now; None if none is ready."""

    def finish(
        self, run: str, claim: Claim, dispositions: Sequence[Disposition], *, status: int, code: str, message: str,
        request_id: str,
    ) -> None:  # fmt: skip
        """Every record's outcome in one transaction; raises StaleClaim."""

    def unclaim(self, run: str, claim: Claim) -> None:
        """Certainly not sent."""

    def next_ready(self, run: str) -> float | None:
        """When the next record is ready, in Unix seconds (possibly past); None if none waits."""


class Delivery(Protocol):
    """The part of a connector that an engine uses."""

    @property
    def batch_size(self) -> int:
        """Records per call."""

    @property
    def batch_bytes(self) -> int:
        """Bytes of body per call."""

    @property
    def repeatable(self) -> bool:
        """Whether a call whose outcome is unknown may be sent again."""

    def call(self, records: Sequence[Record]) -> Call:
        """One call for these records."""

    def verdict(self, records: Sequence[Record], reply: Reply) -> Verdict:
        """What the reply says, one outcome per record, in order."""


class Link(Protocol):
    """An account that is open in this event loop."""

    @property
    def name(self) -> str:
        """The account's name, for events."""

    @property
    def limiter(self) -> Limiter:
        """Its limits."""

    async def send(self, call: Call, permit: Permit, records: int = 0) -> Reply:
        """Send under a permit and let it observe the reply.

        Raises TransportError, and then the permit is lost or cancelled; a reply's permit is the caller's to settle.
        """
