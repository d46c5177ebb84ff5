"""A world in virtual time for engines: an event loop whose clock jumps, a platform that judges, a link to it.

The platform is strict and simple: it stamps a call when it arrives and refuses what its rolling window cannot hold.
"""

from __future__ import annotations

import asyncio
import json
import selectors
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field

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
from headway.delivery.records import Call, Record, Reply
from headway.errors import TransportError
from headway.limiter.limiter import Limiter
from headway.limiter.permit import Permit
from headway.platforms.connector import OneCall

EPOCH = 1_790_000_000.0


class _Jumping(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise RuntimeError("nothing will ever happen: a deadlock")
        self.now += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Sleeping takes no time."""

    def __init__(self) -> None:
        self.selector = _Jumping()
        super().__init__(self.selector)

    def time(self) -> float:
        return self.selector.now


class VirtualClock:
    """Both clocks, as the loop's time says."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def monotonic_ns(self) -> int:
        return 1_000_000_000 + round(self._loop.time() * 1e9)

    def wall_ns(self) -> int:
        return int(EPOCH) * 1_000_000_000 + round(self._loop.time() * 1e9)


def run_virtually(main: Callable[[VirtualClock], Coroutine[object, object, object]]) -> object:
    """Run a coroutine function, which is given the clock, in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        return runner.run(main(VirtualClock(loop)))


Behave = Callable[[int, list[dict]], Reply | Exception | None]


@dataclass
class Platform:
    """Stores records by key. `behave(number of the call, its records)` may answer instead, None lets it pass."""

    clock: VirtualClock
    amount: int = 100
    per: float = 10.0
    there: float = 0.02
    back: float = 0.03
    behave: Behave = lambda number, records: None
    after: Callable[[], Reply | Exception | None] = lambda: None  # what is answered although it was written
    records: dict[str, dict] = field(default_factory=dict)
    writes: Counter[str] = field(default_factory=Counter)
    calls: list[tuple[float, list[str]]] = field(default_factory=list)
    refused: int = 0
    flying: int = 0
    most_flying: int = 0
    stamps: deque[float] = field(default_factory=deque)

    async def answer(self, call: Call) -> Reply:
        self.flying += 1
        self.most_flying = max(self.most_flying, self.flying)
        try:
            await asyncio.sleep(self.there)
            reply = self._judge(call)
            await asyncio.sleep(self.back)
        finally:
            self.flying -= 1
        if isinstance(reply, Exception):
            raise reply
        return reply

    def _judge(self, call: Call) -> Reply | Exception:
        now = self.clock.monotonic_ns() / 1e9
        while self.stamps and self.stamps[0] <= now - self.per:
            self.stamps.popleft()
        if len(self.stamps) >= self.amount:
            self.refused += 1
            return Reply(429)
        self.stamps.append(now)
        rows = json.loads(call.body or b"[]")
        self.calls.append((now, [row["key"] for row in rows]))
        said = self.behave(len(self.calls), rows)
        if said is not None:
            return said
        self.records |= {row["key"]: row for row in rows}
        self.writes.update(row["key"] for row in rows)
        said = self.after()
        if said is not None:
            return said
        return Reply(200, body=json.dumps(["ok"] * len(rows)).encode())


class Connector(OneCall):
    """A made-up platform's connector: the reply is one word per record, or one word for all."""

    batch_size = 100
    batch_bytes = 1 << 20

    def __init__(self, *, repeatable: bool = True) -> None:
        self.repeatable = repeatable

    def call(self, records: Sequence[Record]) -> Call:
        rows = [{"key": record.key, **json.loads(record.payload)} for record in records]
        return Call("POST", "/batch", json.dumps(rows).encode())

    def verdict(self, records: Sequence[Record], reply: Reply) -> Verdict:
        words = json.loads(reply.body) if reply.body else reply.status
        if isinstance(words, list):
            outcomes = tuple(_meaning(word, reply, len(records)) for word in words)
        else:
            outcomes = (_meaning(words, reply, len(records)),) * len(records)
        return Verdict(outcomes, reply.status, "request-1")


def _meaning(word: object, reply: Reply, size: int) -> Outcome:
    after = reply.headers.get("retry-after")
    meanings: dict[object, Outcome] = {
        "ok": Delivered("1"),
        "bad": Rejected("BAD", "this record is bad"),
        "mapping": MappingFault("UNKNOWN_PROPERTY", "no property is named x"),
        "poison": Rejected("POISON", "poison") if size == 1 else SplitNeeded("POISON", "poison somewhere"),
        "again": Transient("BATCH_REJECTED", "refused for another record", applied=False),
        401: CredentialsRejected("INVALID_AUTHENTICATION", "the token has expired"),
        429: RateLimited("window", None if after is None else float(after), "TEN_SECONDLY_ROLLING", "too many"),
        4290: RateLimited("daily", None, "DAILY", "daily limit"),
    }
    return meanings.get(word) or Transient(f"HTTP_{word}", f"status {word}")


class Link:
    """To a Platform, under a limiter."""

    name = "fake"

    def __init__(self, limiter: Limiter, answer: Callable[[Call], Awaitable[Reply]], timeout: float = 5.0) -> None:
        self.limiter = limiter
        self._answer = answer
        self._timeout = timeout

    generation = 0

    async def renew(self, used: int) -> bool:
        del used
        return False

    def limits_for(self, call: Call) -> None:
        del call

    async def send(self, call: Call, permit: Permit, records: int = 0, name: str = "") -> Reply:
        try:
            async with asyncio.timeout(self._timeout):
                reply = await self._answer(call)
        except TransportError as error:
            if error.sent:
                permit.lose()
            else:
                permit.cancel()
            raise
        except TimeoutError as error:
            permit.lose()
            raise TransportError("no reply in time", sent=True) from error
        except asyncio.CancelledError:
            permit.lose()
            raise
        permit.observe(reply.status, reply.headers)
        return reply


def word(text: str, size: int = 1, status: int = 207) -> Reply:
    """A reply of one word for all (size 0), or of one per record."""
    return Reply(status, body=json.dumps(text if size == 0 else [text] * size).encode())


def words(said: Sequence[str], status: int = 207) -> Reply:
    """A reply of these words."""
    return Reply(status, body=json.dumps(list(said)).encode())
