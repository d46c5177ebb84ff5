"""Order: first in, first out within a lane; nobody starves; nobody passes a head whose places it would take."""

from __future__ import annotations

import pytest

from headway.errors import NeverGranted, UsageError
from headway.limits.gate import Gate
from headway.limits.limits import Concurrency, Quota, Window
from headway.limits.ticket import Ticket
from tests.counting import most_in_any
from tests.limits.world import SECOND, Desk, Network, World


def test_a_lane_is_served_in_order_even_if_a_small_cost_would_fit_sooner():
    gate = Desk([Window(10, 1)])
    first = gate.request(8)
    gate.poll(1, 0)
    big, small = gate.request(5), gate.request(1)
    assert gate.poll(2, 0).granted == ()
    gate.settle(first, SECOND, 0)
    assert gate.poll(3 * SECOND, 0).granted == (big, small)


def test_a_head_is_passed_only_by_those_that_need_none_of_its_places():
    gate = Desk([Concurrency(2, name="general"), Concurrency(1, name="search"), Concurrency(9, name="other")])
    searching = gate.try_take(1, 0, limits={"general", "search"})
    busy = gate.try_take(1, 0, limits={"general"})
    head = gate.request(limits={"general", "search"})
    rival = gate.request(limits={"general"})
    stranger = gate.request(limits={"other"})
    gate.settle(busy, 2, 0)
    assert gate.poll(3, 0).granted == (stranger,), "one general place is free, and spoken for"
    gate.settle(searching, 4, 0)
    assert gate.poll(5, 0).granted == (head, rival)


def test_nothing_is_consumed_from_one_limit_when_another_says_no():
    gate = Desk([Window(10, 10, "window"), Concurrency(1)])
    held = gate.try_take(1, 0)
    assert held is not None
    for _ in range(5):
        assert gate.try_take(2, 0) is None
    assert gate.meters["window"].held(2) == 1


def test_a_call_that_one_limit_refuses_leaves_the_pace_of_the_others_as_it_was():
    gate = Gate([Window(10, 10, "window"), Concurrency(1, name="slots")], pacing="smooth")
    held = Ticket(gate.choose({"slots"}))
    assert gate.take(held, 1) == 0
    assert gate.take(Ticket(gate.all), 1) != 0
    gate.settle(held, 2)
    assert gate.take(Ticket(gate.all), 3) == 0


def test_who_is_of_a_higher_class_gets_the_place_that_is_kept_for_a_lower():
    gate = Desk([Concurrency(2, name="general"), Concurrency(1, name="search")])
    assert gate.try_take(1, 0, limits={"search"})
    assert gate.try_take(1, 0, limits={"general"})
    gate.request(limits={"general", "search"})
    gate.request(limits={"general"})
    assert gate.poll(2, 0).granted == ()
    urgent = gate.request(limits={"general"}, priority="interactive")
    assert gate.poll(3, 0).granted == (urgent,)


def test_one_grant_in_ten_goes_to_a_lower_class():
    gate = Desk([Concurrency(1)])
    for _ in range(30):
        gate.request(priority="interactive").who = "i"
        gate.request(priority="replay").who = "r"
    order = []
    for now in range(1, 41):
        (ticket,) = gate.poll(now, 0).granted
        order.append(ticket.who)
        gate.settle(ticket, now, 0)
    assert order[:10].count("r") == 1
    assert order[:30].count("r") == 3
    assert set(order[33:]) == {"r"}, "then there is nobody else"


def test_a_search_lane_beside_a_full_general_window_gets_its_part():
    gate = Desk([Window(100, 10, "window"), Window(5, 1, "search")])
    world = World(gate, Network())

    def refill(ticket):
        world.ask(ticket.who, limits=ticket.names)

    world.on_done = refill
    for _ in range(30):
        world.ask("general", limits={"window"})
        world.ask("search", limits={"window", "search"})
    world.run(until=200 * SECOND)
    assert most_in_any(world.counted["window"], 10 * SECOND) <= 100
    assert most_in_any(world.counted["search"], SECOND) <= 5
    assert len(world.counted["window"]) / 2000 >= 0.95
    searches = sum(1 for _, who in world.grants if who == "search")
    assert 600 <= searches <= 1000, "its part: up to 5 a second of the 10, and never starved"


def test_a_cost_that_learning_made_too_big_goes_out_alone():
    gate = Desk([Window(10, 1)])
    gate.meters["window"].set_cap(3)
    other = gate.try_take(1, 0)
    big = gate.request(8)
    assert gate.poll(2, 0).granted == ()
    gate.settle(other, 3, 0)
    assert gate.poll(2 * SECOND, 0).granted == (big,)
    with pytest.raises(NeverGranted):
        gate.request(11)


def test_a_share_and_a_reserve_leave_room_for_others():
    gate = Desk([Window(10, 10), Quota(100, "00:00 UTC", name="daily")], share=0.5, reserve=20)
    assert gate.meters["window"].cap == 5
    assert gate.meters["daily"].cap == 30
    with pytest.raises(UsageError):
        Desk([Window(1, 1)], share=1.5)


def test_a_granted_waiter_that_is_gone_returns_its_place():
    gate = Desk([Window(1, 10)])
    first, second = gate.request(), gate.request()
    assert gate.poll(1, 0).granted == (first,)
    gate.abandon(first)
    assert gate.poll(2, 0).granted == (second,)
    gate.abandon(first)
    assert gate.meters["window"].held(2) == 1


def test_a_rolling_day_is_counted_in_coarse_slots_that_free_after_their_end():
    gate = Desk([Quota(50, per=86_400, name="day")])
    now = SECOND
    for _ in range(50):
        ticket = gate.try_take(now, 0)
        assert ticket is not None
        gate.settle(ticket, now + SECOND, 0)
        now += 10 * SECOND
    assert gate.try_take(now, 0) is None
    assert gate.try_take(86_400 * SECOND, 0) is None, "never early"
    assert gate.try_take(86_400 * SECOND + 1000 * SECOND, 0) is not None
