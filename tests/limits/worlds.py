"""A world in virtual time: processes, their calls, a platform, a keeper of shared state; judged at every step.

No threads, no sleeping, nothing random but what the seed drew: the same steps give the same world. A `Violation` says
what went wrong; its `kind` is one of

* over-issue: the platform may have counted more than it allows (checker.py)
* forgotten, nobody: less in use than the living hold and what lingers, or more (books.py)
* late, refused, forever: a waiter (or a `try`) that fits was not granted at its instant, at once, ever
* paused: a call went out before the instant that a refusal named
* spin: the same thing is done again and again without time passing
* junk: arguments that make no sense were taken; error: an exception that nobody asked for; state: books that do not add up
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tests.limits.books import NEVER, SECOND, Books, Entry, Spec
from tests.limits.checker import BucketJudge, Call, ConcurrencyJudge, Judge, QuotaJudge, WindowJudge
from tests.limits.driver import Driver, Keeper, numbered
from tests.limits.processes import Clock, Exchange, Lesson, Live, Process, Refusal
from tests.limits.setups import HOUR, Setup, Step, usable

__all__ = ["RANKS", "Violation", "World"]

EPOCH = 1_790_000_000 * SECOND // HOUR * HOUR
RANKS = {"interactive": 0, "bulk": 1, "replay": 2}


class Violation(AssertionError):
    """A rule that was broken."""

    def __init__(self, kind: str, what: str) -> None:
        super().__init__(f"{kind}: {what}")
        self.kind = kind


class World:
    """See the module. `ignore`: kinds of violation that are not looked for."""

    def __init__(self, setup: Setup, ignore: Iterable[str] = ()) -> None:
        self.setup = setup
        self.ignore = frozenset(ignore)
        self.now = SECOND
        self.epoch = EPOCH + HOUR - round(setup.before_reset * SECOND)
        self.specs = {spec.name: spec for spec in setup.specs}
        self.linger = round(setup.linger * SECOND)
        self.ttl = round(setup.ttl * SECOND)
        self.longest = max([spec.per_ns for spec in setup.specs if spec.kind != "quota"] + [SECOND])
        self.amounts = {spec.name: spec.amount for spec in setup.specs}
        self.everybody = {spec.name: spec.cap for spec in setup.specs}
        self.told: list[Lesson] = []
        self.judges = {spec.name: self._judge(spec) for spec in setup.specs}
        self.sent: dict[str, list[Live]] = {name: [] for name in self.specs}
        self.keeper = Keeper()
        self.backup: Any = None
        self.restoring = False
        self.out_until = 0
        self.lost, self.lost_at = False, NEVER  # the state was lost, and the first exchange after that
        self.reported: set[int] = set()  # processes that the state has heard since
        self.knew: dict[int, int] = {}  # then: as of which instant each process knew the state
        self.known: tuple[Refusal, ...] = ()  # refusals that the state knows
        self.newest: Exchange | None = None  # the latest to reach the state …
        self.last: Process | None = None  # … and who has heard its answer: nobody knows better how new the state is
        self.longest_lost = 0  # of processes that are gone
        self.dead: set[str] = set()
        self.processes: list[Process] = []
        self.started = 0
        self.grants = self.exchanges = 0
        self.step = 0
        self.trace: list[str] | None = None
        for _ in range(setup.processes):
            self.start()

    @property
    def wall(self) -> int:
        """The true wall clock."""
        return self.epoch + self.now

    def _judge(self, spec: Spec) -> Judge:
        if spec.kind == "bucket":
            return BucketJudge(spec.name, spec.rate * spec.cap / spec.amount)
        if spec.kind == "quota":
            skew = spec.skew - self.creep(spec) / SECOND - 0.1
            return QuotaJudge(spec.name, HOUR, round(skew * SECOND), self.epoch)
        if spec.kind == "concurrency":
            return ConcurrencyJudge(spec.name, None if spec.longer_than is None else round(spec.longer_than * SECOND))
        return WindowJudge(spec.name, spec.per_ns)

    @staticmethod
    def creep(spec: Spec) -> int:
        """By how much a process's wall clock may be wrong so that a quota's skew still covers it."""
        return SECOND if spec.skew > 2 else 0

    def start(self) -> Process:
        """One more process."""
        setup = self.setup
        self.started += 1
        clock = Clock(self, setup.ppm[self.started % len(setup.ppm)])
        driver = Driver(
            list(setup.specs), clock, self.started, shared=setup.shared, ttl=setup.ttl,
            fresh=setup.fresh and self.started <= setup.processes, share=setup.share, reserve=setup.reserve,
            pacing=setup.pacing, linger=setup.linger,
        )  # fmt: skip
        paced = setup.pacing == "smooth" or (setup.pacing is None and setup.share < 1)
        caps = {spec.name: spec.cap for spec in setup.specs}
        process = Process(self.started, clock, driver, Books(self.linger), caps, set(self.specs) if paced else set())
        self.processes.append(process)
        driver.limiter.snapshot()  # a first look at the clocks: nobody can know that a first one is wrong
        return process

    def complain(self, kind: str, what: str) -> None:
        """A rule was broken."""
        if kind not in self.ignore:
            raise Violation(kind, what)

    # -- grants

    def granted(self, process: Process, permit: Any, costs: dict[str, int]) -> None:
        """A call goes out now."""
        delay = self.setup.delays[self.grants % len(self.setup.delays)]
        self.grants += 1
        mine = process.clock.monotonic_ns()
        late = {name: round(self.specs[name].lag * SECOND) for name in costs if self.specs[name].lag}
        call = Call(process.number, self.now, dict(costs), late=late)
        entry = Entry(mine, self.now, call.costs)
        live = Live(permit, call, entry, self.now + round(delay * SECOND))
        process.live.append(live)
        process.books.add(entry)
        for name, cost in costs.items():
            spec = self.specs[name]
            self.sent[name].append(live)
            process.due[name] = max(process.due.get(name, 0), mine) + cost * spec.spacing(process.caps[name])
            wrong = self.judges[name].sent(call, process.caps[name], self.everybody[name])
            if wrong and not self.is_probe(live, name) and not self.is_unheard(name):
                self.complain("over-issue", f"{wrong} (process {process.number}, {self.now / SECOND:.6f} s)")
        for refusal in process.refusals:
            if self.now < refusal.until and refusal.names <= costs.keys():
                left = (refusal.until - self.now) / SECOND
                self.complain("paused", f"a call of process {process.number} went out {left:.3f} s before it may")

    def is_probe(self, live: Live, name: str) -> bool:
        """Whether this call finds out what was used of a quota whose state was lost.

        Nobody may know that it is used up, and only the platform can tell: so one call may go, and another if that
        had no reply or will have none (after 15 s).
        """
        if self.specs[name].kind != "quota" or self.now < self.lost_at:
            return False
        since = [each for each in self.sent[name] if each is not live and each.call.sent > self.lost_at]
        return all(each.entry.lost or each.call.sent <= self.now - 15 * SECOND for each in since) and not any(
            each.entry.over is not None and not each.entry.lost for each in since
        )

    def is_unheard(self, name: str) -> bool:
        """Whether a quota's state was lost so near a reset that the period turned before all had told what they owe."""
        judge = self.judges[name]
        if not isinstance(judge, QuotaJudge) or self.now < self.lost_at:
            return False
        reset = self.wall // judge.every * judge.every - self.epoch
        if not reset - judge.skew - SECOND <= self.lost_at <= reset + judge.skew + SECOND:
            return False
        return any(call.owner not in self.reported and call.sent < self.lost_at for call in judge.calls)

    def collect(self, process: Process) -> None:
        """Hand out what was granted."""
        for queued in [each for each in process.queue if each.waiting.woken]:
            process.queue.remove(queued)
            self.granted(process, process.driver.collect(queued.waiting), queued.costs)

    def over(self, process: Process, live: Live, until: int, *, lost: bool) -> None:
        """A call is over: for the platform at `until`."""
        process.live.remove(live)
        live.entry.over = process.clock.monotonic_ns()
        live.entry.lost = lost
        live.call.until = live.entry.until_true = until
        live.counted = min(live.counted, until)

    def lost_until(self) -> int:
        """A call that is lost now may be counted until then: clocks differ by 500 ppm."""
        return self.now + self.linger * 9995 // 10_000

    # -- time

    def advance(self, to: int) -> None:
        """Let time pass, with all that happens by itself."""
        spins, soon = 0, 0
        while True:
            at, process, what = self.next_event()
            if at > to:
                break
            spins = spins + 1 if at < soon else 0
            if spins == 0:
                soon = max(at, self.now) + SECOND // 100
            if spins > 60:
                self.complain("spin", f"process {process.number}: {what} 60 times within 10 ms")
                break
            self.now = max(self.now, at)
            self._happen(process, what)
        self.now = max(self.now, to)

    def next_event(self) -> tuple[int, Process, str]:
        """What happens next by itself: instant, whose, what."""
        first: tuple[int, Process, str] = (NEVER, None, "")  # type: ignore[assignment]
        for process in self.processes:
            stopped = process.stopped_until
            wake = process.driver.wake
            if wake is not None:
                at = max(process.clock.true(wake), stopped)
                if at < first[0]:
                    first = (at, process, "poll")
            if not process.queue:
                process.tick_at = NEVER
            elif process.tick_at == NEVER:
                process.tick_at = self.now + SECOND
            if max(process.tick_at, stopped) < first[0]:
                first = (max(process.tick_at, stopped), process, "tick")
            if process.wall_right_at < first[0]:
                first = (process.wall_right_at, process, "wall")
            if not self.setup.shared:
                continue
            if process.exchange is not None:
                at, what = max(process.exchange.at, stopped), "exchange"
            else:
                if process.stale:
                    process.stale, due = False, process.driver.due()
                    process.ask_at = NEVER if due is None else process.clock.true(due)
                at, what = max(process.ask_at, process.silent_until, stopped), "ask"
            if at < first[0]:
                first = (at, process, what)
        return first

    def _happen(self, process: Process, what: str) -> None:
        process.stale = True
        if what in {"poll", "tick"}:
            process.unswept = False
            if what == "poll":
                process.driver.poll()
            else:
                process.tick_at = self.now + SECOND
                process.driver.tick()
        elif what == "wall":
            process.clock.error, process.wall_right_at = 0, NEVER
        elif what == "ask":
            self.ask(process)
        else:
            self._go_on(process)
        self.collect(process)

    # -- the keeper

    def ask(self, process: Process) -> None:
        """Send a request."""
        asked, requests = process.driver.ask()
        if self.restoring and process is self.last:
            self.keeper.restore(self.backup, self.now)
            self.lost = True
            # A copy from before a loss that everybody knows of could not be told from a newer state: it is used once.
            self.restoring, self.known, self.backup = False, (), None
            self.forget(state=True)
        if self.now < self.out_until:
            process.driver.failed()
            return
        there = round(self.setup.answer_delay * SECOND * (self.started % 3) / 3)
        back = round(self.setup.answer_delay * SECOND) - there
        process.exchange = Exchange(requests, asked, tuple(process.refusals), self.now + there, back, process.fate)
        process.fate = ""
        if not self.setup.answer_delay:
            self._go_on(process)
            self._go_on(process)

    def _go_on(self, process: Process) -> None:
        exchange = process.exchange
        if exchange is None:
            return
        if exchange.answers is None:
            if exchange.fate == "lost_ask":
                process.exchange = None
                process.driver.failed()
                return
            if self.lost:
                self.lost, self.lost_at, self.reported = False, self.now, {each.number for each in self.processes}
                self.knew = {each.number: each.knows for each in self.processes}
                self.write_off(lambda owner: owner not in self.reported)
                self.reported = set()
            self.reported.add(process.number)
            for _ in range(2 if exchange.fate == "twice" else 1):
                exchange.answers = self.keeper.exchange(exchange.requests, self.now, self.wall, self.dead)
            exchange.answered = self.now
            self.exchanges += 1
            trouble = "" if self.exchanges % 8 else self.keeper.trouble()
            if trouble:
                self.complain("state", trouble)
            self.tell()
            if numbered(exchange.requests):
                self.newest, self.last = exchange, None
                self.known = tuple({*self.known, *exchange.refusals})
                exchange.learned = self.known
            exchange.at = self.now + exchange.back
            return
        process.exchange = None
        if exchange.fate == "lost_answer":
            process.driver.failed()
            return
        process.driver.answer(exchange.answers, exchange.asked)
        if self.newest is exchange:
            self.last = process
        process.refusals = [each for each in {*process.refusals, *exchange.learned} if each.until > self.now]
        process.rounds += 1
        process.knows = exchange.answered
        self._spread()

    def write_off(self, gone: Callable[[int], bool]) -> None:
        """The state was lost, and with it what it knew of processes that are gone and their calls under a quota.

        Of this period the survivors remember a figure, as of their last answers, or it counts as used up; of what is
        owed to the next one nobody can know any.
        """
        known = max((self.knew.get(each.number, 0) for each in self.processes), default=0)
        for judge in self.judges.values():
            if isinstance(judge, QuotaJudge):
                turn = round(self.specs[judge.name].skew * SECOND) + SECOND // 10
                reset = (self.wall - turn) // judge.every * judge.every + judge.every - self.epoch
                judge.calls = [call for call in judge.calls if not (gone(call.owner) and 0 < known < call.sent)]
                for call in judge.calls:
                    if gone(call.owner):
                        call.until = min(call.until, reset - judge.skew - 1)

    def heard(self, name: str, sent: int) -> None:
        """The platform has said what it counted of a limit whose state was lost.

        Of calls that nobody knows of, its word is all that there is: those of a quota that were over before the call
        that heard of it was sent are in its count, or in that of another period. What was in flight then, of a process
        that is gone, it cannot tell, nor can anybody else; a window opens by the word all the same.
        """
        if self.lost_at == NEVER:
            return
        judge, here = self.judges[name], {process.number for process in self.processes}
        if isinstance(judge, QuotaJudge):
            judge.calls = [call for call in judge.calls if call.owner in self.reported or call.until > sent]
        else:
            judge.calls = [call for call in judge.calls if call.owner in self.reported | here]

    def tell(self) -> None:
        """The state was just written: from now on others can know what it says."""
        for lesson in self.told:
            if lesson.since is None and self.keeper.knows(lesson.name, lesson.amount):
                lesson.since = {each.number: each.rounds for each in self.processes}

    def forget(self, *, state: bool) -> None:
        """The state, or a process, is gone: what nobody else knew, and no answer can tell, nobody can know.

        Of a state that was lost nobody hears but by asking: who knows has to tell once more.
        """
        for lesson in list(self.told):
            if state:
                lesson.since, lesson.bound = None, False
                lesson.knowers = {each: each.rounds for each in lesson.knowers}
            lesson.knowers = {each: at for each, at in lesson.knowers.items() if each in self.processes}
            if lesson.since is None and not lesson.knowers:
                self.told.remove(lesson)
        self._spread()

    def _spread(self) -> None:
        """A lower limit binds everybody once everybody has had three answers since the state could tell.

        Who knows it has to tell the state within three answers of its own.
        """
        for lesson in self.told:
            if lesson.since is None and any(each.rounds >= at + 3 for each, at in lesson.knowers.items()):
                lesson.since = {each.number: each.rounds for each in self.processes}
            if lesson.since is None:
                continue
            for each in self.processes:
                if each not in lesson.knowers and each.rounds >= lesson.since.get(each.number, 0) + 3:
                    lesson.knowers[each] = each.rounds
            lesson.bound |= len(lesson.knowers) == len(self.processes)
        for name, spec in self.specs.items() if self.setup.shared else ():
            self.everybody[name] = min(
                [spec.cap, *(each.cap for each in self.told if each.name == name and each.bound)]
            )

    def learned(self, process: Process, name: str) -> None:
        """A process has just been told the limit's true amount."""
        spec = self.specs[name]
        cap = usable(spec.kind, self.amounts[name], self.setup.share, self.setup.reserve)
        if cap < process.caps[name]:
            process.caps[name] = cap
            if self.setup.shared:
                self.told.append(Lesson(name, cap, self.amounts[name], {process: process.rounds}))
                self._spread()
            else:
                self.everybody[name] = cap

    # -- steps

    def run(self, steps: Iterable[Step], *, to_the_end: bool = True) -> None:
        """All steps, then a quiet end. Raises Violation, of which `self.step` says where: -1 at the end."""
        from tests.limits.ending import finish
        from tests.limits.happenings import happen  # they know the world, it does not know them

        for self.step, step in enumerate(steps):
            happen(self, step)
        self.step = -1
        if to_the_end:
            finish(self)
