"""What an engine is told, what it counts, and why it stopped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Literal, Protocol

from headway.delivery.records import Call, Reply
from headway.limiter.limiter import Limiter
from headway.limiter.permit import Permit
from headway.stores.model import Claim, Disposition, Job, Ledger

__all__ = ["INTERRUPTED", "Ended", "Ending", "Link", "Queue", "Settings", "Tally"]


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
    after which the destination counts as unreachable; `delivered_before`: records that an earlier session of the same
    work delivered, which died and did not pause: they are judged together with those of this one.
    """

    priority: str = "bulk"
    max_dead: float = 0.2
    judged_after: int = 200
    wait_for_quota: float = 0.0
    rate: float | None = None
    timeout: float = 30.0
    patience: float = 900.0
    delivered_before: int = 0


@dataclass(slots=True)
class Tally:
    """What one session did. `parts`: seconds by part; `first_sent`, `last_reply`: monotonic seconds, 0 for never.

    Of jobs: how many ended and what they took of calls, the records of those that ended, the seconds that the platform
    worked on each, added up, and when the first was given to it and the last one ended (monotonic).
    """

    requests: int = 0
    rate_limited: int = 0
    retries: int = 0
    delivered: int = 0
    dead: int = 0
    first_sent: float = 0.0
    last_reply: float = 0.0
    jobs: int = 0
    job_calls: int = 0
    job_records: int = 0
    job_seconds: float = 0.0
    job_first: float = 0.0
    job_last: float = 0.0
    parts: dict[str, float] = field(default_factory=dict)

    def spent(self, part: str, seconds: float) -> None:
        """Add seconds to a part."""
        self.parts[part] = self.parts.get(part, 0.0) + seconds


class Queue(Protocol):
    """The part of a store that an engine uses, for one run."""

    def claim(self, run: str, limit: int, max_bytes: int, lease: float, owner: str, overhead: int) -> Claim | None:
        """Records for the next call, formed now; None if none is ready."""

    def finish(
        self, run: str, claim: Claim, dispositions: Sequence[Disposition], *, status: int, code: str, message: str,
        request_id: str, more: bool = False,
    ) -> None:  # fmt: skip
        """Every record's outcome in one transaction; raises StaleClaim."""

    def unclaim(self, run: str, claim: Claim) -> None:
        """Certainly not sent."""

    def ledger(self, run: str) -> Ledger:
        """The books, at once."""

    def next_ready(self, run: str) -> float | None:
        """When the next record is ready, in Unix seconds (possibly past); None if none waits."""

    def create_job(self, run: str, claim: Claim, payload: bytes) -> Job:
        """Let the records of a claim travel in a job."""

    def update_job(self, job: Job, payload: bytes) -> None:
        """Note how far it is; raises StaleClaim."""

    def jobs(self, run: str, state: Literal["open", "finished"] | None = None) -> list[Job]:
        """The jobs of a run."""

    def take_job(self, job: Job, *, by_force: bool = False) -> Claim:
        """Go on with a job whose process is gone."""


class Link(Protocol):
    """An account that is open in this event loop."""

    @property
    def name(self) -> str:
        """The account's name, for events."""

    @property
    def limiter(self) -> Limiter:
        """Its limits."""

    @property
    def generation(self) -> int:
        """Which access token is in use."""

    async def renew(self, used: int) -> bool:
        """Get another token than that of generation `used`; False where there is none to be had.

        Raises CredentialsError, TransportError.
        """

    def limits_for(self, call: Call) -> frozenset[str] | None:
        """The names of the limits that a call counts against; None for all."""

    async def send(self, call: Call, permit: Permit, records: int = 0, name: str = "") -> Reply:
        """Send under a permit and let it observe the reply.

        Raises TransportError, and then the permit is lost or cancelled; a reply's permit is the caller's to settle.
        """
