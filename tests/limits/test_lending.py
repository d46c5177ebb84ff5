"""Places lent to processes: never more than the amount, whoever dies, restarts or loses the state."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from headway.limits.gate import Gate
from headway.limits.limits import Quota, Window
from headway.limits.sharing.client import LotHolder, PlacesHolder, keeping_for
from headway.limits.sharing.lots import LotPool, exchange_lot
from headway.limits.sharing.places import Ask, Keeping, Pool, exchange, max_min
from tests.limits.world import EPOCH, SECOND, most_in_any

TTL = 6 * SECOND


@given(
    amount=st.integers(0, 200),
    wants=st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.integers(0, 300), max_size=8),
    turn=st.integers(0, 1000),
)
def test_shares_are_max_min_fair(amount, wants, turn):
    shares = max_min(amount, wants, turn)
    assert sum(shares.values()) == min(amount, sum(wants.values()))
    assert all(shares[name] <= wants[name] for name in wants)
    short = [name for name in wants if shares[name] < wants[name]]
    assert all(shares[other] <= shares[name] + 1 for name in short for other in wants)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_places_are_neither_made_nor_lost(data):
    """free + lent + cooling + unopened is the amount after every exchange, whatever holders claim."""
    keeping = Keeping(20, 10 * SECOND, 30 * SECOND, TTL)
    pool: Pool | None = None
    now = 0
    seen: dict[str, tuple[str, int, int]] = {}
    for i in range(data.draw(st.integers(1, 40))):
        now += data.draw(st.integers(0, 8)) * SECOND
        name = data.draw(st.sampled_from("abc"))
        epoch, seq, places = seen.get(name, ("", 0, 0))
        back = data.draw(st.integers(0, places))
        ask = Ask(
            name, epoch, seq, places - back, ((data.draw(st.integers(0, 5)) * SECOND, back),),
            data.draw(st.integers(0, 30)), data.draw(st.sampled_from([None, 0, 5, 50])),
        )  # fmt: skip
        first = pool is None and data.draw(st.booleans())
        pool, answer = exchange(pool, keeping, ask, now, new_epoch=f"e{i}", first=first)
        assert pool.total() == 20
        assert pool.free >= 0
        seen[name] = (answer.epoch, answer.seq, answer.give + (0 if answer.void else places - back))
        if data.draw(st.integers(0, 9)) == 0:
            pool = None  # the state is wiped
        elif data.draw(st.integers(0, 9)) == 0:
            del seen[name]  # killed, and another takes its name


class Cluster:
    """Holders with gates of their own on one keeper; calls are stamped by a platform that shares no code with them."""

    def __init__(self, seed: int, holders: int, amount: int, per: float, *, spread: float) -> None:
        self.rng = random.Random(seed)
        self.limit = Window(amount, per)
        self.spread = spread
        self.linger = 5 * SECOND
        self.pool: Pool | None = None
        self.now = 1
        self.stamps: list[int] = []
        self.calls: Counter[str] = Counter()
        self.wiped = 0
        self.names = 0
        self.alive = [self.start() for _ in range(holders)]
        self.pending: list[tuple[int, object, object]] = []

    def start(self):
        gate = Gate([self.limit])
        self.names += 1
        meter = gate.meters["window"]
        skew = self.rng.randint(-30, 30) * SECOND + 60 * SECOND
        return [gate, PlacesHolder(meter, keeping_for(meter, self.linger, TTL), f"h{self.names}"), skew]

    def exchange(self, member) -> None:
        gate, holder, skew = member
        clock = self.now + skew
        queued = gate.queued().get("window", 0)
        due = holder.due(clock, 0, queued)
        if due is None or due > clock:
            return
        ask = holder.ask(clock, 0, queued)
        self.names += 1
        self.pool, answer = exchange(
            self.pool, holder.keeping, ask, self.now, new_epoch=f"e{self.names}", first=self.wiped == 0
        )
        assert self.pool.total() == self.limit.amount
        holder.apply(answer, clock, clock)

    def step(self, milliseconds: int) -> None:
        self.now += milliseconds * 1_000_000
        for entry in [entry for entry in self.pending if entry[0] <= self.now]:
            self.pending.remove(entry)
            _, member, ticket = entry
            if member in self.alive:
                member[0].settle(ticket, self.now + member[2], 0)
        for member in self.alive:
            self.exchange(member)
            gate, _, skew = member
            while gate.waiting < 3:
                gate.request()
            for ticket in gate.poll(self.now + skew, 0).granted:
                arrival = self.now + int(self.rng.uniform(0, self.spread) * SECOND)
                self.stamps.append(arrival)
                self.calls[member[1].holder] += 1
                reply = arrival + int(self.rng.uniform(0, self.spread) * SECOND)
                self.pending.append((reply, member, ticket))

    def kill(self) -> None:
        victim = self.rng.randrange(len(self.alive))
        self.alive[victim] = self.start()

    def wipe(self) -> None:
        self.wiped += 1
        self.pool = None


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32), holders=st.integers(1, 4), trouble=st.sampled_from(["none", "kills", "wipes", "both"])
)
def test_processes_together_never_exceed_the_window(seed, holders, trouble):
    cluster = Cluster(seed, holders, amount=12, per=2.0, spread=0.3)
    for step in range(1500):
        cluster.step(40)
        if step and step % 400 == 0:
            if trouble in {"kills", "both"}:
                cluster.kill()
            if trouble in {"wipes", "both"}:
                cluster.wipe()
    assert most_in_any(cluster.stamps, 2 * SECOND) <= 12
    assert len(cluster.stamps) > 50
    if trouble == "none":
        assert len(cluster.stamps) > 0.7 * 1500 * 0.04 / 2 * 12


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32), amount=st.integers(1, 5), holders=st.integers(2, 5))
def test_fewer_places_than_processes_go_round(seed, amount, holders):
    cluster = Cluster(seed, holders, amount, per=1.0, spread=0.05)
    for _ in range(1500):
        cluster.step(20)
    assert most_in_any(cluster.stamps, SECOND) <= amount
    assert len(cluster.stamps) >= 0.75 * 30 * amount, "they are used"
    fair = len(cluster.stamps) / holders
    assert min(cluster.calls[member[1].holder] for member in cluster.alive) >= 0.5 * fair, cluster.calls


def test_a_first_use_lets_one_call_find_out_what_was_used():
    keeping = Keeping(100, 10 * SECOND, 30 * SECOND, TTL)
    pool, answer = exchange(None, keeping, Ask("a", want=100), 1, new_epoch="e", first=True)
    assert (answer.give, answer.probe) == (1, True)
    ask = Ask("a", answer.epoch, answer.seq, keeps=1, want=100, opened=31)
    pool, answer = exchange(pool, keeping, ask, SECOND, new_epoch="f")
    assert (answer.give, answer.probe) == (69, False), "30 others were counted"
    pool, answer = exchange(
        pool, keeping, Ask("a", answer.epoch, answer.seq, keeps=70, want=100), 12 * SECOND, new_epoch="g"
    )
    assert (answer.void, answer.give) == (True, 30), "our lease ran out; the others' calls have left the window"


def test_without_a_header_the_rest_opens_after_one_window():
    keeping = Keeping(100, 10 * SECOND, 30 * SECOND, TTL)
    pool, answer = exchange(None, keeping, Ask("a", want=100), 1, new_epoch="e", first=True)
    for at in range(1, 11):
        ask = Ask("a", answer.epoch, answer.seq, keeps=1 if at < 11 else 100, want=100)
        pool, answer = exchange(pool, keeping, ask, at * SECOND, new_epoch="f")
        assert answer.give == 0
    pool, answer = exchange(
        pool, keeping, Ask("a", answer.epoch, answer.seq, keeps=1, want=100), 11 * SECOND, new_epoch="f"
    )
    assert answer.give == 99


def test_a_clean_restart_gets_only_what_is_free():
    keeping = Keeping(10, 10 * SECOND, 30 * SECOND, TTL)
    pool, answer = exchange(None, keeping, Ask("a", want=10, fresh=True), 1, new_epoch="e", first=True)
    assert answer.give == 10
    gone = Ask("a", answer.epoch, answer.seq, keeps=0, returns=((9 * SECOND, 6), (0, 4)), leave=True)
    pool, _ = exchange(pool, keeping, gone, SECOND, new_epoch="f")
    pool, answer = exchange(pool, keeping, Ask("b", want=10), SECOND, new_epoch="g")
    assert (answer.give, answer.ripe) == (4, 9 * SECOND)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), amount=st.sampled_from([30, 500]))
def test_a_quota_lent_in_lots_ends_below_by_at_most_a_lot_per_kill(seed, amount):
    rng = random.Random(seed)
    pool: LotPool | None = None
    now, used, kills = SECOND, 0, 0

    def start(name: str):
        gate = Gate([Quota(amount, "00:00 UTC")])
        return gate, LotHolder(gate.meters["quota"], name, TTL, unused=False), name

    alive = [start("a"), start("b")]
    for i in range(4000):
        now += rng.randint(1, 200) * 1_000_000
        member = rng.choice(alive)
        gate, holder, name = member
        wall = EPOCH + now
        if gate.waiting < 2:
            gate.request()
        for ticket in gate.poll(now, wall).granted:
            used += 1
            gate.settle(ticket, now, wall)
            holder.settled = True
        queued = gate.waiting
        due = holder.due(now, wall, queued)
        if due is not None and due <= now:
            pool, answer = exchange_lot(pool, amount, holder.ask(now, wall, queued), now, first=True)
            holder.apply(answer, now, now)
        if rng.random() < 0.001 and kills < 3:
            kills += 1
            alive.remove(member)
            alive.append(start(f"n{i}"))
            pool, _ = (
                exchange_lot(pool, amount, alive[-1][1].ask(now, wall, 0), now, dead={name}) if pool else (None, None)
            )
        assert used <= amount
    assert used >= amount - kills * max(1, amount // 100) - 2
