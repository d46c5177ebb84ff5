"""What every platform offers the engine: batching and the meaning of replies. No input or output happens here.

A connector knows one kind of object in one mode, by one key. How its records travel is a `Delivery`: one call for each
batch, or a job of several calls, whose course a `Machine` decides. A platform with several ways offers them by name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from headway.delivery.outcome import Outcome, Rejected, Verdict
from headway.delivery.records import Call, Record, Reply

__all__ = [
    "Connector",
    "Delivery",
    "Forecast",
    "Heard",
    "Identity",
    "Machine",
    "OneCall",
    "Pace",
    "RowChecker",
    "Schema",
    "Shaper",
    "SingleCalls",
    "Step",
    "alike",
    "object_of",
]

RowChecker = Callable[[Mapping[str, object]], Rejected | None]
Shaper = Callable[[Mapping[str, object]], Mapping[str, object]]


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


# -- deliveries of several calls

State = dict[str, Any]
"""How far a job is, as JSON: what its machine needs to go on after a crash."""


@dataclass(frozen=True, slots=True)
class Step:
    """A job's next call: to be sent after `wait` seconds; `name` is for people."""

    call: Call
    name: str
    wait: float = 0.0


@dataclass(frozen=True, slots=True)
class Heard:
    """What a reply changed. With a verdict the job is over.

    `outcomes`: what is known of some records already, by id; the verdict is on the others. `light`: the payloads are
    needed no more.
    """

    state: State
    verdict: Verdict | None = None
    light: bool = False
    outcomes: Mapping[int, Outcome] = field(default_factory=dict)


class Machine(Protocol):
    """A job's course, as a pure function of its state and of what was heard."""

    def begin(self, records: Sequence[Record]) -> State:
        """The state before the first call."""

    def step(self, state: State, records: Sequence[Record]) -> Step:
        """The next call."""

    def meaning(self, reply: Reply) -> Outcome | None:
        """RateLimited, CredentialsRejected or Transient where the reply says nothing of the job; else None."""

    def heard(self, state: State, records: Sequence[Record], reply: Reply) -> Heard:
        """The reply to the last step."""

    def unheard(self, state: State, records: Sequence[Record]) -> Heard:
        """The last step may have been done or not: its reply was lost, or we were."""


def alike(records: Sequence[Record], outcome: Outcome, status: int = 0) -> Verdict:
    """The same outcome for every record."""
    return Verdict((outcome,) * len(records), status)


def object_of(reply: Reply) -> dict[str, Any]:
    """The JSON object in a reply; empty where there is none."""
    try:
        said = json.loads(reply.body)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


# -- one way of travelling


class Delivery(Protocol):
    """One way in which records travel.

    `batch_size` and `batch_bytes` of a delivery, each record with `overhead` bytes beside payload and key;
    `repeatable`: whether a call whose outcome is unknown may be sent again; `via`: its name, '' where there is but one;
    `jobs`: how many jobs may be open at once, 0 where every delivery is one call;
    `serial`: whether the platform works on them one after the other; `lanes`: over how many calls at once the last
    records are spread, where calls cost nothing but time; 0 where they are to be few.
    """

    @property
    def via(self) -> str: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def batch_bytes(self) -> int: ...
    @property
    def overhead(self) -> int: ...
    @property
    def repeatable(self) -> bool: ...
    @property
    def jobs(self) -> int: ...
    @property
    def serial(self) -> bool: ...
    @property
    def lanes(self) -> int: ...

    def call(self, records: Sequence[Record]) -> Call:
        """One call for these records; without any, one that tells the limits of all."""

    def verdict(self, records: Sequence[Record], reply: Reply) -> Verdict:
        """One outcome per record, in order."""

    def machine(self, records: int) -> Machine | None:
        """The course of a job for so many records; None where they travel in one call."""

    def forecast(self, jobs: Sequence[int], pace: Pace | None, trip: float) -> Forecast:
        """What jobs of so many records each take.

        `pace`: what was seen of the platform before, None if nothing; `trip`: seconds of a call.
        """


@dataclass(frozen=True, slots=True)
class Pace:
    """What was seen of a destination's jobs: records a second that it worked off, calls that a job took."""

    records: float
    calls: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """Calls, and seconds from the first to the end of the last."""

    calls: float
    seconds: float


class SingleCalls:
    """A delivery that is always one call."""

    via = ""
    overhead = 128
    jobs = 0
    serial = False
    lanes = 0

    def machine(self, records: int) -> Machine | None:
        """Never a job."""
        del records
        return None

    def forecast(self, jobs: Sequence[int], pace: Pace | None, trip: float) -> Forecast:
        """Nothing, for nothing."""
        del jobs, pace, trip
        return Forecast(0, 0.0)


class OneCall(SingleCalls):
    """What most connectors have in common: rows with keys that travel, in any company, as they are."""

    keyed = True
    key_travels = True
    vias: tuple[str, ...] = ()

    def group(self, values: Mapping[str, object]) -> str:
        """All records may share a call."""
        del values
        return ""

    def validation(self, records: Sequence[Record]) -> Call | None:
        """The platform has nothing to validate records with."""
        del records
        return None

    def validated(self, records: Sequence[Record], reply: Reply) -> Sequence[str]:
        """Never asked."""
        del records, reply
        return ()

    def known_schema(self) -> Schema | None:
        """Every account has its own."""
        return None

    def shaper(self, schema: Schema | None) -> Shaper | None:
        """Payloads travel as they are."""
        del schema
        return None


class Connector(Protocol):
    """Deliveries of one kind of object in one mode, by one key.

    `key_travels`: whether the key property is written as well (an identifier of the platform's own is not); `keyed`:
    whether rows need a key; `vias`: the names of its ways.
    """

    @property
    def platform(self) -> str: ...
    @property
    def object_type(self) -> str: ...
    @property
    def mode(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def key_travels(self) -> bool: ...
    @property
    def keyed(self) -> bool: ...
    @property
    def vias(self) -> tuple[str, ...]: ...

    def normalise_key(self, key: str) -> str:
        """The record's identity in the destination."""

    def group(self, values: Mapping[str, object]) -> str:
        """What may share a call: records of one group only."""

    def shaper(self, schema: Schema | None) -> Shaper | None:
        """Turns a row's values into what travels; None where they travel as they are."""

    def delivery(self, records: int, via: str | None = None) -> Delivery:
        """How so many records travel, or by the way that is named; raises UsageError for an unknown one."""

    def schema_call(self) -> Call | None:
        """The call that reads the schema; None where there is none to read."""

    def schema(self, reply: Reply) -> Schema:
        """Raises CredentialsError, MappingError (unknown object) or PlatformError."""

    def cached_schema(self, data: bytes) -> Schema:
        """A schema from `to_bytes`."""

    def known_schema(self) -> Schema | None:
        """The schema where it is the same for everybody and need not be read."""

    def validation(self, records: Sequence[Record]) -> Call | None:
        """A call that checks records and writes nothing; None where the platform offers none."""

    def validated(self, records: Sequence[Record], reply: Reply) -> Sequence[str]:
        """What is wrong, in sentences for the user to read, from the reply to it; empty if nothing is."""
