"""The thin line between a world in virtual time and the limiter it tests: all that knows the limiter's insides."""

from __future__ import annotations

import json
from collections.abc import Collection
from functools import partial
from typing import Any
from unittest import mock

from headway import Bucket, Concurrency, Limiter, Quota, Window
from headway.errors import HeadwayError
from headway.limiter import admission
from headway.limiter.permit import Permit
from headway.limiter.state import member as members
from headway.limits.headers import Remaining
from headway.limits.sharing.exchange import exchange, keys
from headway.limits.sharing.learned import LearnedAsk
from headway.limits.ticket import HANDED
from tests.limits.books import Spec

__all__ = ["Driver", "Keeper", "Waiting", "numbered", "word"]


def numbered(requests: Any) -> bool:
    """Whether the answer tells how new the state is, and what is paused: not if they only ask what was learned."""
    return any(not isinstance(each.ask, LearnedAsk) for each in requests)


def word(spec: Spec, amount: int, remaining: int) -> Remaining:
    """What a reply says is left of a limit."""
    return Remaining("daily" if spec.kind in {"quota", "slots"} else "window", amount, remaining, None, name=spec.name)


def limit_of(spec: Spec) -> Any:
    """The limit as the limiter's user writes it."""
    if spec.kind == "window":
        return Window(spec.amount, spec.per, spec.name, arrival_bound=spec.bound, lag=spec.lag)
    if spec.kind == "slots":
        return Quota(spec.amount, per=spec.per, name=spec.name)
    if spec.kind == "bucket":
        return Bucket(spec.rate, spec.amount, spec.name)
    if spec.kind == "quota":
        return Quota(spec.amount, "hourly", name=spec.name, skew=spec.skew)
    return Concurrency(spec.amount, spec.longer_than, spec.name, spec.margin)


class _Poller:
    """Stands for the thread that asks: the world asks itself."""

    def join(self, member: object) -> None:
        pass

    nudge = leave = note = lambda *_: None


def _poller_for(_url: str) -> _Poller:
    return _Poller()


class _Alarm:
    """Stands for the timers: the limiter keeps the instant at which to poll, the world goes there."""

    def joined(self, loop: object) -> None:
        pass

    def set(self) -> None:
        pass


class _Supervisor:
    """Stands for the thread that looks once a second: the world does."""

    def watch(self, limiter: object) -> None:
        pass


_SUPERVISOR = _Supervisor()


class Waiting:
    """A caller that waits."""

    def __init__(self, permit: Permit) -> None:
        self.permit: Permit | None = permit  # until it is handed out: nothing else may keep a permit alive
        self.woken = False

    def wake(self) -> None:
        self.woken = True

    def listening(self) -> bool:
        return True

    def gone(self) -> bool:
        return False


class Driver:
    """One process's limiter, without threads."""

    def __init__(
        self, specs: list[Spec], clock: Any, number: int, *, shared: bool, ttl: float, fresh: bool, **options: Any
    ):
        with (
            mock.patch.object(members, "poller_for", _poller_for),
            mock.patch.object(members.process, "holder_id", partial(str, f"p{number}")),
        ):
            self.limiter = Limiter(
                *[limit_of(spec) for spec in specs], clock=clock, name="world", ttl=ttl, fresh=fresh,
                state="none" if shared else None, **options,
            )  # fmt: skip
        self.limiter._alarm = _Alarm()  # type: ignore[assignment]
        self.member: Any = self.limiter._member
        self.name = f"p{number}"

    @property
    def wake(self) -> int | None:
        """When to poll next, by the process's clock."""
        return self.limiter._wake if self.limiter._gate.active else None

    def try_take(self, cost: Any, priority: str, limits: frozenset[str] | None) -> Permit | None:
        """A permit now or never."""
        permit = self.limiter.permit(cost, priority=priority, limits=limits)
        return permit if self.limiter._admit(permit) or self.limiter._try_among_others(permit) else None

    def queue(self, cost: Any, priority: str, limits: frozenset[str] | None) -> Waiting:
        """Take a permit, or begin to wait for it."""
        permit = self.limiter.permit(cost, priority=priority, limits=limits)
        waiting = Waiting(permit)
        if self.limiter._admit(permit):
            waiting.woken = True
            return waiting
        threads = admission.supervisor
        admission.supervisor = lambda: _SUPERVISOR  # type: ignore[assignment, return-value]
        try:
            self.limiter._queue(permit, waiting, None)
        finally:
            admission.supervisor = threads
        return waiting

    def collect(self, waiting: Waiting) -> Permit:
        """The permit of a waiter that was woken."""
        permit, waiting.permit = waiting.permit, None
        assert permit is not None
        if permit.stage == HANDED:
            self.limiter._collect(permit, None)
        return permit

    def abandon(self, waiting: Waiting) -> None:
        """The caller is gone."""
        assert waiting.permit is not None
        self.limiter._abandon(waiting.permit)

    def poll(self) -> None:
        """The timer fired."""
        self.limiter._poll()

    def tick(self) -> None:
        """The supervisor looks."""
        self.limiter._tick()

    @property
    def waiting(self) -> int:
        """Callers that wait, as the limiter counts."""
        return self.limiter._gate.waiting

    def due(self) -> int | None:
        """When to ask the keeper, by the process's clock."""
        at: int | None = self.member.due()
        return at

    def ask(self) -> tuple[int, Any]:
        """What to ask the keeper, and the instant of asking."""
        asked: tuple[int, Any] = self.member.requests()
        return asked

    def answer(self, answers: Any, asked: int) -> None:
        """The keeper's answer is here."""
        self.member.apply(answers, asked)

    def failed(self) -> None:
        """No answer came."""
        self.member.failed(HeadwayError("the state is out of reach"))

    def leave(self) -> None:
        """Close: the last request is to be sent."""
        self.limiter.close()
        self.member.prepare_to_leave()


class Keeper:
    """The shared state: applies the pure exchange to bodies in memory, by a clock of its own."""

    def __init__(self) -> None:
        self.bodies: dict[str, str] = {}
        self.lost_at = 0
        self._epochs = 0

    def exchange(self, requests: Any, now: int, wall: int, dead: Collection[str]) -> Any:
        """Answer one holder's requests in one go."""
        self._epochs += 1
        before = {key: self.bodies.get(key) for key in keys(requests)}
        written, answers = exchange(
            before, requests, now, wall, new_epoch=f"e{self._epochs}", dead=dead.__contains__, lost_at=self.lost_at
        )
        self.bodies.update(written)
        return answers

    def lose(self, now: int) -> None:
        """The state is gone."""
        self.lost_at = now if self.bodies else self.lost_at
        self.bodies.clear()

    def copy(self) -> Any:
        """A backup."""
        return dict(self.bodies)

    def restore(self, bodies: Any, now: int) -> None:
        """An old copy comes back."""
        self.bodies, self.lost_at = dict(bodies), now

    def knows(self, name: str, amount: int) -> bool:
        """Whether somebody has told that the platform allows no more than `amount`."""
        learned = [json.loads(body).get("learned", {}) for body in self.bodies.values()]
        return any(said.get(name, {}).get("amount", amount + 1) <= amount for said in learned)

    def _pools(self) -> list[tuple[str, Any]]:
        found = []
        for key, body in self.bodies.items():
            pool = json.loads(body)
            if "claimed" in pool:
                found.append((key, pool))
        return found

    def trouble(self) -> str:
        """'' or how the books do not balance."""
        for key, pool in self._pools():
            unopened = pool["amount"] - pool["claimed"] if pool["open_at"] else 0
            lent = sum(holder[0] for holder in pool["holders"].values())
            total = pool["free"] + sum(places for _, places in pool["cool"]) + lent + unopened
            if total != pool["amount"]:
                return f"the state's places of {key!r} do not add up: {total} of {pool['amount']}: {pool}"
        return ""

    def lingering(self, now: int) -> str:
        """'' or what still cools."""
        for key, pool in self._pools():
            cool = [each for each in pool["cool"] if each[0] > now]
            if cool:
                return f"{key!r}: {cool}"
        return ""
