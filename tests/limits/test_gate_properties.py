"""No window of the platform's clock ever holds more than its amount, whatever the network does."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.limits.limits import Bucket, Concurrency, Quota, Window
from tests.counting import most_in_any
from tests.limits.world import SECOND, Desk, Network, World


def jittery(low: float, high: float):
    return lambda rng: rng.uniform(low, high)


@settings(max_examples=150, deadline=None)
@given(
    amount=st.integers(1, 12),
    per=st.sampled_from([0.5, 1.0, 2.0, 10.0]),
    spread=st.sampled_from([0.0, 0.05, 0.3, 3.0]),
    lost=st.sampled_from([0.0, 0.1]),
    cancelled=st.sampled_from([0.0, 0.2]),
    rate=st.sampled_from([0.9995, 1.0, 1.0005]),
    pacing=st.sampled_from(["burst", "smooth"]),
    seed=st.integers(0, 2**32),
)
def test_no_window_holds_more_than_its_amount(amount, per, spread, lost, cancelled, rate, pacing, seed):
    gate = Desk([Window(amount, per)], pacing=pacing)
    network = Network(jittery(0, spread), jittery(0, spread), jittery(0, spread), lost=lost, cancelled=cancelled)
    world = World(gate, network, seed=seed, rate=rate)
    rng = random.Random(seed)
    for _ in range(60):
        world.ask(cost=rng.randint(1, amount) if rng.random() < 0.2 else 1)
    world.run()
    assert gate.waiting == 0
    # The client's clock may run fast by 500 ppm: the guard pays for it.
    assert most_in_any(world.counted.get("window", []), int(per * SECOND)) <= amount


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), spread=st.sampled_from([0.01, 0.3, 1.0]))
def test_all_limits_hold_at_once(seed, spread):
    limits = [Window(20, 10, "ten"), Window(3, 1, "one"), Quota(100, "hourly", name="hour")]
    world = World(Desk(limits), Network(jittery(0, spread), jittery(0, spread), jittery(0, spread)), seed=seed)
    rng = random.Random(seed)
    for _ in range(120):
        world.ask(
            limits=rng.choice([None, frozenset({"ten", "hour"}), frozenset({"one"})]),
            priority=rng.choice(["interactive", "bulk", "replay"]),
        )
    world.run(until=3000 * SECOND)
    assert most_in_any(world.counted.get("ten", []), 10 * SECOND) <= 20
    assert most_in_any(world.counted.get("one", []), SECOND) <= 3
    assert len([at for at in world.counted.get("hour", []) if at < 600 * SECOND]) <= 100


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), rate=st.sampled_from([0.5, 3.0, 50.0]), capacity=st.integers(1, 30))
def test_a_bucket_never_overflows(seed, rate, capacity):
    world = World(Desk([Bucket(rate, capacity)]), Network(jittery(0, 0.3), jittery(0, 0.3), jittery(0, 0.3)), seed=seed)
    for _ in range(100):
        world.ask()
    world.run()
    level, then = 0.0, 0
    for at in sorted(world.counted["bucket"]):
        level = max(0.0, level - (at - then) / SECOND * rate) + 1
        then = at
        assert level <= capacity + 1e-6


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_an_arrival_bound_wins_back_time_and_stays_safe(seed):
    bound = 0.3

    class Stamping(World):
        def _send(self, ticket):
            super()._send(ticket)
            self.gate.stamp(ticket, self.client())

    gate = Desk([Window(10, 1, arrival_bound=bound)])
    world = Stamping(gate, Network(jittery(0, bound), jittery(1.0, 2.0), jittery(0, 0.3)), seed=seed)
    for _ in range(100):
        world.ask()
    world.run()
    assert most_in_any(world.counted["window"], SECOND) <= 10
    # Without the bound every place would be held for more than two seconds: 100 calls would take over 20 s.
    assert world.now < 17 * SECOND


def test_a_lost_call_counted_within_its_linger_breaks_nothing():
    """The server stalls 20 s while we time out after 5 (the attack of the settle rule)."""

    def stall(rng: random.Random) -> float:
        return 20.0 if rng.random() < 0.2 else 0.02

    for seed in range(20):
        world = World(Desk([Window(10, 1)]), Network(there=stall, give_up=5), seed=seed)
        for _ in range(200):
            world.ask()
        world.run()
        assert most_in_any(world.counted["window"], SECOND) <= 10


@pytest.mark.parametrize(("spread", "bar"), [(0.0, 0.99), (0.3, 0.955)])
def test_the_price_of_safety_is_the_round_trip(spread, bar):
    """Accepted rate at an exact rolling 100 per 10 s, 50 ms of service, 0 to `spread` seconds each way."""
    world = World(Desk([Window(100, 10)]), Network(jittery(0, spread), lambda rng: 0.05, jittery(0, spread)), seed=7)
    for _ in range(3000):
        world.ask()
    world.run()
    stamps = sorted(world.counted["window"])
    assert most_in_any(stamps, 10 * SECOND) <= 100
    after_first = [at for at in stamps if at >= 10 * SECOND]
    rate = len(after_first) / ((after_first[-1] - 10 * SECOND) / SECOND) / 10
    assert rate >= bar


def test_a_day_of_forty_thousand_calls_takes_seconds():
    gate = Desk([Window(100, 10), Quota(40_000, "00:00 UTC", name="daily")])
    world = World(gate, Network(there=lambda rng: 0.02, service=lambda rng: 0.01, back=lambda rng: 0.02))
    for _ in range(40_100):
        world.ask()
    world.run(until=86_400 * 2 * SECOND)
    from tests.limits.world import EPOCH

    midnight = (EPOCH // (86_400 * SECOND) + 1) * 86_400 * SECOND - EPOCH
    before = [at for at in world.counted["daily"] if at < midnight]
    assert len(before) <= 40_000
    assert len(world.counted["daily"]) == 40_100
    assert min(at for at in world.counted["daily"] if at > midnight) <= midnight + 6 * SECOND


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32), amount=st.integers(1, 6))
def test_no_more_in_flight_than_the_concurrency(seed, amount):
    class Counting(World):
        flying = worst = 0

        def _send(self, ticket):
            self.flying += 1
            self.worst = max(self.worst, self.flying)
            super()._send(ticket)

        def on_done(self, ticket):
            self.flying -= 1

    world = Counting(Desk([Concurrency(amount)]), Network(jittery(0, 0.3), cancelled=0.1), seed=seed)
    for _ in range(80):
        world.ask()
    world.run()
    assert world.worst == amount
    assert world.flying == 0


def test_long_calls_refuse_new_ones_and_short_ones_do_not():
    gate = Desk([Concurrency(2, longer_than=20)])
    now = SECOND
    first = [gate.try_take(now, 0) for _ in range(5)]
    assert all(first), "calls younger than the bound are not counted"
    late = now + 19 * SECOND
    assert gate.try_take(late, 0) is None, "more than two are older than 20 s less the margin"
    for ticket in first[:4]:
        gate.settle(ticket, late, 0)
    assert gate.try_take(late, 0) is not None
