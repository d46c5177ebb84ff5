"""Faults by rule, probability and seed: what goes wrong between a client and a platform."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

__all__ = ["KINDS", "Fault", "Faults"]

KINDS = ("status", "reset", "reset_after", "hang", "truncate", "slow")


@dataclass(slots=True)
class Fault:
    """One rule.

    `kind`: "status" (answer `status`, with `retry_after` if set, nothing written), "reset" (the connection is reset
    before the commit), "reset_after" (after it), "hang" (`seconds` without an answer, then a reset; committed),
    "truncate" (half of the body, committed), "slow" (`seconds` later). `path` is a pattern, `method` '' for any.
    `probability` of each matching call; `skip` so many matching calls first, `times` at most (None: no end).
    """

    kind: str
    status: int = 500
    retry_after: str | None = None
    seconds: float = 1.0
    path: str = "*"
    method: str = ""
    probability: float = 1.0
    skip: int = 0
    times: int | None = None
    body: Any = None
    hit: int = 0
    seen: int = 0


@dataclass(slots=True)
class Faults:
    """All rules; the first that applies to a call wins."""

    seed: int = 1
    rules: list[Fault] = field(default_factory=list)
    _rng: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)

    def add(self, rule: Fault) -> None:
        """One more rule; ValueError for an unknown kind."""
        if rule.kind not in KINDS:
            raise ValueError(f"unknown fault {rule.kind!r}: one of {', '.join(KINDS)}")
        self.rules.append(rule)

    def pick(self, method: str, path: str) -> Fault | None:
        """The fault that befalls a call, None for none."""
        for rule in self.rules:
            if (rule.method and rule.method != method) or not fnmatchcase(path, rule.path):
                continue
            rule.seen += 1
            if rule.seen <= rule.skip or (rule.times is not None and rule.hit >= rule.times):
                continue
            if self._rng.random() < rule.probability:
                rule.hit += 1
                return rule
        return None
