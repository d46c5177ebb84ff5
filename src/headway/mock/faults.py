"""Faults by rule, probability and seed: what goes wrong between a client and a platform, or inside it.

Stages of a call: "arrival" (before it is counted against the limits), "before" (counted, nothing written yet), "after"
(counted and written, no byte of the reply sent).
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from headway.errors import UsageError

__all__ = ["KINDS", "STAGES", "Fault", "Faults"]

STAGES = ("arrival", "before", "after")
KINDS = {
    "status": "before",
    "reset": "before",
    "reset_after": "after",
    "hang": "after",
    "slow": "after",
    "drip": "after",
    "truncate": "after",
    "foreign": "arrival",
    "poison": "before",
}
_ENDS = frozenset({"status", "reset", "reset_after", "hang", "truncate"})
_ANYWHERE = frozenset({"status", "reset", "hang", "slow"})
_NAMES = ("no", "id", "trace", "value")


@dataclass(slots=True)
class Fault:
    """One rule; UsageError for what makes no sense.

    What happens, at stage `at` ('' for the usual one of its kind):
    "status": a reply of `status` instead of the real one, with `retry_after` (sent as it is) and `body` (JSON value,
    None for HubSpot's shape of an error); with `at="after"` the work was done all the same. "reset": TCP reset;
    "reset_after": the same after the work. "hang": nothing for `seconds`, then a reset. "slow": `seconds` later, plus
    up to `jitter`; with `at="arrival"` the call waits in a backlog before it is counted. "drip": the reply's body in
    pieces over `seconds`. "truncate": half of the body, then the connection ends. "foreign": another app makes `calls`
    calls at this moment. "poison": a batch with a record whose `prop` holds `value` (a pattern) is refused whole with
    `status` (400 if not given); the reply `names` it by "id", "trace" or "value", or "no".

    To which calls: `method` ('' any), `path` (a pattern: "*/batch/upsert"), the first `skip` matching ones spared, only
    the `nth` ones (numbers from 1 on), or each `every`-th; with `probability`; `times` at most (None: no end).
    """

    kind: str
    status: int = 0
    retry_after: str | None = None
    body: Any = None
    seconds: float = 1.0
    jitter: float = 0.0
    at: str = ""
    calls: int = 1
    prop: str = ""
    value: str = ""
    names: str = "no"
    method: str = ""
    path: str = "*"
    probability: float = 1.0
    skip: int = 0
    nth: tuple[int, ...] = ()
    every: int = 0
    times: int | None = None
    seen: int = 0
    hit: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"unknown fault {self.kind!r}: one of {', '.join(KINDS)}")
        self.at = self.at or KINDS[self.kind]
        allowed = STAGES if self.kind in _ANYWHERE else (KINDS[self.kind],)
        if self.at not in allowed:
            raise UsageError(f"a fault {self.kind!r} cannot happen at {self.at!r}: {' or '.join(allowed)}")
        if self.names not in _NAMES:
            raise UsageError(f"a poison record is named by one of {', '.join(_NAMES)}, not {self.names!r}")
        if self.kind == "poison" and not self.prop:
            raise UsageError("a poison fault needs prop, the property that holds the poison, and value")
        self.status = self.status or (400 if self.kind == "poison" else 500)
        if not 200 <= self.status <= 599:
            raise UsageError(f"a fault cannot answer with status {self.status}")
        if not 0 <= self.probability <= 1 or self.seconds < 0 or self.jitter < 0:
            raise UsageError("a fault's probability lies between 0 and 1, its seconds and jitter are not negative")
        self.retry_after = None if self.retry_after is None else str(self.retry_after)
        self.nth = tuple(self.nth)

    @property
    def spent(self) -> bool:
        """Whether it will never happen again."""
        return self.times is not None and self.hit >= self.times

    def due(self, chance: float) -> bool:
        """Whether it befalls the next matching call, given a number drawn from 0 to 1."""
        self.seen += 1
        if self.spent or self.seen <= self.skip or chance >= self.probability:
            return False
        counted = self.seen - self.skip
        if (self.nth and counted not in self.nth) or (self.every and counted % self.every):
            return False
        self.hit += 1
        return True


@dataclass(slots=True)
class Faults:
    """All rules; of those that decide how a call ends the first that applies befalls it, the others add up."""

    seed: int = 1
    rules: list[Fault] = field(default_factory=list)
    _rng: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._rng = random.Random(f"faults-{self.seed}")

    def add(self, rule: Fault) -> None:
        """One more rule."""
        self.rules.append(rule)

    def pick(self, method: str, path: str) -> tuple[Fault, ...]:
        """The faults that befall a call, in order of the rules; poisons are not among them."""
        picked: list[Fault] = []
        ended = False
        for rule in self.rules:
            ends = rule.kind in _ENDS
            if rule.kind == "poison" or (ends and ended) or not _matches(rule, method, path):
                continue
            if rule.due(self._rng.random()):
                picked.append(rule)
                ended = ended or ends
        return tuple(picked)

    def poison(self, method: str, path: str, inputs: Iterable[Any]) -> tuple[Fault, list[Any]] | None:
        """The first poison that a batch holds, with its guilty inputs."""
        for rule in self.rules:
            if rule.kind != "poison" or rule.spent or not _matches(rule, method, path):
                continue
            guilty = [each for each in inputs if _poisoned(rule, each.properties)]
            if guilty and rule.due(self._rng.random()):
                return rule, guilty
        return None


def _matches(rule: Fault, method: str, path: str) -> bool:
    return (not rule.method or rule.method == method) and fnmatchcase(path, rule.path)


def _poisoned(rule: Fault, properties: Any) -> bool:
    value = (properties or {}).get(rule.prop)
    return value is not None and fnmatchcase(str(value), rule.value)
