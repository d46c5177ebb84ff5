"""Places lent to processes: never more than the amount, whoever dies, restarts or loses the state."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from headway.limits.limits import Concurrency, Quota, Window
from headway.limits.sharing.client import PlacesHolder
from headway.limits.sharing.fairness import max_min
from headway.limits.sharing.places import Answer, Ask, Keeping
from headway.limits.sharing.quota_client import LotHolder
from tests.counting import most_in_any
from tests.limits.keeper import Keeper
from tests.limits.world import EPOCH, SECOND, Desk

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


class Cluster:
    """Holders with gates of their own on one keeper; calls are stamped by a platform that shares no code with them."""

    def __init__(self, seed: int, holders: int, amount: int, per: float, *, spread: float) -> None:
        self.rng = random.Random(seed)
        self.limit = Window(amount, per, name="window") if per else Concurrency(amount, name="window")
        self.spread = spread
        self.linger = 5 * SECOND
        self.keeper = Keeper()
        self.now = 1
        self.stamps: list[int] = []
        self.flights: list[tuple[int, int]] = []  # as the platform sees them
        self.calls: Counter[str] = Counter()
        self.names = 0
        self.lossy = self.losing = self.slow = 0.0
        self.stopped: dict[int, int] = {}  # until when a process is stopped, by its place among the living
        self.alive = [self.start() for _ in range(holders)]
        self.pending: list[tuple[int, object, object]] = []

    def start(self):
        gate = Desk([self.limit])
        self.names += 1
        meter = gate.meters["window"]
        skew = self.rng.randint(-30, 30) * SECOND + 60 * SECOND
        return [gate, PlacesHolder(meter, f"h{self.names}", linger=self.linger, ttl=TTL), skew]

    def exchange(self, member) -> None:
        gate, holder, skew = member
        clock = self.now + skew
        queued = gate.queue("window", clock)
        due = holder.due(clock, queued)
        if due is None or due > clock:
            return
        keeping, ask = holder.ask(clock, queued)
        fate = self.rng.random()
        if fate < self.lossy / 2:
            holder.failed(clock)  # the ask was lost
            return
        answer = self.keeper.places("k", keeping, ask, self.now)
        if fate < self.lossy:
            holder.failed(clock)  # the answer was lost
        else:
            holder.apply(answer, clock, clock)
            gate.gate.touched = -1

    def stop(self, seconds: float) -> None:
        """One process is stopped: its calls go on at the platform, it learns of them later."""
        self.stopped[self.rng.randrange(len(self.alive))] = self.now + int(seconds * SECOND)

    def step(self, milliseconds: int) -> None:
        self.now += milliseconds * 1_000_000
        running = [member for i, member in enumerate(self.alive) if self.stopped.get(i, 0) <= self.now]
        for entry in [entry for entry in self.pending if entry[0] <= self.now]:
            _, member, ticket = entry
            if member in self.alive and member not in running:
                continue
            self.pending.remove(entry)
            if member in self.alive:
                lost = self.linger if self.rng.random() < self.losing else 0
                member[0].settle(ticket, self.now + member[2], 0, lost=lost)
        for member in running:
            self.exchange(member)
            gate, _, skew = member
            while gate.waiting < 3:
                gate.request()
            for ticket in gate.poll(self.now + skew, 0).granted:
                arrival = self.now + int(self.rng.uniform(0, self.spread) * SECOND)
                self.stamps.append(arrival)
                self.calls[member[1].holder] += 1
                slow = 10.0 if self.rng.random() < self.slow else self.spread
                reply = arrival + int(self.rng.uniform(0, slow) * SECOND)
                self.flights.append((arrival, reply))
                self.pending.append((reply, member, ticket))

    def kill(self) -> None:
        victim = self.rng.randrange(len(self.alive))
        self.alive[victim] = self.start()

    def wipe(self) -> None:
        self.keeper.wipe(self.now)


@settings(max_examples=8, deadline=None)
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


@settings(max_examples=15, deadline=None)
@example(seed=1, holders=3, per=0.0, trouble={"stops", "slow"})
@example(seed=2, holders=4, per=2.0, trouble={"stops", "slow", "lossy"})
@given(
    seed=st.integers(0, 2**32), holders=st.integers(1, 4), per=st.sampled_from([0.0, 2.0]),
    trouble=st.sets(st.sampled_from(["kills", "wipes", "stops", "lossy", "losing", "slow"]), min_size=1),
)  # fmt: skip
def test_nothing_is_lent_twice_whoever_lapses_dies_or_is_not_heard(seed, holders, per, trouble):
    """Lapses of more than a lease, lost asks and answers, lost calls, deaths and lost state, in any mixture."""
    cluster = Cluster(seed, holders, amount=9, per=per, spread=0.6)
    cluster.lossy = 0.3 if "lossy" in trouble else 0.0
    cluster.losing = 0.05 if "losing" in trouble else 0.0
    cluster.slow = 0.3 if "slow" in trouble else 0.0
    for step in range(1, 1200):
        cluster.step(40)
        if "kills" in trouble and step % 500 == 0:
            cluster.kill()
        if "wipes" in trouble and step % 350 == 0:
            cluster.wipe()
        if "stops" in trouble and step % 250 == 0:
            cluster.stop(cluster.rng.uniform(5.0, 9.0))
    if per:
        assert most_in_any(cluster.stamps, int(per * SECOND)) <= 9
    else:
        ends = sorted([(at, 1) for at, _ in cluster.flights] + [(at, -1) for _, at in cluster.flights])
        level = worst = 0
        for _, change in ends:
            level += change
            worst = max(worst, level)
        assert worst <= 9
    # Where the state is lost every 14 s and a process dies every 20, places count as taken for most of the time.
    assert len(cluster.stamps) > (10 if {"wipes", "kills"} <= trouble else 20)


def test_what_is_said_between_an_ask_and_its_answer_is_kept_for_the_next_ask():
    """L6: a 429's pause, and a single-use place that was used meanwhile."""
    keeper = Keeper()
    gate = Desk([Concurrency(1, name="window")])
    mine = PlacesHolder(gate.meters["window"], "a", linger=SECOND, ttl=TTL, fresh=True)
    gate.request()
    keeping, ask = mine.ask(1, gate.queue("window", 1))
    mine.apply(keeper.places("k", keeping, ask, 1), 1, 1)
    gate.gate.unsettled(gate.meters["window"])
    (ticket,) = gate.poll(1, 0).granted
    keeper.places("k", keeping, Ask("b", 1, want=1), 2)  # another wants the only place, too: it is for a single use
    keeping, ask = mine.ask(3)
    mine.apply(keeper.places("k", keeping, ask, 3), 3, 3)
    assert mine.single
    keeping, ask = mine.ask(4)
    gate.settle(ticket, 5, 0)
    mine.used(5, 1)  # its place was given back while the ask was under way
    mine.pause(9 * SECOND)
    mine.apply(keeper.places("k", keeping, ask, 6), 4, 6)
    assert mine.due(6) == 6
    keeping, ask = mine.ask(6)
    assert ask.pause_for == 9 * SECOND - 6
    assert [(number, count) for number, _, count in ask.returns] == [(ask.number, 1)]
    keeper.places("k", keeping, ask, 7)
    other = keeper.places("k", keeping, Ask("b", 2, want=1), 8)
    assert (other.places, other.pause) == (1, 9 * SECOND - 7)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_whatever_is_said_places_are_neither_made_nor_lost(data):
    """free + lent + cooling + unopened is the amount after every exchange, and nothing is lent on debt."""
    keeper = Keeper()
    now = 1
    seen: dict[str, Answer] = {}
    for _ in range(data.draw(st.integers(1, 30))):
        now += data.draw(st.integers(-3, 12)) * SECOND
        name = data.draw(st.sampled_from("abc"))
        last = seen.get(name)
        keeps = data.draw(st.integers(0, (last.places if last else 0) + 3))
        number = (last.number if last else 0) + data.draw(st.integers(0, 2))
        ask = Ask(
            name, number, last.epoch if last else "", last.seq if last else 0, keeps, data.draw(st.integers(0, keeps)),
            ((number, data.draw(st.integers(0, 5)) * SECOND, data.draw(st.integers(0, 3))),),
            data.draw(st.integers(0, 30)), data.draw(st.sampled_from([None, 0, 5, 50])),
            leave=data.draw(st.integers(0, 9)) == 0, fresh=data.draw(st.booleans()),
        )  # fmt: skip
        keeping = Keeping(data.draw(st.sampled_from([20, 20, 7])), 10 * SECOND, 30 * SECOND, TTL)
        seen[name] = keeper.places("k", keeping, ask, now, dead=data.draw(st.sets(st.sampled_from("abc"), max_size=1)))
        brought = max(ask.keeps, ask.busy)
        if keeper.body("k")["free"] < 0:
            assert seen[name].places <= brought
        if data.draw(st.integers(0, 9)) == 0:
            keeper.wipe(now)
        elif data.draw(st.integers(0, 9)) == 0:
            del seen[name]  # killed, and another takes its name


@settings(max_examples=6, deadline=None)
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
    keeping, keeper = Keeping(100, 10 * SECOND, 30 * SECOND, TTL), Keeper()
    answer = keeper.places("k", keeping, Ask("a", want=100), 1)
    assert (answer.places, answer.probe, answer.why) == (1, True, "new")
    ask = Ask("a", 2, answer.epoch, answer.seq, keeps=1, busy=1, want=100, opened=31)
    answer = keeper.places("k", keeping, ask, SECOND)
    assert (answer.places, answer.probe) == (70, False), "30 others were counted"
    answer = keeper.places("k", keeping, Ask("a", 3, answer.epoch, answer.seq, keeps=70, want=100), 12 * SECOND)
    assert answer.places == 100, "the others' calls have left the window; the lease ran out, but nobody else asked"


def test_without_a_header_the_rest_opens_after_one_window_and_says_when():
    keeping, keeper = Keeping(100, 10 * SECOND, 30 * SECOND, TTL), Keeper()
    answer = keeper.places("k", keeping, Ask("a", want=100), 1)
    assert answer.opens == 0, "the probe's reply may open it"
    for at in range(1, 10):
        ask = Ask("a", at + 1, answer.epoch, answer.seq, keeps=1, busy=1, want=100, probed=at > 3)
        answer = keeper.places("k", keeping, ask, at * SECOND)
        assert (answer.places, answer.why) == (1, "new")
        assert answer.opens == (10 * SECOND + 1 - at * SECOND if at > 3 else 0)
    ask = Ask("a", 11, answer.epoch, answer.seq, keeps=1, busy=1, want=100)
    assert keeper.places("k", keeping, ask, 10 * SECOND + 1).places == 100


def test_a_clean_restart_gets_only_what_is_free():
    keeping, keeper = Keeping(10, 10 * SECOND, 30 * SECOND, TTL), Keeper()
    answer = keeper.places("k", keeping, Ask("a", want=10, fresh=True), 1)
    assert answer.places == 10
    gone = Ask("a", 2, answer.epoch, answer.seq, returns=((2, 9 * SECOND, 6), (2, 0, 4)), leave=True)
    keeper.places("k", keeping, gone, SECOND)
    keeper.places("k", keeping, gone, SECOND)  # the first answer was lost
    answer = keeper.places("k", keeping, Ask("b", want=10), SECOND)
    assert (answer.places, answer.ripe) == (4, 9 * SECOND)


def test_fresh_is_no_amnesty_for_a_state_that_was_lost():
    keeping, keeper = Keeping(10, 10 * SECOND, 30 * SECOND, TTL), Keeper()
    keeper.wipe(1)
    answer = keeper.places("k", keeping, Ask("a", want=10, fresh=True), 2)
    assert (answer.places, answer.why) == (0, "lost")


def test_the_stricter_of_two_figures_holds_while_both_live():
    keeper = Keeper()
    loose, strict = Keeping(1000, SECOND, SECOND, TTL), Keeping(10, 5 * SECOND, SECOND, TTL)
    first = keeper.places("k", loose, Ask("a", want=400, fresh=True), 1)
    assert first.places == 400
    second = keeper.places("k", strict, Ask("b", want=10), 2)
    assert (second.places, second.amount, second.per) == (0, 10, 5 * SECOND)
    back = Ask("a", 2, first.epoch, first.seq, keeps=5, busy=5, want=10, returns=((2, SECOND, 300), (2, 0, 95)))
    first = keeper.places("k", loose, back, 3)
    assert (first.places, first.amount) == (5, 10)
    second = keeper.places("k", strict, Ask("b", 2, second.epoch, second.seq, want=10), SECOND)
    assert second.places == 0, "they were counted within the longer window"
    second = keeper.places("k", strict, Ask("b", 3, second.epoch, second.seq, want=10), 5 * SECOND + 3)
    assert second.places == 5
    keeper.places("k", strict, Ask("b", 4, second.epoch, second.seq, leave=True, returns=((4, 0, 5),)), 5 * SECOND + 4)
    first = keeper.places("k", loose, Ask("a", 3, first.epoch, first.seq, keeps=5, busy=0, want=900), 5 * SECOND + 5)
    assert first.places == 900


def test_a_holder_that_lapsed_claims_what_is_in_flight_again():
    """L3: it was stopped for longer than its lease; its places are not forgotten, and not lent twice."""
    keeping, keeper = Keeping(10, 0, 60 * SECOND, TTL), Keeper()
    mine = keeper.places("k", keeping, Ask("a", want=10, fresh=True), 1)
    other = keeper.places("k", keeping, Ask("b", want=10), 20 * SECOND)
    assert other.places == 0, "they cool: nobody knows what became of them"
    mine = keeper.places("k", keeping, Ask("a", 2, mine.epoch, mine.seq, keeps=6, busy=6, want=6), 21 * SECOND)
    assert mine.places == 6
    other = keeper.places("k", keeping, Ask("b", 2, other.epoch, other.seq, want=10), 21 * SECOND)
    assert other.places == 4, "what it did not claim is free at once"
    assert other.recovering == 0


def test_a_claim_is_a_fact_even_as_a_debt():
    keeping, keeper = Keeping(10, 0, SECOND, TTL), Keeper()
    mine = keeper.places("k", keeping, Ask("a", want=10, fresh=True), 1)
    keeper.places("k", keeping, Ask("b", want=10), 20 * SECOND)
    other = keeper.places("k", keeping, Ask("b", 2, mine.epoch, mine.seq, want=10), 22 * SECOND)
    assert other.places == 10, "linger is over: it was promised nothing"
    mine = keeper.places("k", keeping, Ask("a", 2, mine.epoch, mine.seq, keeps=9, busy=4, want=10), 23 * SECOND)
    assert mine.places == 4, "what is in flight, and nothing idle"
    assert keeper.body("k")["free"] == -4
    back = Ask("b", 3, other.epoch, other.seq, keeps=4, busy=4, want=4, returns=((3, 0, 6),))
    keeper.places("k", keeping, back, 23 * SECOND)
    assert keeper.places("k", keeping, Ask("c", want=10), 23 * SECOND).places == 2


def test_a_debt_is_paid_by_what_is_free_first():
    keeper, per = Keeper(), 10 * SECOND
    mine = keeper.places("k", Keeping(8, per, SECOND, TTL), Ask("a", want=5, fresh=True), 1)
    other = keeper.places("k", Keeping(8, per, SECOND, TTL), Ask("b", want=3), 2)
    assert (mine.places, other.places, other.debt) == (5, 3, False)
    asked = Ask("a", 2, mine.epoch, mine.seq, keeps=5, busy=5, want=5)
    mine = keeper.places("k", Keeping(6, per, SECOND, TTL), asked, 3)
    assert (mine.places, mine.target, mine.debt) == (5, 3, True), "all of them are busy, and not to be used again"


def test_everybody_hears_that_somebodys_figures_changed():
    keeper, per = Keeper(), 10 * SECOND
    mine = keeper.places("k", Keeping(8, per, SECOND, TTL), Ask("a", want=2, fresh=True), 1)
    other = keeper.places("k", Keeping(8, per, SECOND, TTL), Ask("b", want=2), 2)
    keeper.places("k", Keeping(6, per, SECOND, TTL), Ask("a", 2, mine.epoch, mine.seq, leave=True), 3)
    heard = keeper.places("k", Keeping(8, per, SECOND, TTL), Ask("b", 2, other.epoch, other.seq, want=2), 4)
    assert heard.amount == 8, "who knew better is gone"
    assert heard.figures != other.figures


def test_a_holder_that_lapsed_after_a_loss_is_not_counted_twice():
    keeping, keeper = Keeping(8, 60 * SECOND, 5 * SECOND, TTL), Keeper()
    keeper.wipe(1)
    mine = keeper.places("k", keeping, Ask("a", 7, "gone", 7, keeps=4, busy=4, want=8), 2)
    assert (mine.places, mine.why) == (4, "lost")
    other = keeper.places("k", keeping, Ask("b", want=8), 7 * SECOND)
    assert (other.places, other.why) == (0, "lost")
    mine = keeper.places("k", keeping, Ask("a", 8, mine.epoch, mine.seq, keeps=4, busy=4, want=8), 8 * SECOND)
    assert mine.places == 4, "a dead process may have the others"


def test_less_after_a_loss_is_taken_from_those_who_claim():
    keeper, per = Keeper(), 10 * SECOND
    keeper.wipe(1)
    mine = keeper.places("k", Keeping(7, per, SECOND, TTL), Ask("a", 7, "gone", 7, keeps=5, busy=5, whole=8), 2)
    other = Ask("b", 7, "gone", 7, keeps=2, busy=2, whole=8)
    other = keeper.places("k", Keeping(7, per, SECOND, TTL), other, 3)
    assert (mine.places, other.places, other.debt) == (5, 2, True), "of eight places a dead process may have one"


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), amount=st.sampled_from([30, 500]))
def test_a_quota_lent_in_lots_ends_below_by_at_most_a_lot_per_kill(seed, amount):
    rng = random.Random(seed)
    keeper = Keeper()
    dead: set[str] = set()
    now, used, kills = SECOND, 0, 0

    def start(name: str):
        gate = Desk([Quota(amount, "00:00 UTC")])
        return gate, LotHolder(gate.meters["quota"], name, ttl=TTL, unused=False), name

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
            holder.used(now, 1)
        queued = gate.queue("quota", now)
        due = holder.due(now, queued)
        if due is not None and due <= now:
            holder.apply(keeper.lot("q", amount, holder.ask(now, queued), now, wall, dead=dead), now, now)
        if rng.random() < 0.001 and kills < 3:
            kills += 1
            alive.remove(member)
            dead.add(name)
            alive.append(start(f"n{i}"))
        assert used <= amount
    assert used >= amount - kills * max(1, amount // 100) - 2
