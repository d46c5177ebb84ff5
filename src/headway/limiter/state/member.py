"""A limiter's member in shared state: its holders, when they ask, and what they make of the answers.

Rules:
* The limiter's lock guards gate and holders; the keeper is asked without it.
* Asking is the poller's thread's business: no event loop and no caller waits for the disk, except `refresh`.
* A wait that is long for a reason of ours (nobody knows yet what was used, lost state, a dead process) is said once,
  in an event and in the log, in words that fit.
* What is learned goes to the state beside the limits and comes back to every limiter that shares their keys: it is kept
  under what the keys of several limits have in common, so that no account hears of another's.
* Who shares a limit with somebody who knows better, or hears that anybody's figures changed, asks what was learned,
  and everybody now and then. What was told without an answer is told again.
* Nothing is asked for before what others learned was heard: the first call of a process would be one too many.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping

from headway.clock import Clock
from headway.errors import HeadwayError
from headway.events import Note, Observer
from headway.limiter.state.backend import Request
from headway.limiter.state.poller import Poller, poller_for
from headway.limiter.telling import tell, warn
from headway.limits.gate import Gate
from headway.limits.learning import memories, recall
from headway.limits.meters.meter import Meter
from headway.limits.meters.quota import QuotaMeter
from headway.limits.sharing.client import PlacesHolder
from headway.limits.sharing.exchange import AnyAnswer
from headway.limits.sharing.learned import LearnedAnswer, LearnedAsk
from headway.limits.sharing.lots import LotAnswer
from headway.limits.sharing.places import Answer
from headway.limits.sharing.queue import NOTHING, Head, Queue, Queues
from headway.limits.sharing.quota_client import LotHolder
from headway.limits.ticket import Ticket
from headway.sqlite import process

__all__ = ["Member"]

_LESSONS = 10  # ttl until what others learned is asked for again
_SHORT = 1.0  # seconds of waiting that are worth no word
_REASONS = {
    "new": "nobody knows yet what was used of it, and the platform did not say: the rest may be used",
    "lost": "its shared state was lost: what nobody claims may be used",
    "dead": "the places of a process that ended without giving them back may be used",
}


class Member:
    """The shared side of one limiter."""

    def __init__(
        self,
        url: str,
        gate: Gate,
        lock: threading.RLock,
        clock: Clock,
        changed: Callable[[], None],
        observer: Observer | None,
        *,
        name: str,
        keys: Mapping[str, str],
        linger: int,
        ttl: int,
        fresh: bool,
        unused: bool,
    ) -> None:
        self._url = url
        self._poller: Poller = poller_for(url)
        self._gate = gate
        self._lock = lock
        self._clock = clock
        # A limiter that nobody closed may be forgotten: then it leaves, instead of being served for ever.
        self._changed = (
            weakref.WeakMethod(changed, self._forgotten) if hasattr(changed, "__self__") else (lambda: changed)
        )
        self._observer = observer
        self._troubled = False
        self._name = name
        self._linger = linger
        self._ttl = ttl
        self._fresh = fresh
        self._unused = unused
        self._id = process.holder_id()
        self._holders: dict[str, tuple[str, PlacesHolder | LotHolder]] = {}
        self._queues = Queues(ttl)
        self._asked: list[tuple[str, PlacesHolder | LotHolder]] = []  # in the order of the last requests
        self._departures: list[Request] = []
        self._answered = threading.Condition(lock)
        self._rounds = 0
        self._extra = 0
        self._left = False
        self._said: set[tuple[str, str]] = set()
        self._taught = False  # we have heard what others learned
        self._to_learn = True
        self._learn_at = 0
        self._telling = False  # what we learned is on its way
        self.keen = True
        self.nudged = False
        self.planned: int | None = None
        for meter in gate.meters.values():
            self.add(meter, keys.get(meter.name))
        self._believe(clock.monotonic_ns())
        self._poller.join(self)

    def add(self, meter: Meter, key: str | None) -> None:
        """One more limit; the lock is held, or nobody else knows us yet."""
        if not meter.sharing:
            return  # every process searches for itself: what is unknown cannot be partitioned
        self.keen = True
        holder: PlacesHolder | LotHolder
        if isinstance(meter, QuotaMeter):
            holder = LotHolder(
                meter, self._id, ttl=self._ttl, unused=self._unused, fresh=self._fresh, linger=self._linger
            )
        else:
            holder = PlacesHolder(meter, self._id, linger=self._linger, ttl=self._ttl, fresh=self._fresh)
        self._holders[meter.name] = (key or f"{self._home()}|{meter.name}", holder)

    def _home(self) -> str:
        """Under what a limit is kept that nobody named a key for: with the first of the others, else by our name."""
        return next((_owner(key) for key, _ in self._holders.values()), self._name)

    def part(self, name: str, key: str, now: int) -> None:
        """A limit goes by another key from now on: take leave of the old one; the lock is held."""
        old_key, old = self._holders.get(name, (key, None))
        if old is None or old_key == key:
            return
        if isinstance(old, LotHolder):
            lots = old.departure(now)
            if lots is not None:
                self._departures.append(Request(old_key, old.amount, None, lots))
        else:
            places = old.departure(now)
            if places is not None:
                self._departures.append(Request(old_key, places[0].amount, *places))

    def rejoin_as(self, name: str, key: str, now: int) -> None:
        """Join under the other key; the meter keeps what it holds, so that the first request claims it."""
        old_key, old = self._holders.get(name, (key, None))
        if old is None or old_key == key:
            return
        self.add(old.meter, key)
        self._taught = False  # others may have learned of it under this key
        new = self._holders[name][1]
        if isinstance(new, LotHolder):
            assert isinstance(old, LotHolder)
            new.inherit(old, now)
        else:
            assert isinstance(old, PlacesHolder)
            new.inherit(old, now)
        self._gate.unsettled(old.meter)

    # -- called by the limiter

    def nudge(self) -> None:
        """Something changed: the poller may have to ask earlier than it planned. Takes no lock."""
        self._poller.nudge(self)

    def lacking(self) -> bool:
        """Whether a limit has fewer places lent than it could have."""
        with self._lock:
            return any((holder.meter.places or 0) < holder.meter.cap for _, holder in self._holders.values())

    def refresh(self, cost: int, timeout: float) -> None:
        """Wait for one round of asking, as if a ticket of `cost` were queued; at most `timeout` seconds."""
        with self._lock:
            seen, self._extra = self._rounds, cost
        self.nudge()
        with self._answered:
            self._answered.wait_for(lambda: self._rounds > seen or self._left, timeout)
            self._extra = 0

    def settled(self, ticket: Ticket, now: int) -> bool:
        """A reply came; the lock is held. Whether the poller should look: somebody waits to hear of it."""
        news = False
        for meter in ticket.meters:
            if meter.name in self._holders:
                news |= self._holders[meter.name][1].used(now, ticket.cost_of(meter))
        self._feel()
        return news

    def _feel(self) -> None:
        """Whether the end of each call is news for the keeper."""
        self.keen = any(holder.keen for _, holder in self._holders.values())

    def heard(self, counted: Mapping[str, int]) -> None:
        """Calls that the platform said it had counted, per limit; the lock is held."""
        for name, calls in counted.items():
            if name in self._holders:
                self._holders[name][1].hear(calls)

    def paused(self, limit: str, nanoseconds: int) -> None:
        """A rate-limit reply: the other holders are to pause as well; the lock is held."""
        until = self._clock.monotonic_ns() + nanoseconds
        for name, (_, holder) in self._holders.items():
            if limit in {"", name}:
                holder.pause(until)

    def learned(self) -> None:
        """The gate learned something that others should know; the lock is held."""
        self._to_learn = True

    def leave(self) -> None:
        """Give everything back; returns when the keeper has it, or after a second without an answer."""
        with self._lock:
            if self._left:
                return
            self._left = True
        self._poller.leave([self])

    def rejoin(self, lock: threading.RLock) -> None:
        """In a forked child: begin anew as another holder."""
        self._lock = lock
        self._answered = threading.Condition(lock)
        self._id = process.holder_id()
        self.nudged, self.planned = False, None
        self._departures.clear()
        for _, holder in self._holders.values():
            holder.restart(self._id)
        if not self._left:
            self._poller = poller_for(self._url)
            self._poller.join(self)

    # -- called by the poller

    @property
    def gone(self) -> bool:
        """Whether the limiter was forgotten without being closed."""
        return self._changed() is None

    def _forgotten(self, _reference: object) -> None:
        self._poller.note(self)

    def prepare_to_leave(self) -> None:
        """The next request is the last."""
        with self._lock:
            self._left = True
            for _, holder in self._holders.values():
                holder.leaving = True

    def due(self) -> int | None:
        """The monotonic instant at which to ask next; None for never, as things stand."""
        with self._lock:
            now = self._look()
            queued = self._queued(now)
            times = [holder.due(now, queued.get(name, NOTHING)) for name, (_, holder) in self._holders.items()]
        return min((at for at in times if at is not None), default=None)

    def requests(self) -> tuple[int, list[Request]]:
        """What to ask now, for all limits, and the instant from which leases count."""
        with self._lock:
            now = self._look()
            self._believe(now)
            queued = self._queued(now)
            asks: list[Request] = []
            if not self._taught and not self._left:
                self._asked, self._to_learn = [], False
                return now, self._lessons()
            self._asked = [(name, holder) for name, (_, holder) in self._holders.items()]
            for name, (key, holder) in self._holders.items():
                waiting = queued.get(name, NOTHING)
                if isinstance(holder, LotHolder):
                    asks.append(Request(key, holder.amount, None, holder.ask(now, waiting)))
                else:
                    keeping, ask = holder.ask(now, waiting)
                    asks.append(Request(key, keeping.amount, keeping, ask))
            if self._to_learn or now >= self._learn_at:
                self._to_learn, self._learn_at = False, now + _LESSONS * self._ttl
                asks += self._lessons()
            return now, asks + self._departures

    def _lessons(self) -> list[Request]:
        """What we learned, and the question what others did, by what the keys have in common."""
        self._telling = True
        words = memories(self._gate)
        owners = {name: _owner(key) for name, (key, _) in self._holders.items()}
        told: dict[str, dict[str, dict[str, int]]] = {owner: {} for owner in (*owners.values(), self._home())}
        for name, said in words.items():
            told[owners.get(name, self._home())][name] = said
        return [Request(f"{owner}|learned", 0, None, LearnedAsk(each)) for owner, each in told.items()]

    def apply(self, answers: list[AnyAnswer], asked: int) -> None:
        """Use the answers, in the order of the requests."""
        texts: list[str] = []
        with self._lock:
            now = self._clock.monotonic_ns()
            for i, answer in enumerate(answers):
                if isinstance(answer, LearnedAnswer):
                    for meter in recall(self._gate, answer.words):
                        self.add(meter, None)
                    self._taught, self._telling = True, False
                    continue
                if i >= len(self._asked):
                    del self._departures[:1]
                    continue
                name, holder = self._asked[i]
                if self._holders[name][1] is not holder:
                    continue  # it went by another key meanwhile: the answer is nobody's
                stricter = holder.stricter
                if isinstance(holder, LotHolder):
                    assert isinstance(answer, LotAnswer)
                    holder.apply(answer, asked, now)
                else:
                    assert isinstance(answer, Answer)
                    holder.apply(answer, asked, now)
                    self._to_learn |= holder.news
                    holder.news = False
                self._to_learn |= holder.stricter not in {"", stricter}
                texts += self._words(name, holder, now)
                self._gate.unsettled(holder.meter)
            self._feel()
            self._rounds += bool(self._asked)
            self._troubled = False
            self._answered.notify_all()
        for text in texts:
            self._say(text)
        changed = self._changed()
        if changed is not None:
            changed()

    def failed(self, error: HeadwayError) -> None:
        """The keeper did not answer: said once, until it does again."""
        with self._lock:
            said, self._troubled = self._troubled, True
            self._to_learn |= self._telling
            now = self._clock.monotonic_ns()
            for _, holder in self._holders.values():
                holder.failed(now)
        if not said:
            self._say(f"{error}; what is lent may be used until its lease ends, then calls wait")

    def noticed(self, text: str) -> None:
        """Something about the state itself, which is in the log already."""
        tell(self._observer, Note(text))

    def _say(self, text: str) -> None:
        warn(text)
        tell(self._observer, Note(text))

    def _words(self, name: str, holder: PlacesHolder | LotHolder, now: int) -> list[str]:
        """What is to be said of a limit that was not said yet; the lock is held."""
        found: dict[str, str] = {}
        limit = f"{self._name}: {name}" if self._name else name
        if holder.stricter:
            found["stricter"] = (
                f"{limit}: another limiter shares it under other figures; the stricter hold for both: "
                f"{holder.stricter}, not {holder.own}"
            )
        excuse = holder.excuse(now)
        if excuse is not None and not 0 < excuse[1] < _SHORT:
            found[excuse[0]] = f"{limit}: {_reason(*excuse)}"
        holds = {*found, holder.why}
        self._said = {(limit, kind) for limit, kind in self._said if limit != name or kind in holds}
        fresh = [kind for kind in found if (name, kind) not in self._said]
        self._said |= {(name, kind) for kind in fresh}
        return [found[kind] for kind in fresh]

    def _believe(self, now: int) -> None:
        """Look at the wall clock now and then: it dates what is learned, and a jump is to be known as one."""
        self._gate.clock.believed(now, self._clock.wall_ns())

    def _look(self) -> int:
        """Now, the calendars looked at; the lock is held."""
        now = self._clock.monotonic_ns()
        if now >= self._gate.next_look:
            self._gate.look_at(now, self._clock.wall_ns())
            self._gate.calm(now)
        return now

    def _queued(self, now: int) -> dict[str, Queue]:
        queued = self._queues.look(self._gate.queued(), now)
        if self._extra:
            for name in self._holders:
                cost, head = queued.get(name, NOTHING)
                queued[name] = Queue(cost + self._extra, head if head.cost else Head(self._extra, 0, 1))
        return queued


def _owner(key: str) -> str:
    """Whose limit it is that is shared under a key."""
    return key.rpartition("|")[0] or key


def _reason(why: str, seconds: float) -> str:
    if why == "gone":
        return (
            "its shared state was lost, and neither the platform nor a living process knows what was used: it counts "
            'as used up until the reset (lost="unused" says otherwise)'
        )
    if seconds <= 0:
        return "its shared state was lost: one call finds out what the platform has counted"
    hint = "; fresh=True says that nothing was used before" if why == "new" else ""
    return f"{_REASONS[why]} in {seconds:.1f} s at the latest{hint}"
