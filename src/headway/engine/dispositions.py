"""From a verdict to what the store is told: pure.

Rules:
* A record at fault is dead at once; a rate limit, a refused batch and a call that certainly was not sent never use up
  a try.
* A whole batch that is refused without naming a record goes again in two halves, each a part of its own. A part is
  named after its first record: halves of halves never share it, for the larger one no longer exists.
* What cannot be repeated safely is dead (OUTCOME_UNKNOWN) rather than sent twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from headway.delivery.outcome import (
    CredentialsRejected,
    Delivered,
    MappingFault,
    Outcome,
    RateLimited,
    Rejected,
    SplitNeeded,
    Transient,
    Verdict,
)
from headway.delivery.records import Record
from headway.delivery.retry import RetryAt, RetryPolicy
from headway.stores.model import OUTCOME_UNKNOWN, Dead, Disposition, Done, Retry

__all__ = ["NOT_SENT", "NO_REPLY", "Settled", "blame", "settle"]

NOT_SENT = "NOT_SENT"
NO_REPLY = "NO_REPLY"


@dataclass(frozen=True, slots=True)
class Settled:
    """One call's meaning for its records. `code` and `message` are the first trouble's, '' if there was none."""

    dispositions: Sequence[Disposition]
    delivered: int
    dead: int
    retried: int
    code: str = ""
    message: str = ""


def settle(
    records: Sequence[Record],
    verdict: Verdict,
    *,
    now: float,
    jitter: float,
    policy: RetryPolicy,
    repeatable: bool,
    counted: bool = True,
) -> Settled:
    """What becomes of each record.

    `now` in Unix seconds, `jitter` in [0, 1); `counted` is False while the destination as a whole fails: then a
    transient failure uses up no try.
    """
    outcomes = verdict.outcomes
    assert len(outcomes) == len(records)
    done = [
        Done(record.id, outcome.remote_id)
        for record, outcome in zip(records, outcomes, strict=True)
        if type(outcome) is Delivered
    ]
    if len(done) == len(records):
        return Settled(done, len(done), 0, 0)
    decide = _Decider(now, jitter, policy, repeatable, counted, _halves(records, outcomes))
    dispositions: list[Disposition] = list(done)
    first: Outcome | None = None
    dead = 0
    for record, outcome in zip(records, outcomes, strict=True):
        if type(outcome) is Delivered:
            continue
        first = first or outcome
        disposition = decide(record, outcome)
        dead += isinstance(disposition, Dead)
        dispositions.append(disposition)
    assert first is not None
    assert not isinstance(first, Delivered)
    retried = len(records) - len(done) - dead
    return Settled(dispositions, len(done), dead, retried, first.code, first.message)


def blame(verdict: Verdict) -> tuple[str, str] | None:
    """The one reason (code, message) for which a reply blames the mapping for the whole batch; else None."""
    reasons = {
        (outcome.code, outcome.message) if isinstance(outcome, MappingFault) else None for outcome in verdict.outcomes
    }
    return reasons.pop() if len(reasons) == 1 else None


def _halves(records: Sequence[Record], outcomes: Sequence[Outcome]) -> dict[int, int]:
    """The part of each record that must be sent in a smaller batch."""
    refused = [
        record.id
        for record, outcome in zip(records, outcomes, strict=True)
        if isinstance(outcome, SplitNeeded | MappingFault)
    ]
    middle = (len(refused) + 1) // 2
    parts: dict[int, int] = {}
    for half in (refused[:middle], refused[middle:]):
        parts |= dict.fromkeys(half, half[0] if half else 0)
    return parts


class _Decider:
    """Decides record by record."""

    __slots__ = ("_counted", "_halves", "_jitter", "_now", "_policy", "_repeatable")

    def __init__(
        self, now: float, jitter: float, policy: RetryPolicy, repeatable: bool, counted: bool, halves: dict[int, int]
    ) -> None:
        self._now = now
        self._jitter = jitter
        self._policy = policy
        self._repeatable = repeatable
        self._counted = counted
        self._halves = halves

    def __call__(self, record: Record, outcome: Outcome) -> Disposition:
        if isinstance(outcome, Rejected):
            return Dead(record.id, outcome.code, outcome.message)
        if isinstance(outcome, Transient):
            return self._transient(record, outcome)
        assert not isinstance(outcome, Delivered)
        if isinstance(outcome, RateLimited | CredentialsRejected):
            return Retry(record.id, 0.0, outcome.code, outcome.message, record.part, counted=False)
        if len(self._halves) == 1:  # alone, and still refused: it is the one at fault
            return Dead(record.id, outcome.code, outcome.message)
        return Retry(record.id, 0.0, outcome.code, outcome.message, self._halves[record.id], counted=False)

    def _transient(self, record: Record, outcome: Transient) -> Disposition:
        unknown = outcome.applied
        if unknown and not self._repeatable:
            return Dead(
                record.id, OUTCOME_UNKNOWN,
                f"{outcome.message or outcome.code}: it may have arrived, and sending it twice could make two",
            )  # fmt: skip
        if outcome.code == "BATCH_REJECTED":
            return Retry(record.id, 0.0, outcome.code, outcome.message, record.part, counted=False)
        decision = self._policy.decide(record.attempts, self._now, self._jitter, outcome.retry_after)
        if isinstance(decision, RetryAt):
            counted = self._counted and outcome.code != NOT_SENT
            return Retry(
                record.id, decision.when, outcome.code, outcome.message, record.part, counted=counted, unknown=unknown
            )
        if outcome.code == NOT_SENT or not self._counted:
            return Retry(
                record.id, self._now, outcome.code, outcome.message, record.part, counted=False, unknown=unknown
            )
        return Dead(record.id, outcome.code or NO_REPLY, f"{outcome.message} ({decision.reason})".strip())
