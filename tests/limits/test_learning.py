"""What replies teach: pauses, limits learned, calls of others, clocks that jump."""

from __future__ import annotations

from headway.limits.clock import WallClock
from headway.limits.headers import remaining
from headway.limits.learning import Rejections, learn
from headway.limits.limits import Concurrency, Quota, Window
from headway.limits.meters.quota import QuotaMeter
from tests.limits.world import EPOCH, SECOND, Asked, Desk


def hubspot(window: tuple[int, int], daily: tuple[int, int] | None = None) -> dict[str, str]:
    headers = {
        "x-hubspot-ratelimit-max": str(window[0]),
        "x-hubspot-ratelimit-remaining": str(window[1]),
        "x-hubspot-ratelimit-interval-milliseconds": "10000",
    }
    if daily:
        headers |= {"x-hubspot-ratelimit-daily": str(daily[0]), "x-hubspot-ratelimit-daily-remaining": str(daily[1])}
    return headers


def sent(gate: Desk, now: int, **request: object) -> Asked:
    """A call that is in flight."""
    ticket = gate.try_take(now, EPOCH + now, **request)
    assert ticket is not None
    return ticket


def test_a_flight_of_rejections_is_one_event_and_the_next_waits_longer():
    gate = Desk([Concurrency(10, name="a"), Concurrency(10, name="b")])
    rejections = Rejections(gate.gate)
    now = 100 * SECOND
    one, two = sent(gate, now - SECOND), sent(gate, now - SECOND)
    first = rejections.rejected(now, one, "", None)
    assert first.fresh
    assert SECOND <= first.nanoseconds <= 1.5 * SECOND
    same = rejections.rejected(now + SECOND // 2, two, "", None)
    assert (same.fresh, same.nanoseconds) == (False, first.nanoseconds - SECOND // 2)
    waits = []
    for _ in range(8):
        now += 100 * SECOND
        waits.append(rejections.rejected(now, None, "", None).nanoseconds / SECOND)
    expected = [2, 4, 8, 16, 32, 60, 60, 60]
    assert all(least <= wait <= min(60, 1.5 * least) for wait, least in zip(waits, expected, strict=True))
    rejections.delivered(now + 200 * SECOND)
    now += 300 * SECOND
    assert SECOND <= rejections.rejected(now, None, "", None).nanoseconds <= 1.5 * SECOND


def test_without_a_word_a_window_backs_off_up_to_its_length_and_a_quota_waits_for_its_reset():
    gate = Desk([Window(100, 10), Quota(1000, "00:00 UTC", name="daily")])
    gate.poll(SECOND, EPOCH)
    rejections = Rejections(gate.gate)
    pauses = [rejections.rejected(SECOND * (1 + 100 * n), None, "window", None) for n in range(6)]
    waits = [pause.nanoseconds / SECOND for pause in pauses]
    assert all(least <= wait <= 1.5 * least for wait, least in zip(waits[:3], [1, 2, 4], strict=True))
    assert waits[4:] == [10.006, 10.006]
    daily = rejections.rejected(SECOND, None, "daily", None).nanoseconds
    midnight = 86_400 * SECOND - EPOCH % (86_400 * SECOND)
    assert daily == midnight + 5 * SECOND


def test_a_refusal_without_a_name_pauses_the_one_limit_that_the_call_counted_against():
    gate = Desk([Window(100, 10, "post"), Window(100, 10, "list")])
    pause = Rejections(gate.gate).rejected(SECOND, sent(gate, SECOND, limits=["post"]), "", 8 * SECOND)
    assert pause.limit == "post"
    assert gate.try_take(2 * SECOND, EPOCH, limits=["post"]) is None
    assert gate.try_take(2 * SECOND, EPOCH, limits=["list"]) is not None


def test_a_reset_that_the_reply_tells_is_waited_for_if_there_is_no_retry_after():
    gate = Desk([Window(100, 3600)])
    rejections = Rejections(gate.gate)
    assert rejections.rejected(SECOND, None, "window", None, 15 * SECOND).nanoseconds == 15 * SECOND
    assert rejections.rejected(100 * SECOND, None, "window", 3 * SECOND, 15 * SECOND).nanoseconds == 3 * SECOND


def test_a_retry_after_of_zero_is_honoured_once_and_then_backs_off():
    gate = Desk([Window(100, 10)])
    rejections = Rejections(gate.gate)
    now, calls = SECOND, 0
    while now < 41 * SECOND:
        calls += 1
        now += max(1, rejections.rejected(now, None, "", 0).nanoseconds)
    assert calls <= 12


def test_retry_after_goes_first_and_is_never_shortened():
    gate = Desk([Window(100, 10)])
    rejections = Rejections(gate.gate)
    one, two = sent(gate, SECOND), sent(gate, SECOND)
    pause = rejections.rejected(SECOND, one, "window", 7200 * SECOND)
    assert pause.parked
    assert gate.meters["window"].paused_until == 7201 * SECOND
    again = rejections.rejected(2 * SECOND, two, "window", SECOND)
    assert again.nanoseconds == 7199 * SECOND, "a later, shorter word does not call it off"


def test_a_surprise_turns_burst_into_smooth_for_ten_windows_and_withdraws_the_arrival_bound():
    gate = Desk([Window(10, 10, arrival_bound=0.5)])
    ticket = gate.try_take(1, 0)
    gate.stamp(ticket, 1)
    pause = Rejections(gate.gate).rejected(2, ticket, "window", 0)
    assert "arrival_bound" in pause.refuted
    assert "smooth" in pause.refuted
    assert gate.meters["window"].held(60 * SECOND) == 1, "in flight again holds its place"
    gate.settle(ticket, 60 * SECOND, 0)
    assert gate.meters["window"].held(71 * SECOND) == 0
    first, second = gate.try_take(80 * SECOND, 0), gate.try_take(80 * SECOND, 0)
    assert first
    assert second is None, "one a second from now on"
    assert gate.try_take(110 * SECOND, 0)
    assert gate.try_take(110 * SECOND, 0), "and back after ten quiet windows"


def test_an_arrival_bound_that_is_withdrawn_leaves_no_place_free_that_a_slow_call_holds():
    gate = Desk([Window(5, 1, arrival_bound=0.1)])
    slow = [gate.try_take(1, 0) for _ in range(5)]
    for ticket in slow:
        gate.stamp(ticket, 1)
    assert gate.meters["window"].held(2 * SECOND) == 0, "counted long ago, as the bound says"
    quick = gate.try_take(2 * SECOND, 0)
    Rejections(gate.gate).rejected(2 * SECOND + 1, quick, "window", 0)
    for ticket in [*slow, quick]:
        gate.settle(ticket, 3 * SECOND, 0)
    assert gate.meters["window"].held(3 * SECOND) == 6
    assert gate.meters["window"].held(5 * SECOND) == 0


def test_headers_lower_a_limit_but_never_raise_it_and_tell_of_others():
    gate = Desk([Window(190, 10), Quota(40_000, "00:00 UTC", name="daily")])
    now = SECOND
    ticket = gate.try_take(now, EPOCH)
    said = remaining(hubspot((100, 60), (250_000, 215_000)), EPOCH)
    heard = learn(gate.gate, ticket, said, now, EPOCH).counted
    assert heard == {"window": 40, "daily": 35_000}
    assert gate.meters["window"].cap == 61, "others hold 39 of 100"
    daily = gate.meters["daily"]
    assert isinstance(daily, QuotaMeter)
    assert daily.cap == 40_000, "what the user set"
    assert daily.foreign == 34_999
    gate.poll(now + 11 * SECOND, EPOCH + 11 * SECOND)
    assert gate.meters["window"].cap == 100, "what others held a window ago says nothing"


def test_a_lost_call_counts_in_the_next_period_though_nobody_looked_at_the_reset():
    midnight = (EPOCH // (86_400 * SECOND) + 1) * 86_400 * SECOND
    gate = Desk([Quota(3, "00:00 UTC", skew=5)])
    base = midnight - 20 * SECOND
    gate.settle(gate.try_take(1, base), 2, base + 1, lost=30 * SECOND)
    assert gate.try_take(60 * SECOND, base + 60 * SECOND) is not None
    assert gate.meters["quota"].held(60 * SECOND) == 2


def test_a_clock_that_was_ahead_can_be_set_back():
    gate = Desk([Quota(3, "00:00 UTC")])
    ahead = EPOCH + 365 * 86_400 * SECOND
    for _ in range(2):
        gate.settle(gate.try_take(1, ahead), 2, ahead + 1)
    for second in (10, 80):  # a later look agrees with the new clock
        gate.poll(second * SECOND, EPOCH + second * SECOND)
        assert gate.try_take(second * SECOND, EPOCH + second * SECOND) is not None or second == 80
    assert gate.try_take(90 * SECOND, EPOCH + 90 * SECOND) is None, "what was used stays used"
    day = 86_400
    assert gate.try_take(day * SECOND, EPOCH + day * SECOND) is not None, "and tomorrow is another day"


def test_a_wall_clock_that_jumps_is_not_believed_until_something_agrees():
    clock = WallClock()
    assert clock.believed(0, EPOCH) == EPOCH
    assert clock.believed(SECOND, EPOCH + 2 * SECOND) == EPOCH + 2 * SECOND, "creeping is fine"
    day = 86_400 * SECOND
    assert clock.believed(10 * SECOND, EPOCH + 11 * SECOND + day) == EPOCH + 11 * SECOND
    clock.platform_says(11 * SECOND, EPOCH + 12 * SECOND)
    assert clock.believed(65 * SECOND, EPOCH + 66 * SECOND + day) == EPOCH + 66 * SECOND, "the platform's Date says no"
    assert clock.believed(80 * SECOND, EPOCH + 81 * SECOND + day) == EPOCH + 81 * SECOND + day, "a later look agrees"
    other = WallClock()
    other.believed(0, EPOCH)
    other.believed(SECOND, EPOCH + day)
    other.platform_says(2 * SECOND, EPOCH + day + SECOND)
    assert other.believed(3 * SECOND, EPOCH + day + 2 * SECOND) == EPOCH + day + 2 * SECOND


def test_a_clock_set_to_tomorrow_does_not_renew_a_quota():
    gate = Desk([Quota(3, "00:00 UTC")])
    now = SECOND
    for _ in range(3):
        gate.settle(gate.try_take(now, EPOCH), now, EPOCH)
    assert gate.try_take(now + SECOND, EPOCH + 86_400 * SECOND) is None


def test_a_call_near_the_reset_counts_on_both_sides():
    midnight = (EPOCH // (86_400 * SECOND) + 1) * 86_400 * SECOND
    gate = Desk([Quota(3, "00:00 UTC", skew=5)])
    base = midnight - 10 * SECOND
    early = gate.try_take(1, base)
    late = gate.try_take(1 + 7 * SECOND, base + 7 * SECOND)
    gate.settle(late, 1 + 8 * SECOND, base + 8 * SECOND)
    gate.settle(early, 1 + 9 * SECOND, base + 9 * SECOND)
    after = 1 + 16 * SECOND, base + 16 * SECOND
    meter = gate.meters["quota"]
    assert meter.held(after[0]) == 2, "both were under way within 5 s of midnight"
