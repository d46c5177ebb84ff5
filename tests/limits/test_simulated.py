"""The gate against an exact rolling platform in virtual time: what it reaches, and what it is refused."""

from __future__ import annotations

import pytest

from headway.limits.limits import Adaptive, Window
from tests.limits.simulation import Platform, Simulation
from tests.limits.world import Desk

MINUTES_25 = 1500.0


def jitter(least: float, most: float):
    return lambda rng: rng.uniform(least, most)


def always(seconds: float):
    return lambda rng: seconds


@pytest.mark.parametrize(
    ("there", "service", "arrival_bound", "bar"),
    [
        (always(0.0), always(0.05), None, 0.99),
        (jitter(0, 0.3), always(0.05), None, 0.955),
        (jitter(0, 0.3), always(1.5), None, 0.835),
        (jitter(0, 0.3), always(1.5), 0.5, 0.945),
    ],
    ids=["50 ms", "50 ms and jitter", "1.5 s and jitter", "the same with an arrival bound"],
)
def test_a_rolling_window_is_used_up_to_the_price_of_the_round_trip(there, service, arrival_bound, bar):
    gate = Desk([Window(100, 10, arrival_bound=arrival_bound)])
    world = Simulation(gate, Platform(100, 10), there, service, there, callers=150, stamp=arrival_bound is not None)
    world.run(10_000, calls=3000)
    first, last = world.accepted[0], world.accepted[-1]
    rate = (len(world.accepted) - 100) / ((last - first) / 1e9)  # the first window comes for nothing
    assert world.refused == []
    assert rate >= bar * 10


def reached(limit, seed: int, limit_at=None) -> tuple[float, int, Simulation]:
    """(share refused, calls accepted) in 25 virtual minutes."""
    gate = Desk([limit], pacing="smooth")
    way = jitter(0.02, 0.08)
    world = Simulation(gate, Platform(100, 10, limit_at), way, always(0.05), way, seed=seed)
    world.run(MINUTES_25)
    return len(world.refused) / (len(world.refused) + len(world.accepted)), len(world.accepted), world


@pytest.mark.parametrize("initial", [20, 100, 400])
@pytest.mark.parametrize("seed", [1, 2])
def test_an_unknown_amount_of_a_known_window_is_found(initial, seed):
    told = reached(Window(100, 10), seed)[1]
    refused, accepted, _ = reached(Adaptive(initial, 1, 1000, per=10), seed)
    assert refused <= 0.005
    assert accepted >= 0.95 * told


@pytest.mark.parametrize("initial", [2, 10, 40])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_limit_of_unknown_length_is_found(initial, seed):
    refused, accepted, _ = reached(Adaptive(initial, 0.1, 100), seed)
    assert refused <= 0.015
    assert accepted >= 0.8 * 10 * MINUTES_25


def test_a_limit_that_moves_is_followed_both_ways():
    refused, accepted, world = reached(Adaptive(50, 1, 1000, per=10), 1, lambda s: 100 if s < 500 or s > 1000 else 50)
    assert refused <= 0.01
    assert accepted >= 0.8 * (100 * 100 + 50 * 50)
    assert 80 <= world.gate.meters["adaptive"].search.amount <= 105


def test_without_a_ceiling_nothing_above_the_initial_amount_is_tried():
    gate = Desk([Adaptive(50, per=10)])
    world = Simulation(gate, Platform(100, 10))
    world.run(300)
    assert world.refused == []
    assert gate.meters["adaptive"].search.amount == 50
    assert len(world.accepted) <= 50 * 31


def test_another_application_is_refused_nothing_and_the_rest_is_used():
    gate = Desk([Window(100, 10)], share=0.6, pacing="smooth")
    world = Simulation(gate, Platform(100, 10), always(0.02), always(0.01), always(0.02), headers=True)
    fate = world.foreign(always(0.25), until=600)
    world.run(600)
    assert len(fate) > 2300
    assert all(fate)
    assert len(world.accepted) >= 0.95 * 60 * 60


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_another_application_with_jitter_is_refused_next_to_nothing(seed):
    gate = Desk([Window(100, 10)], share=0.6, pacing="smooth")
    world = Simulation(gate, Platform(100, 10), jitter(0, 0.1), always(0.01), jitter(0, 0.1), headers=True, seed=seed)
    fate = world.foreign(jitter(0.2, 0.3), until=1200)
    world.run(1200)
    assert fate.count(False) <= 0.005 * len(fate)


def test_headers_lower_the_cap_to_what_others_leave_and_raise_it_again():
    gate = Desk([Window(100, 10)], pacing="smooth")
    world = Simulation(gate, Platform(100, 10), always(0.02), always(0.01), always(0.02), headers=True)
    world.foreign(always(0.25), until=200)
    world.run(150)
    assert 50 <= gate.meters["window"].cap <= 65
    world.run(400)
    assert gate.meters["window"].cap >= 97


def test_a_platform_that_holds_less_than_it_must_refutes_the_profile():
    """Told a window of 10 s, it forgets after 5: the calls that we know to be in it are not there."""
    gate = Desk([Window(100, 10, arrival_bound=0.05)], pacing="smooth")
    meter = gate.meters["window"]
    guard = meter.guard
    there, service = always(0.02), always(0.01)
    world = Simulation(gate, Platform(100, 5), there, service, there, headers=True, claims=10.0, stamp=True)
    world.run(60)
    assert world.said
    assert meter.arrival_bound is None
    assert meter.guard > guard


def test_a_true_profile_is_never_refuted():
    gate = Desk([Window(100, 10)])
    guard = gate.meters["window"].guard
    world = Simulation(gate, Platform(100, 10), jitter(0, 0.3), jitter(0, 0.2), jitter(0, 0.3), headers=True)
    world.run(300)
    assert gate.meters["window"].guard == guard
    assert world.refused == world.said == []


def test_a_search_lane_beside_a_full_window_gets_its_part():
    gate = Desk([Window(100, 10, "window"), Window(5, 1, "search")])
    sent = {"general": 0, "search": 0}
    now, flights = 1, []
    for _ in range(200):
        gate.request(limits=["window"]).who = "general"
        gate.request(limits=["window", "search"]).who = "search"
    while now < 200_000_000_000:
        poll = gate.poll(now, 1_790_000_000_000_000_000 + now)
        for ticket in poll.granted:
            sent[str(ticket.who)] += 1
            flights.append((now + 50_000_000, ticket))
        following = [flights[0][0]] if flights else []
        if poll.wake is not None:
            following.append(max(poll.wake, now))
        now = max(now + 1, min(following))
        while flights and flights[0][0] <= now:
            _, ticket = flights.pop(0)
            gate.settle(ticket, now, 1_790_000_000_000_000_000 + now)
            again = gate.request(limits=list(ticket.names))
            again.who = ticket.who
    assert sum(sent.values()) >= 0.97 * 2000
    assert sent["search"] >= 0.35 * 2000
    assert sent["general"] >= 0.35 * 2000
