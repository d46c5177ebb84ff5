"""Who is lent what where a limit does not suffice for all: whole calls, the longest waiting first, and no idle asking."""

from __future__ import annotations

from headway.limits.limits import Bucket, Concurrency, Quota, Window
from headway.limits.sharing.client import PlacesHolder
from headway.limits.sharing.places import Ask, Keeping
from headway.limits.sharing.queue import Head, Queue
from headway.limits.sharing.quota_client import LotHolder
from tests.limits.keeper import Keeper
from tests.limits.world import EPOCH, SECOND, Desk

TTL = 6 * SECOND
STEP = SECOND // 100


class Cluster:
    """Processes with several limits each on one keeper; every call takes 50 ms."""

    def __init__(self, limits, processes: int, share: float = 1.0) -> None:
        self.keeper = Keeper()
        self.now = 1
        self.asks: list[int] = [0] * processes
        self.granted: list[int] = [0] * processes
        self.flying: list[tuple[int, int, object]] = []
        self.desks = [Desk(limits, share=share) for _ in range(processes)]
        self.holders = [
            {
                name: PlacesHolder(meter, f"h{i}", linger=SECOND, ttl=TTL, fresh=True)
                for name, meter in desk.meters.items()
            }
            for i, desk in enumerate(self.desks)
        ]

    def ask(self, i: int) -> None:
        desk = self.desks[i]
        due = [holder.due(self.now, desk.queue(name, self.now)) for name, holder in self.holders[i].items()]
        if not any(at is not None and at <= self.now for at in due):
            return
        self.asks[i] += 1
        for name, holder in self.holders[i].items():
            keeping, ask = holder.ask(self.now, desk.queue(name, self.now))
            holder.apply(self.keeper.places(name, keeping, ask, self.now), self.now, self.now)
            desk.gate.unsettled(holder.meter)

    def run(self, seconds: float, keep_busy: int = 0) -> None:
        for _ in range(int(seconds * SECOND / STEP)):
            self.now += STEP
            for at, i, ticket in [each for each in self.flying if each[0] <= self.now]:
                self.flying.remove((at, i, ticket))
                self.desks[i].settle(ticket, self.now, EPOCH + self.now)
                for name, holder in self.holders[i].items():
                    if any(meter.name == name for meter in ticket.meters):
                        holder.used(self.now, ticket.cost_of(holder.meter))
            for i, desk in enumerate(self.desks):
                while desk.waiting < keep_busy:
                    desk.request()
                self.ask(i)
                for ticket in desk.poll(self.now, EPOCH + self.now).granted:
                    self.granted[i] += 1
                    self.flying.append((self.now + 5 * STEP, i, ticket))


def test_a_call_that_costs_more_than_a_fair_share_is_lent_all_of_it():
    cluster = Cluster([Concurrency(4)], 2)
    for desk in cluster.desks:
        desk.request(3)
        desk.request(3)
    cluster.run(30)
    assert cluster.granted == [2, 2]


def test_a_call_that_costs_all_there_is_goes_while_others_never_rest():
    cluster = Cluster([Window(10, 1.0)], 3)
    cluster.run(10, keep_busy=3)
    big = cluster.desks[0].request(10)
    cluster.run(40, keep_busy=3)
    assert big.stage > 1, "it was granted"
    assert min(cluster.granted) > 0.5 * sum(cluster.granted) / 3, "and nobody else starved"


def test_nobody_holds_for_ever_what_another_needs_beside_what_that_one_holds():
    cluster = Cluster([Window(2, 1.0), Concurrency(1), Bucket(2, 2)], 3)
    for number, desk in enumerate(cluster.desks):
        for cost in (1, {"window": 2}, 1, {"bucket": 2}):
            desk.request(cost, priority=("bulk", "interactive", "replay")[number])
            desk.request(1, limits={"window", "bucket"})
    cluster.run(180)
    assert cluster.granted == [8, 8, 8]


def test_what_waits_for_something_far_off_stands_in_nobodys_way():
    cluster = Cluster([Concurrency(1)], 2)
    cluster.desks[0].meters["concurrency"].pause(1000 * SECOND)
    cluster.desks[0].request()
    cluster.run(1)
    for _ in range(5):
        cluster.desks[1].request()
    cluster.run(20)
    assert cluster.granted == [0, 5]


def test_a_call_above_the_cap_makes_nobody_ask_again_and_again():
    """The keeper's word that it counts as two places is no news of more to be had."""
    cluster = Cluster([Concurrency(2)], 1, share=0.5)
    for _ in range(4):
        cluster.desks[0].request(2)
    cluster.run(1)
    assert cluster.asks[0] <= 10
    assert cluster.granted == [4]


def test_a_lost_state_that_is_not_open_yet_is_told_once_what_the_platform_counted():
    keeper, now = Keeper(), SECOND
    keeper.wipe(now)
    holder = PlacesHolder(Desk([Window(4, 1.0)]).meters["window"], "a", linger=5 * SECOND, ttl=TTL)
    queue = Queue(1, Head(1, 0, 1))
    asks = 0
    for _ in range(200):
        now += STEP
        holder.hear(1)
        due = holder.due(now, queue)
        if due is not None and due <= now:
            asks += 1
            keeping, ask = holder.ask(now, queue)
            holder.apply(keeper.places("k", keeping, ask, now), now, now)
    assert asks <= 6


def test_steady_work_asks_no_more_often_than_the_heartbeat():
    cluster = Cluster([Window(200, 1.0)], 4)
    cluster.run(5, keep_busy=2)
    before = list(cluster.asks)
    cluster.run(60, keep_busy=2)
    assert max(after - past for after, past in zip(cluster.asks, before, strict=True)) <= 31
    assert sum(cluster.granted) >= 0.9 * 200 * 65 / 1.1


def test_what_lies_idle_goes_to_whoever_is_hungry():
    cluster = Cluster([Window(100, 1.0)], 2)
    cluster.run(5, keep_busy=3)
    busy, other = cluster.desks
    for ticket in other.gate.queued():
        other.abandon(ticket)
    before = cluster.granted[0]
    for _ in range(1000):
        while busy.waiting < 3:
            busy.request()
        cluster.run(0.01)
    assert cluster.granted[0] - before >= 0.7 * 100 * 10 / 1.1


def test_who_holds_more_than_it_was_lent_is_paid_for_by_what_is_idle():
    keeper, keeping = Keeper(), Keeping(10, 0, 60 * SECOND, TTL)
    one = keeper.places("k", keeping, Ask("a", want=4, fresh=True), 1)
    two = keeper.places("k", keeping, Ask("b", want=6), 2)
    keeper.places("k", keeping, Ask("a", 2, one.epoch, one.seq, keeps=4, busy=7, want=7), 3)
    assert keeper.body("k")["free"] == -3
    two = keeper.places("k", keeping, Ask("b", 2, two.epoch, two.seq, keeps=6, busy=1, want=6), 4)
    assert two.target == 3


def test_a_limit_that_was_learned_stays_when_who_taught_it_is_gone():
    keeper, now = Keeper(), SECOND
    desk = Desk([Window(8, 1.0)])
    meter = desk.meters["window"]
    holder = PlacesHolder(meter, "a", linger=SECOND, ttl=TTL, fresh=True)
    queue = Queue(8, Head(1, 0, 1))

    def ask() -> None:
        keeping, said = holder.ask(now, queue)
        holder.apply(keeper.places("k", keeping, said, now), now, now)

    ask()
    other = keeper.places("k", Keeping(7, meter.turnaround, SECOND, TTL), Ask("b", want=1), now)
    ask()
    assert meter.cap == 7
    meter.recall({"amount": 7})  # what b had learned came with its words
    ask()
    gone = Ask("b", 2, other.epoch, other.seq, leave=True)
    keeper.places("k", Keeping(7, meter.turnaround, SECOND, TTL), gone, now)
    ask()
    assert meter.cap == 7


def test_a_quota_that_was_learned_stays_when_who_taught_it_is_gone():
    now = SECOND
    desk = Desk([Quota(20, "hourly")])
    desk.gate.look_at(now, EPOCH)
    meter = desk.meters["quota"]
    holder = LotHolder(meter, "a", ttl=TTL, unused=False, fresh=True)
    meter.stricten(19, 0)
    holder._cap = [20, 19]  # adopted from another
    meter.recall({"amount": 19})
    assert holder.amount == 19
