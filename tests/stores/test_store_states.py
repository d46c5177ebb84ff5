"""Any interleaving of what may happen to a store, against a model that knows every record's fate."""

from contextlib import suppress
from itertools import count

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from headway.errors import StaleClaim
from headway.stores.model import NEXT, BadRow, Dead, Done, Ledger, Loaded, Retry, RunConfig, State
from tests.stores.conftest import SqliteWorld

KEYS = st.sampled_from(["", "a", "b", "c", "d", "e"])
GROUPS = st.sampled_from(["", "g"])
PROCESSES = st.integers(1, 3)
FATES = st.lists(st.sampled_from(["done", "dead", "retry", "later", "split"]), min_size=1, max_size=8)


class StoreMachine(RuleBasedStateMachine):
    claims = Bundle("claims")
    numbers = count()  # of the machines: an address in memory comes again once a machine is gone, a number does not

    def __init__(self):
        super().__init__()
        self.world = None

    @initialize(policy=st.sampled_from(["last", "first"]), repeatable=st.booleans())
    def begin(self, policy, repeatable):
        file = self.directory / f"{next(self.numbers)}.db"
        assert not file.exists(), "every run begins with a store of its own"
        self.world = SqliteWorld(file)
        self.policy, self.repeatable = policy, repeatable
        self.pids = {number: number for number in (1, 2, 3)}  # a process that dies comes back under another number
        self.stores = {number: self.world.open(number) for number in self.pids}
        self.run = self.stores[1].create_run(RunConfig("x.csv", "mock:things"))
        self.read = []  # (key, line) of rows that can be sent
        self.bad = 0
        self.loading = True
        self.live = {}  # token → (process, ids, lease until)
        self.fate = {}  # id → state
        self.tries = {}
        self.line = 1

    def next_line(self):
        self.line += 1
        return self.line

    @precondition(lambda self: self.loading)
    @rule(who=PROCESSES, batch=st.lists(st.tuples(KEYS, GROUPS), max_size=6), bad=st.lists(KEYS, max_size=2))
    def load(self, who, batch, bad):
        good = [Loaded(key, b'{"n":1}', self.next_line(), group) for key, group in batch]
        broken = [BadRow(self.next_line(), key, "BAD", "m", b"{}") for key in bad]
        self.stores[who].load(self.run, good, broken, str(self.line), self.policy)
        self.read += [(row.key, row.line) for row in good]
        self.bad += len(broken)

    @precondition(lambda self: self.loading and len(self.read) > 3)
    @rule(who=PROCESSES)
    def finish_load(self, who):
        counts = self.stores[who].finish_load(self.run)
        self.loading = False
        chosen = {}
        for key, line in self.read:
            if self.policy == "last" or key not in chosen:
                chosen[key] = line
        expected = sum(key == "" for key, _ in self.read) + len(chosen.keys() - {""})
        assert (counts.ready, counts.dead) == (expected, self.bad)
        for key in chosen.keys() - {""}:
            sendable = [h for h in self.stores[who].find(key) if h.state is State.READY]
            assert [h.line for h in sendable] == [chosen[key]]

    @precondition(lambda self: not self.loading)
    @rule(
        target=claims,
        who=PROCESSES,
        limit=st.integers(1, 4),
        room=st.sampled_from([1, 40, 10_000]),
        lease=st.integers(1, 20),
    )
    def claim(self, who, limit, room, lease):
        claim = self.stores[who].claim(self.run, limit, room, lease, overhead=10)
        if claim is None:
            return multiple()
        ids = [record.id for record in claim.records]
        held = [each for _, others, _ in self.live.values() for each in others]
        assert not set(ids) & set(held), "one record in two live claims"
        assert len({(record.group, record.part) for record in claim.records}) == 1
        assert len(ids) <= limit
        assert len(ids) == 1 or sum(len(r.payload) + len(r.key) + 10 for r in claim.records) <= room
        for record in claim.records:
            assert self.fate.get(record.id, State.READY) is State.READY
            assert State.LEASED in NEXT[State.READY]
            self.tries[record.id] = self.tries.get(record.id, 0) + 1
            assert record.attempts == self.tries[record.id]
            self.fate[record.id] = State.LEASED
        self.live[claim.token] = (self.pids[who], ids, self.world.now + lease)
        return who, claim

    @rule(taken=consumes(claims), fates=FATES)
    def finish(self, taken, fates):
        who, claim = taken
        dispositions = []
        for n, record in enumerate(claim.records):
            match fates[n % len(fates)]:
                case "done":
                    dispositions.append(Done(record.id, "r"))
                case "dead":
                    dispositions.append(Dead(record.id, "X", "m"))
                case "retry":
                    dispositions.append(Retry(record.id, self.world.now, "E", "m", unknown=True))
                case "later":
                    dispositions.append(Retry(record.id, self.world.now + 7, "E", "m", counted=False))
                case "split":
                    dispositions.append(Retry(record.id, self.world.now, "E", "m", part=n % 2 + 1))
        if claim.token not in self.live:
            with pytest.raises(StaleClaim):
                self.stores[who].finish(self.run, claim, dispositions)
            return
        self.stores[who].finish(self.run, claim, dispositions, status=207)
        del self.live[claim.token]
        for disposition in dispositions:
            match disposition:
                case Done(record_id=id_):
                    self.fate[id_] = State.DELIVERED
                case Dead(record_id=id_):
                    self.fate[id_] = State.DEAD
                case Retry(record_id=id_, counted=counted):
                    self.fate[id_] = State.READY
                    self.tries[id_] -= not counted

    @rule(taken=consumes(claims))
    def unclaim(self, taken):
        who, claim = taken
        if claim.token not in self.live:
            with pytest.raises(StaleClaim):
                self.stores[who].unclaim(self.run, claim)
            return
        self.stores[who].unclaim(self.run, claim)
        for id_ in self.live.pop(claim.token)[1]:
            self.fate[id_] = State.READY
            self.tries[id_] -= 1

    @rule(taken=claims)
    def renew(self, taken):
        who, claim = taken
        with suppress(StaleClaim):
            self.stores[who].renew(self.run, claim, lease=15)
            pid, ids, _ = self.live[claim.token]
            self.live[claim.token] = (pid, ids, self.world.now + 15)

    @rule(who=PROCESSES)
    def recover(self, who):
        gone = [t for t, (pid, _, until) in self.live.items() if until <= self.world.now or pid in self.world.killed]
        ids = [id_ for token in gone for id_ in self.live.pop(token)[1]]
        found = self.stores[who].recover(self.run, unknown_is_dead=not self.repeatable)
        assert (found.ready, found.dead) == ((len(ids), 0) if self.repeatable else (0, len(ids)))
        for id_ in ids:
            self.fate[id_] = State.READY if self.repeatable else State.DEAD

    @rule(who=PROCESSES)
    def crash(self, who):
        self.world.kill(self.pids[who])
        self.pids[who] = max(self.pids.values()) + 1
        self.stores[who] = self.world.open(self.pids[who])

    @rule(seconds=st.integers(1, 12))
    def wait(self, seconds):
        self.world.now += seconds

    @invariant()
    def the_books_balance_and_tell_the_truth(self):
        if self.world is None:
            return
        books = self.stores[1].audit(self.run)
        assert books.balanced
        assert books == self.stores[2].ledger(self.run)
        fates = list(self.fate.values())
        assert books.read == len(self.read) + self.bad
        assert books.delivered == fates.count(State.DELIVERED)
        assert books.dead == self.bad + fates.count(State.DEAD)
        if self.loading:
            assert books == Ledger(read=books.read, dead=self.bad, pending=len(self.read))

    @invariant()
    def next_ready_tells_when_a_claim_succeeds(self):
        if self.world is None or self.loading:
            return
        ready = self.stores[1].next_ready(self.run)
        claim = self.stores[1].claim(self.run, limit=1)
        assert (claim is not None) == (ready is not None and ready <= self.world.now)
        if claim is not None:
            self.stores[1].unclaim(self.run, claim)

    def teardown(self):
        if self.world is not None:
            self.world.close()


def test_any_interleaving_keeps_the_books_and_never_gives_one_record_to_two(tmp_path):
    class Machine(StoreMachine):
        directory = tmp_path

    machine = Machine.TestCase
    machine.settings = settings(
        max_examples=120, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
    )
    machine().runTest()
