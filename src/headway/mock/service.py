"""What mocks that store what they are sent have in common: counting, answering, telling; and their configuration.

A call is counted in `arrive`, against everything that may refuse it, and done in `perform`. Both are synchronous and
read the injected clock, so that tests may drive a platform in virtual time without a server.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from headway.errors import UsageError
from headway.mock.clock import Clock, SystemClock
from headway.mock.faults import Fault, Faults
from headway.mock.journal import Entry, Journal
from headway.mock.replies import MockReply

__all__ = ["Came", "Service", "WireConfig", "body_of", "form_of"]

Act = Callable[[str, dict[str, str], Any], MockReply]


@dataclass(frozen=True, slots=True, kw_only=True)
class WireConfig:
    """How a mock behaves on the wire.

    Delays in seconds: `latency` of service after a call was counted; `jitter`: a random delay up to so much before a
    call is counted and again after; `arrival` and `reply` (least, most) say either outright. `journal`: how many
    requests it keeps; `max_body` bytes of a request. `faults` are there from the start. All that is random follows
    `seed`. Raises UsageError for what makes no sense.
    """

    latency: float = 0.0
    jitter: float = 0.0
    arrival: tuple[float, float] | None = None
    reply: tuple[float, float] | None = None
    journal: int = 200_000
    max_body: int = 160_000_000
    faults: tuple[Fault, ...] = ()
    seed: int = 1

    def __post_init__(self) -> None:
        for low, high in (self.arrival_delay, self.reply_delay):
            if not 0 <= low <= high:
                raise UsageError(f"a delay from {low} to {high} s makes no sense: give least and most, both from 0 on")

    @property
    def arrival_delay(self) -> tuple[float, float]:
        """Seconds (least, most) before a call is counted."""
        return self.arrival if self.arrival is not None else (0.0, self.jitter)

    @property
    def reply_delay(self) -> tuple[float, float]:
        """Seconds (least, most) between a call's work and its reply."""
        return self.reply if self.reply is not None else (self.latency, self.latency + self.jitter)


@dataclass(slots=True)
class Came:
    """A call that was counted. `refused` is its reply if it goes no further; `who` the caller."""

    method: str
    path: str
    query: dict[str, str]
    authorization: str
    entry: Entry
    who: str = ""
    refused: MockReply | None = None
    more: dict[str, Any] = field(default_factory=dict)


class _Watched(Journal):
    """Tells when a call has ended, however it did."""

    ended: Callable[[Entry], None] = staticmethod(lambda _: None)

    def finish(self, entry: Entry, status: int, at: int, fault: str = "") -> None:
        super().finish(entry, status, at, fault)
        self.ended(entry)


class Service(ABC):
    """State and rules of one platform."""

    def __init__(self, config: Any, clock: Clock | None = None) -> None:
        self.config = config
        self.url = ""
        self.clock: Clock = clock or SystemClock()
        self.faults = Faults(config.seed)
        for rule in config.faults:
            self.faults.add(rule)
        self.acts: dict[tuple[str, str], Act] = {}
        self.forget()

    def forget(self) -> None:
        """Start anew: nothing stored, nothing counted; limits and faults stay."""
        self.journal = _Watched(self.config.journal)
        self.journal.ended = self.ended
        self.refused: Counter[str] = Counter()

    # -- what a platform says

    @abstractmethod
    def admit(self, came: Came) -> MockReply | None:
        """Count a call; its refusal, if it goes no further."""

    @abstractmethod
    def work(self, came: Came, body: bytes) -> MockReply:
        """Do it."""

    @abstractmethod
    def worded(self, status: int) -> MockReply:
        """A made-up error with that status, as the platform words it."""

    def told(self, came: Came) -> Mapping[str, str]:
        """Header fields of every reply to an accepted caller."""
        del came
        return {}

    def ended(self, entry: Entry) -> None:  # noqa: B027  # most have nothing to do
        """A call is over."""

    def extras(self) -> dict[str, Any]:
        """What statistics tell beside what all do."""
        return {}

    # -- the rest

    def arrive(self, method: str, path: str, authorization: str, query: str = "") -> Came:
        """Count one call now."""
        entry = self.journal.arrive(self.clock.monotonic(), method, path)
        asked = {name: values[-1] for name, values in parse_qs(query, keep_blank_values=True).items()}
        came = Came(method, path, asked, authorization.strip(), entry)
        came.refused = self.admit(came)
        return came

    def perform(self, came: Came, body: bytes) -> MockReply:
        """Do the work of a call that was counted; gives its reply with all headers."""
        reply = came.refused or self.work(came, body)
        came.entry.records = reply.records
        self.journal.records += reply.records
        if came.who:
            reply.headers |= self.told(came)
        return reply

    def answer(self, method: str, path: str, authorization: str, body: bytes = b"", query: str = "") -> MockReply:
        """Count and do one request at this moment: for virtual time, without delays and faults of the wire."""
        came = self.arrive(method, path, authorization, query)
        reply = self.perform(came, body)
        self.journal.finish(came.entry, reply.status, self.clock.monotonic())
        return reply

    def limited(self, came: Came, limit: str, reply: MockReply) -> MockReply:
        """A refusal for a rate, counted."""
        came.entry.policy = limit
        self.refused[limit] += 1
        return reply

    def visit(self, authorization: str, calls: int) -> int:
        """So many calls of another app, now; says how many were refused."""
        refused = 0
        for _ in range(calls):
            came = self.arrive("GET", "/", authorization)
            refused += came.refused is not None
            self.journal.finish(
                came.entry, 200 if came.refused is None else came.refused.status, self.clock.monotonic()
            )
        return refused

    def statistics(self) -> dict[str, Any]:
        """Counts since the start; instants in ns of the monotonic clock."""
        journal = self.journal
        return {
            "requests": journal.arrived,
            "answered": journal.answered,
            "in_flight": journal.in_flight,
            "most_in_flight": journal.most_in_flight,
            "by_status": {str(status): count for status, count in sorted(journal.by_status.items())},
            "by_fault": dict(journal.by_fault),
            "rate_limited": sum(self.refused.values()),
            "refused_for": dict(self.refused),
            "records": journal.records,
            "first_arrival": journal.first_arrival,
            "last_arrival": journal.last_arrival,
            "last_reply": journal.last_reply,
            "seconds": (journal.last_arrival - journal.first_arrival) / 1e9,
            "faults": [
                {"kind": rule.kind, "at": rule.at, "seen": rule.seen, "hit": rule.hit} for rule in self.faults.rules
            ],
        } | self.extras()  # fmt: skip


def body_of(body: bytes) -> Any:
    """JSON, None for what is none."""
    try:
        return json.loads(body) if body else {}
    except (ValueError, RecursionError):
        return None


def form_of(body: bytes) -> dict[str, str]:
    """The fields of a form."""
    return {name: values[-1] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}
