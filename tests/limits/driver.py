"""The thin line between a world in virtual time and the limiter it tests: all that knows the limiter's insides."""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import Any
from unittest import mock

from headway import Bucket, Concurrency, Limiter, Quota, Window
from headway.errors import HeadwayError
from headway.limiter.permit import Permit
from headway.limiter.state import member as members
from headway.limits.gate import Stage
from headway.limits.headers import Remaining
from headway.limits.sharing.lots import exchange_lot
from headway.limits.sharing.places import exchange
from tests.limits.books import Spec

__all__ = ["Driver", "Keeper", "Waiting", "word"]


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

    nudge = leave = lambda *_: None


class _Alarm:
    """Stands for the timers: keeps the instant at which to poll."""

    wake: int | None = None

    def joined(self, loop: object) -> None:
        pass

    def set_for_threads(self, at: int | None) -> None:
        self.wake = at

    set_for_loop = set_for_threads


class Waiting:
    """A caller that waits."""

    def __init__(self) -> None:
        self.ticket: Any = None
        self.woken = False

    def wake(self) -> None:
        self.woken = True


class Driver:
    """One process's limiter, without threads."""

    def __init__(self, specs: list[Spec], clock: Any, number: int, *, shared: bool, ttl: float, fresh: bool, **options: Any):
        with (
            mock.patch.object(members, "poller_for", lambda _: _Poller()),
            mock.patch.object(members, "_holder_id", lambda: f"p{number}"),
        ):
            self.limiter = Limiter(
                *[limit_of(spec) for spec in specs], clock=clock, name="world", ttl=ttl, fresh=fresh,
                state="none" if shared else None, **options,
            )  # fmt: skip
        self._alarm = self.limiter._alarm = _Alarm()  # type: ignore[assignment]
        self.member: Any = self.limiter._membership
        self.name = f"p{number}"

    @property
    def wake(self) -> int | None:
        """When to poll next, by the process's clock."""
        return self._alarm.wake

    def try_take(self, cost: Any, priority: str, limits: frozenset[str] | None) -> Permit | None:
        """A permit now or never."""
        ticket = self.limiter._take(cost, priority, limits)
        return None if ticket is None else Permit(self.limiter, ticket)

    def queue(self, cost: Any, priority: str, limits: frozenset[str] | None) -> Waiting:
        """Begin to wait."""
        waiting = Waiting()
        waiting.ticket = self.limiter._queue(cost, priority, None, limits, waiting, None)
        waiting.woken = waiting.ticket.stage is not Stage.WAITING
        return waiting

    def collect(self, waiting: Waiting) -> Permit:
        """The permit of a waiter that was woken."""
        return self.limiter._collect(waiting.ticket, None, woken=True)

    def abandon(self, waiting: Waiting) -> None:
        """The caller is gone."""
        self.limiter._abandon(waiting.ticket)

    def poll(self) -> None:
        """The timer fired."""
        self.limiter._poll()

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


class Keeper:
    """The shared state: applies the pure exchange to pools in memory, by a clock of its own."""

    def __init__(self) -> None:
        self.pools: dict[str, Any] = {}
        self.suspect = 0
        self._epochs = 0
        self.used = False

    def exchange(self, requests: Any, now: int, wall: int, dead: Collection[str]) -> Any:
        """Answer one holder's requests in one go."""
        answers = []
        for request in requests:
            pool = self.pools.get(request.key)
            answer: Any
            if request.keeping is None:
                gone = {name for name in (pool.lots if pool else ()) if name in dead}
                pool, answer = exchange_lot(pool, request.amount, request.ask, now, dead=gone, first=not self.suspect)
            else:
                keeping = request.keeping
                self._epochs += 1
                first = not self.suspect or now > self.suspect + keeping.ttl + keeping.linger + keeping.per
                gone = {name for name in (pool.holders if pool else ()) if name in dead}
                pool, answer = exchange(
                    pool, keeping, request.ask, now, new_epoch=f"e{self._epochs}", dead=gone, first=first
                )
            self.pools[request.key] = pool
            answers.append(answer)
        self.used = True
        return answers

    def lose(self, now: int) -> None:
        """The state is gone."""
        self.pools.clear()
        self.suspect = now if self.used else 0

    def copy(self) -> Any:
        """A backup."""
        return copy.deepcopy(self.pools)

    def restore(self, pools: Any, now: int) -> None:
        """An old copy comes back."""
        self.suspect = now
        self.pools = copy.deepcopy(pools)

    def trouble(self) -> str:
        """'' or how the books do not balance."""
        for key, pool in self.pools.items():
            if hasattr(pool, "holders") and pool.total() != pool.amount:
                return f"the state's places of {key!r} do not add up: {pool.total()} of {pool.amount}"
        return ""

    def lingering(self, now: int) -> str:
        """'' or what still cools."""
        for key, pool in self.pools.items():
            cool = [each for each in getattr(pool, "cool", ()) if each[0] > now]
            if cool:
                return f"{key!r}: {cool}"
        return ""
