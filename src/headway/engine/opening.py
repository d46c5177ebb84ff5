"""The first two batches of a session: one after the other, before anything else is sent.

Rules:
* A reply that blames the mapping for a whole batch is not believed alone, and not split: another batch is asked, or,
  where there is none, the halves of the same.
* Where the first batch is so large that the guard has judged it, and any of it was delivered, the rest need not wait
  for a second reply: the mapping is not to blame for everything.
* If both are refused entirely for one reason, everything goes back untouched and the run is paused: at most three
  calls were made. Otherwise the first was an accident of its records, and is split like any.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from headway.delivery.outcome import Delivered, Transient, Verdict
from headway.delivery.records import Record
from headway.engine.dispositions import blame
from headway.engine.model import INTERRUPTED, Ended, Ending
from headway.stores.model import Claim

if TYPE_CHECKING:
    from headway.engine.engine import Engine, Got

__all__ = ["open_run"]

_Reason = tuple[str, str]
_NOT_TRIED = Transient("BATCH_REJECTED", "refused for another record, not tried alone", applied=False)


async def open_run(engine: Engine) -> None:
    """Send two batches; returns when the rest may go, or when the engine has ended."""
    for _ in range(2):
        got = await engine._obtain()
        if got is None:
            return
        permit, claim = got
        verdict = await engine._attempt(permit, claim.records)
        reason = blame(verdict)
        if reason is not None and engine._ended is None:
            await _confirm(engine, claim, verdict, reason)
            return
        engine._finish(claim, verdict)
        seen = engine.tally.delivered + engine.tally.dead
        if seen >= engine._settings.judged_after and any(isinstance(each, Delivered) for each in verdict.outcomes):
            return


async def _confirm(engine: Engine, claim: Claim, verdict: Verdict, reason: _Reason) -> None:
    """Ask once more, with other records if there are any."""
    other = await _another(engine)
    if other is not None:
        permit, second = other
        again = await engine._attempt(permit, second.records)
        if blame(again) == reason:
            _give_back(engine, (claim, second), reason)
            return
        engine._finish(second, again)
        engine._finish(claim, verdict)
        return
    if len(claim.records) == 1:
        _give_back(engine, (claim,), reason)
        return
    halves = await _halves(engine, claim.records)
    if all(blame(half) == reason for half in halves):
        _give_back(engine, (claim,), reason)
        return
    outcomes = [outcome for half in halves for outcome in half.outcomes]
    engine._finish(claim, Verdict(tuple(outcomes), halves[-1].status, halves[-1].request_id))


async def _another(engine: Engine) -> Got | None:
    """A permit and a batch, if one is ready now."""
    ready = engine._store.next_ready(engine._run)
    if ready is None or ready > engine._wall():
        return None
    permit = await engine._permit()
    if permit is None:
        return None
    claim = engine._claim()
    if claim is None:
        permit.cancel()
        return None
    return permit, claim


async def _halves(engine: Engine, records: Sequence[Record]) -> list[Verdict]:
    """The verdicts on both halves of a batch; on one that could not be tried any more, that it was refused before."""
    middle = (len(records) + 1) // 2
    verdicts: list[Verdict] = []
    for half in (records[:middle], records[middle:]):
        permit = await engine._permit()
        if permit is None:
            engine._end(INTERRUPTED)
            verdicts.append(Verdict((_NOT_TRIED,) * len(half)))
        else:
            verdicts.append(await engine._attempt(permit, half))
    return verdicts


def _give_back(engine: Engine, claims: Sequence[Claim], reason: _Reason) -> None:
    for claim in claims:
        engine._store.unclaim(engine._run, claim)
    code, message = reason
    engine._end(Ended(Ending.MAPPING, f"the destination refuses the mapping: {message or code}"))
