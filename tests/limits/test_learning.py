"""What replies teach: pauses, limits learned, calls of others, clocks that jump."""

from __future__ import annotations

from headway.limits.gate import Gate
from headway.limits.headers import remaining
from headway.limits.learning import Rejections, learn
from headway.limits.limits import Concurrency, Quota, Window
from headway.limits.meters.quota import QuotaMeter, WallClock
from tests.limits.world import EPOCH, SECOND


def hubspot(window: tuple[int, int], daily: tuple[int, int] | None = None) -> dict[str, str]:
    headers = {
        "x-hubspot-ratelimit-max": str(window[0]),
        "x-hubspot-ratelimit-remaining": str(window[1]),
        "x-hubspot-ratelimit-interval-milliseconds": "10000",
    }
    if daily:
        headers |= {"x-hubspot-ratelimit-daily": str(daily[0]), "x-hubspot-ratelimit-daily-remaining": str(daily[1])}
    return headers


def test_a_flight_of_rejections_is_one_event_and_the_next_waits_longer():
    gate = Gate([Concurrency(10)])
    rejections = Rejections(gate)
    now = 100 * SECOND
    first = rejections.rejected(now, 0, now - SECOND, "", None)
    assert first.fresh
    assert SECOND <= first.nanoseconds <= 1.5 * SECOND
    same = rejections.rejected(now + SECOND // 2, 0, now - SECOND, "", None)
    assert (same.fresh, same.nanoseconds) == (False, first.nanoseconds - SECOND // 2)
    waits = []
    for _ in range(8):
        now += 100 * SECOND
        waits.append(rejections.rejected(now, 0, now - 1, "", None).nanoseconds / SECOND)
    expected = [2, 4, 8, 16, 32, 60, 60, 60]
    assert all(least <= wait <= min(60, 1.5 * least) for wait, least in zip(waits, expected, strict=True))
    rejections.delivered(now + 200 * SECOND)
    now += 300 * SECOND
    assert SECOND <= rejections.rejected(now, 0, now - 1, "", None).nanoseconds <= 1.5 * SECOND


def test_a_named_window_pauses_for_its_length_and_a_quota_until_its_reset():
    gate = Gate([Window(100, 10), Window(5, 1, "search"), Quota(1000, "00:00 UTC", name="daily")])
    rejections = Rejections(gate)
    now = SECOND
    assert rejections.rejected(now, EPOCH, now, "window", None).nanoseconds == 10_006_000_000
    assert rejections.rejected(now, EPOCH, now, "search", None).nanoseconds == 1_001_500_000
    daily = rejections.rejected(now, EPOCH, now, "daily", None).nanoseconds
    midnight = 86_400 * SECOND - EPOCH % (86_400 * SECOND)
    assert daily == midnight + 5 * SECOND
    assert gate.meters["window"].paused_until == now + 10_006_000_000


def test_retry_after_goes_first_and_is_never_shortened():
    gate = Gate([Window(100, 10)])
    rejections = Rejections(gate)
    pause = rejections.rejected(SECOND, 0, SECOND, "window", 7200 * SECOND)
    assert pause.parked
    assert gate.meters["window"].paused_until == 7201 * SECOND
    again = rejections.rejected(2 * SECOND, 0, SECOND, "window", SECOND)
    assert again.nanoseconds == 7199 * SECOND, "a later, shorter word does not call it off"


def test_a_surprise_turns_burst_into_smooth_and_withdraws_the_arrival_bound():
    gate = Gate([Window(10, 10, arrival_bound=0.5)])
    ticket = gate.try_take(1, 0)
    gate.stamp(ticket, 1)
    pause = Rejections(gate).rejected(2, 0, 1, "window", 0)
    assert "arrival_bound" in pause.refuted
    assert "smooth" in pause.refuted
    assert gate.meters["window"].held(60 * SECOND, 0) == 1, "in flight again holds its place"
    gate.settle(ticket, 60 * SECOND, 0)
    assert gate.meters["window"].held(71 * SECOND, 0) == 0
    first, second = gate.try_take(80 * SECOND, 0), gate.try_take(80 * SECOND, 0)
    assert first
    assert second is None, "one a second from now on"


def test_headers_lower_a_limit_but_never_raise_it_and_tell_of_others():
    gate = Gate([Window(190, 10), Quota(40_000, "00:00 UTC", name="daily")])
    now = SECOND
    ticket = gate.try_take(now, EPOCH)
    said = remaining(hubspot((100, 60), (250_000, 215_000)), EPOCH)
    heard = learn(gate, ticket, said, now, EPOCH)
    assert heard == {"window": 40, "daily": 35_000}
    assert gate.meters["window"].cap == 100
    daily = gate.meters["daily"]
    assert isinstance(daily, QuotaMeter)
    assert daily.cap == 40_000, "what the user set"
    assert daily.foreign == 34_999


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
    gate = Gate([Quota(3, "00:00 UTC")])
    now = SECOND
    for _ in range(3):
        gate.settle(gate.try_take(now, EPOCH), now, EPOCH)
    assert gate.try_take(now + SECOND, EPOCH + 86_400 * SECOND) is None


def test_a_call_near_the_reset_counts_on_both_sides():
    midnight = (EPOCH // (86_400 * SECOND) + 1) * 86_400 * SECOND
    gate = Gate([Quota(3, "00:00 UTC", skew=5)])
    base = midnight - 10 * SECOND
    early = gate.try_take(1, base)
    late = gate.try_take(1 + 7 * SECOND, base + 7 * SECOND)
    gate.settle(late, 1 + 8 * SECOND, base + 8 * SECOND)
    gate.settle(early, 1 + 9 * SECOND, base + 9 * SECOND)
    after = 1 + 16 * SECOND, base + 16 * SECOND
    meter = gate.meters["quota"]
    assert meter.held(*after) == 2, "both were under way within 5 s of midnight"
