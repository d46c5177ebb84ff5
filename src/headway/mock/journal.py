"""What the mock saw: every request with its arrival and its end, and counts since the start."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Entry", "Journal"]


@dataclass(slots=True)
class Entry:
    """One request. `at` and `done` are nanoseconds of the mock's monotonic clock (the machine's, if never advanced).

    `at` is the instant at which it was counted; `status` 0 while it is unanswered, 499 if the client went away before
    its body was there; `app` the number of its token in order of appearance, 0 if none was accepted.
    """

    number: int
    at: int
    method: str
    path: str
    app: int = 0
    status: int = 0
    records: int = 0
    policy: str = ""
    fault: str = ""
    done: int = 0

    def told(self) -> dict[str, Any]:
        """As JSON."""
        return {name: getattr(self, name) for name in Entry.__slots__}


@dataclass(slots=True)
class Journal:
    """The latest `size` requests and counts of all of them."""

    size: int
    entries: deque[Entry] = field(init=False)
    arrived: int = 0
    answered: int = 0
    write_calls: int = 0
    records: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    first_arrival: int = 0
    last_arrival: int = 0
    last_reply: int = 0
    by_status: Counter[int] = field(default_factory=Counter)
    by_fault: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.entries = deque(maxlen=self.size)

    def arrive(self, at: int, method: str, path: str) -> Entry:
        """A request is here."""
        self.arrived += 1
        self.first_arrival = self.first_arrival or at
        self.last_arrival = at
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        entry = Entry(self.arrived, at, method, path)
        if self.size:
            self.entries.append(entry)
        return entry

    def finish(self, entry: Entry, status: int, at: int, fault: str = "") -> None:
        """A request is answered, or its connection ended (status 0)."""
        entry.status, entry.done = status, at
        self.in_flight -= 1
        self.answered += 1
        self.last_reply = at
        if status:
            self.by_status[status] += 1
        if fault:
            entry.fault = fault
            self.by_fault[fault] += 1

    def after(self, number: int, most: int) -> list[dict[str, Any]]:
        """Up to `most` requests that came after the one of this number."""
        found = [each.told() for each in self.entries if each.number > number]
        return found[:most]
