"""Carries records through a job: each of its calls under a permit of its own, its state in the store before each.

Rules:
* Before a call goes out the store knows that it may have; after its reply, what it said. Whoever goes on after a crash
  treats a call that was under way like one whose reply was lost.
* Nothing is given up that may have been done: a job that cannot be heard of for too long ends the run, resumable, and
  stays open.
* A stop leaves a job where it stands: it belongs to the store, and `resume` takes it up.
* All that a job's end says of its records is settled in one transaction.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from headway import redact
from headway.accounts.waiting import Parked
from headway.delivery.outcome import CredentialsRejected, RateLimited, Transient, Verdict
from headway.delivery.records import Reply
from headway.engine.dispositions import blame
from headway.engine.model import Ended, Ending
from headway.errors import TransportError
from headway.limiter.permit import Permit
from headway.platforms.connector import Heard, Machine, State, Step
from headway.stores.model import Claim, Job, Retry

if TYPE_CHECKING:
    from headway.engine.engine import Engine

__all__ = ["Carrier", "Kept"]

_LONGEST = 60.0


class Kept(msgspec.Struct):
    """A job as the store keeps it: the machine's state, and whether its next call was under way."""

    state: State
    sending: bool = False
    began: float = 0.0


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Kept).decode


class Carrier:
    """One job's way. `job` is None for one that begins."""

    def __init__(self, engine: Engine, machine: Machine, claim: Claim, job: Job | None = None) -> None:
        self._engine = engine
        self._machine = machine
        self._claim = claim
        self._failures = 0
        self._since: float | None = None
        self._given: float | None = None
        self._calls = 0
        self._waited = 0.0
        if job is None:
            kept = Kept(machine.begin(claim.records), began=engine._wall())
            self._job = engine._store.create_job(engine._run, claim, _encode(kept))
        else:
            self._job, kept = job, _decode(job.payload)
        self._kept = kept

    async def carry(self, permit: Permit | None) -> None:
        """Until the job is over, or the engine ends; the first call may go under a permit that is there already."""
        machine, kept = self._machine, self._kept
        if kept.sending and self._take_up(machine.unheard(kept.state, self._claim.records)):
            return
        while True:
            step = machine.step(self._kept.state, self._claim.records)
            if permit is None:
                permit = await self._permit(step)
            if permit is None:
                return
            try:
                over = await self._call(step, permit)
            finally:
                if not permit.over:
                    permit.cancel()
            if over:
                self._engine.tally.jobs += 1
                self._engine.tally.job_calls += self._calls
                return
            permit = None

    # -- one call

    async def _permit(self, step: Step) -> Permit | None:
        """After the step's wait, and that for what failed before; None when the engine is to end."""
        engine = self._engine
        assert engine._stop is not None
        wait = step.wait
        if self._failures:
            wait = max(wait, min(_LONGEST, float(1 << min(10, self._failures - 1))) * (0.5 + engine._rng.random() / 2))
        if wait > 0:
            await asyncio.wait((engine._stop,), timeout=wait)
        if engine._over():
            return None
        got = await engine._permits.take(engine._stop, step.call.cost, engine._link.limits_for(step.call))
        if isinstance(got, Parked):
            engine._end(Ended(Ending.QUOTA, got.reason, got.until))
            return None
        return got

    async def _call(self, step: Step, permit: Permit) -> bool:
        """Send one call and take up what its reply says; True when the job is over."""
        engine, tally = self._engine, self._engine.tally
        self._save(sending=True)
        tally.requests += 1
        self._calls += 1
        now = engine._now()
        tally.first_sent = tally.first_sent or now
        used = engine._link.generation
        try:
            reply = await engine._link.send(step.call, permit, len(self._claim.records), step.name)
        except TransportError as error:
            tally.requests -= not error.sent
            self._failed(str(error))
            if error.sent:
                return self._take_up(self._machine.unheard(self._kept.state, self._claim.records))
            self._save(sending=False)
            return False
        tally.last_reply = engine._now()
        self._waited = step.wait
        try:
            return await self._understand(reply, permit, used)
        finally:
            permit.settle()

    async def _understand(self, reply: Reply, permit: Permit, used: int) -> bool:
        engine, machine = self._engine, self._machine
        meaning = machine.meaning(reply)
        if isinstance(meaning, RateLimited):
            engine.tally.rate_limited += 1
            permit.rejected(meaning.limit, meaning.retry_after)
            self._save(sending=False)
            return False
        if isinstance(meaning, CredentialsRejected):
            self._save(sending=False)
            permit.settle()
            if not (reply.status == 401 and await engine._renewed(used)):
                engine._end(Ended(Ending.CREDENTIALS, redact.text(meaning.message or meaning.code)))
            return False
        if isinstance(meaning, Transient):
            self._failed(f"{meaning.code}: {meaning.message}")
            heard = machine.unheard(self._kept.state, self._claim.records)
        else:
            self._failures, self._since = 0, None
            engine._breaker.succeeded()
            heard = machine.heard(self._kept.state, self._claim.records, reply)
        return self._take_up(heard)

    def _failed(self, what: str) -> None:
        engine = self._engine
        now = engine._now()
        self._failures += 1
        self._since = now if self._since is None else self._since
        engine._breaker.failed(now, engine._rng.random(), self._claim.records[0].id)
        if now - self._since > engine._settings.patience:
            told = redact.text(what)
            engine._end(Ended(Ending.UNREACHABLE, f"{engine._link.name} says nothing useful of a job: {told}"))

    # -- what it means

    def _take_up(self, heard: Heard) -> bool:
        """Note how far the job is; settle its records when it is over."""
        self._clock(heard.state)
        self._kept.state = heard.state
        if heard.outcomes and self._settle_some(heard):
            return True
        if heard.light:
            self._engine._lightened()
            light = tuple(replace(record, payload=b"") for record in self._claim.records)
            self._claim = replace(self._claim, records=light)
        if heard.verdict is None:
            self._save(sending=False)
            return False
        self._settle(heard.verdict)
        return True

    def _clock(self, state: State) -> None:
        """How long the platform works on the job: for plans to come."""
        tally, now = self._engine.tally, self._engine._now()
        if state["at"] == "poll":
            if self._given is None:
                self._given = now
                tally.job_first = tally.job_first or now
        elif self._given is not None:
            tally.job_records += len(self._claim.records)
            tally.job_seconds += max(0.001, now - self._given - self._waited / 2)
            tally.job_last = now - self._waited / 2
            self._given = None

    def _settle_some(self, heard: Heard) -> bool:
        """What is known of some records; True when it is all of them."""
        known = [record for record in self._claim.records if record.id in heard.outcomes]
        rest = tuple(record for record in self._claim.records if record.id not in heard.outcomes)
        if known:
            verdict = Verdict(tuple(heard.outcomes[record.id] for record in known))
            self._engine._finish(replace(self._claim, records=tuple(known)), verdict, more=bool(rest))
        self._claim = replace(self._claim, records=rest)
        return not rest

    def _settle(self, verdict: Verdict) -> None:
        engine = self._engine
        reason = blame(verdict)
        if reason is None:
            engine._finish(self._claim, verdict)
            return
        code, message = reason
        back = [Retry(record.id, 0.0, code, message, record.part, counted=False) for record in self._claim.records]
        engine._store.finish(engine._run, self._claim, back, status=verdict.status, code=code, message=message,
            request_id="",
        )  # fmt: skip
        engine._end(Ended(Ending.MAPPING, f"the destination refuses the mapping: {message or code}"))

    def _save(self, *, sending: bool) -> None:
        self._kept.sending = sending
        self._engine._store.update_job(self._job, _encode(self._kept))
