"""The mock's counting is exact, by its own clock."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.errors import UsageError
from headway.mock.clock import SECOND
from headway.mock.config import Foreign, MockConfig, Portal, parse_seconds, parse_window
from headway.mock.limits import CalendarDay, RollingWindow, Traffic
from tests.mock.talking import ACCOUNT, CONTACTS, World


def test_a_rolling_window_is_exact_and_closed_at_both_ends():
    window = RollingWindow(3, 10)
    assert [window.admit(at * SECOND) for at in (0, 1, 2, 3, 9, 10)] == [True, True, True, False, False, False]
    assert window.admit(10 * SECOND + 1)
    assert not window.admit(10 * SECOND + 2)
    assert window.remaining(12 * SECOND + 1) == 2
    assert window.most == 3
    assert window.crowd == 7


@given(
    gaps=st.lists(st.integers(0, 12), min_size=1, max_size=60),
    amount=st.integers(1, 5),
    per=st.integers(1, 20),
    count_rejected=st.booleans(),
)
def test_a_window_takes_what_a_list_of_all_calls_says_it_may(gaps, amount, per, count_rejected):
    window = RollingWindow(amount, per, count_rejected=count_rejected)
    counted: list[int] = []
    for now in accumulate(gaps):
        expected = sum(1 for each in counted if each >= now - per) < amount
        frees = window.frees_in(now * SECOND)
        assert (frees == 0) == expected
        assert window.admit(now * SECOND) == expected
        if expected or count_rejected:
            counted.append(now)


def test_rejected_calls_may_count_as_well():
    window = RollingWindow(1, 10, count_rejected=True)
    assert window.admit(0)
    assert not window.admit(5 * SECOND)
    assert not window.admit(11 * SECOND)
    assert window.admit(22 * SECOND)


def at(*moment: int) -> int:
    return int(datetime(*moment, tzinfo=UTC).timestamp()) * SECOND


@pytest.mark.parametrize(
    ("zone", "moment", "seconds"),
    [
        ("US/Eastern", (2026, 11, 24, 4, 59), 60),
        ("Europe/Berlin", (2026, 3, 28, 23, 0), 23 * 3600),  # the day on which summer time begins
        ("Europe/Berlin", (2026, 10, 24, 22, 0), 25 * 3600),  # and on which it ends
        ("America/Santiago", (2026, 9, 6, 3, 59), 60),  # midnight does not exist that day: 00:00 is 01:00
    ],
)
def test_a_day_ends_at_the_portals_midnight(zone, moment, seconds):
    day = CalendarDay(2, zone)
    now = at(*moment)
    assert day.frees_in(now) == seconds
    day.count(now)
    day.count(now)
    assert day.full(now + seconds * SECOND - 1)
    assert not day.full(now + seconds * SECOND)
    assert day.remaining(now + seconds * SECOND) == 2


def test_other_apps_call_evenly_in_bursts_or_at_random():
    even = Traffic(4, 10, "even", "s", 0)
    assert even.until(10 * SECOND) == [0, 25 * SECOND // 10, 5 * SECOND, 75 * SECOND // 10, 10 * SECOND]
    assert even.until(10 * SECOND) == []
    assert Traffic(3, 10, "burst", "s", 0).until(10 * SECOND) == [0, 0, 0, 10 * SECOND, 10 * SECOND, 10 * SECOND]
    random = Traffic(40, 10, "poisson", "s", 0).until(1000 * SECOND)
    assert 3600 < len(random) < 4400
    assert random == Traffic(40, 10, "poisson", "s", 0).until(1000 * SECOND)
    assert len({b - a for a, b in pairwise(random)}) > 3000


def test_the_window_is_counted_at_arrival_and_told_in_headers():
    world = World(window=(3, 10), daily=100)
    status, headers, _ = world.call()
    assert status == 200
    assert {name: value for name, value in headers.items() if "ratelimit" in name} == {
        "x-hubspot-ratelimit-max": "3",
        "x-hubspot-ratelimit-remaining": "2",
        "x-hubspot-ratelimit-interval-milliseconds": "10000",
        "x-hubspot-ratelimit-secondly": "1",
        "x-hubspot-ratelimit-secondly-remaining": "0",
        "x-hubspot-ratelimit-daily": "100",
        "x-hubspot-ratelimit-daily-remaining": "99",
    }
    world.clock.advance(4)
    assert [world.status() for _ in range(3)] == [200, 200, 429]
    world.clock.advance(6)
    assert world.status() == 429  # exactly ten seconds: still inside
    world.clock.advance(0.001)
    assert [world.status() for _ in range(2)] == [200, 429]
    assert world.mock.window("t").most == 3
    assert world.mock.journal.by_status == {200: 4, 429: 3}


def test_a_429_says_which_limit_in_hubspots_shape():
    world = World(window=(1, 10), retry_after=False)
    world.call()
    status, headers, body = world.call()
    assert status == 429
    assert "retry-after" not in headers
    assert headers["x-hubspot-ratelimit-remaining"] == "0"
    assert body["message"] == "You have reached your ten_secondly_rolling limit."
    assert (body["status"], body["errorType"], body["policyName"]) == ("error", "RATE_LIMIT", "TEN_SECONDLY_ROLLING")
    assert body["correlationId"] == body["requestId"]
    told = World(window=(1, 10), retry_after=True)
    told.call()
    told.clock.advance(2.5)
    assert told.call()[1]["retry-after"] == "8"


def test_the_days_quota_is_shared_by_the_apps_of_a_portal_and_ends_at_midnight():
    world = World(window=(2, 10), daily=3)
    assert [world.status(token=token) for token in ("one", "one", "one", "two")] == [200, 200, 429, 200]
    status, _, body = world.call(token="two")
    assert (status, body["policyName"]) == (429, "DAILY")
    assert world.mock.enforcer.refused == {"TEN_SECONDLY_ROLLING": 1, "DAILY": 1}
    world.clock.advance(86_400)
    assert world.status(token="two") == 200


def test_portals_have_days_of_their_own_and_a_zone():
    portals = {"berlin": Portal(7, "Europe/Berlin", "SANDBOX"), "tokyo": Portal(8, "Asia/Tokyo")}
    world = World(window=None, daily=1, portals=portals)
    _, headers, body = world.call(token="berlin")
    assert (body["portalId"], body["timeZone"], body["accountType"]) == (7, "Europe/Berlin", "SANDBOX")
    assert "x-hubspot-ratelimit-max" not in headers
    assert world.status(token="tokyo") == 200
    assert world.status(token="tokyo") == 429
    assert world.call(path="/account-info/2026-03/details", token="new")[2]["utcOffset"] == "-05:00"


def test_a_window_may_belong_to_the_portal_instead():
    world = World(window=(2, 10), window_scope="portal")
    assert [world.status(token=token) for token in ("one", "two", "three")] == [200, 200, 429]


def test_searches_count_against_three_limits_and_carry_no_headers():
    world = World(window=(4, 10), search=2)
    path = f"{CONTACTS}/search"
    replies = [world.call("POST", path, {}) for _ in range(3)]
    assert [each[0] for each in replies] == [200, 200, 429]
    assert replies[2][2]["policyName"] == "SECONDLY"
    assert not any("ratelimit" in name for each in replies for name in each[1])
    world.clock.advance(1.001)
    assert [world.status() for _ in range(2)] == [200, 200]
    assert world.call("POST", path, {})[2]["policyName"] == "TEN_SECONDLY_ROLLING"


def test_no_limits_at_all():
    world = World(window=None, daily=None, search=None)
    assert {world.status() for _ in range(500)} == {200}
    assert world.mock.enforcer.apps["t"].window.most == 500


def test_traffic_of_others_fills_window_and_day_before_ours_arrives():
    world = World(window=(10, 10), daily=1000, foreign=(Foreign(8, 10),))
    world.call()
    world.clock.advance(100)
    assert [world.status() for _ in range(3)] == [200, 429, 429]  # 9 stamps of others within ten seconds, both ends
    assert world.mock.enforcer.foreign == 81
    assert world.mock.enforcer.accounts[62515].day.used == 1 + 81 + 1
    world.clock.advance(60)
    assert world.mock.enforcer.foreign == 81
    assert world.status() == 200
    assert world.mock.enforcer.foreign == 81 + 48


def test_limits_change_while_it_runs():
    from headway.mock.admin import administer

    world = World(window=(5, 10))
    assert [world.status() for _ in range(3)] == [200] * 3
    assert administer(world.mock, "POST", "/_mock/limits", "", b'{"window":"3/10s","daily":null}').status == 200
    status, headers, _ = world.call()
    assert (status, headers["x-hubspot-ratelimit-max"]) == (429, "3")
    assert "x-hubspot-ratelimit-daily" not in headers
    administer(world.mock, "POST", "/_mock/limits", "", b'{"window":null}')
    assert world.status() == 200


@pytest.mark.parametrize(
    ("text", "window"),
    [("100/10s", (100, 10.0)), ("5/s", (5, 1.0)), ("190/10", (190, 10.0)), ("3/500ms", (3, 0.5)), ("none", None)],
)
def test_windows_are_written_as_people_write_them(text, window):
    assert parse_window(text) == window


@pytest.mark.parametrize("text", ["100", "/10s", "0/10s", "ten/10s", "100/0s", "100/10 parsecs", ""])
def test_what_is_no_window(text):
    with pytest.raises(UsageError, match=r"100/10s|50ms"):
        parse_window(text)


def test_durations():
    assert [parse_seconds(text) for text in ("50ms", "10s", "1.5", "5m", "2h")] == [0.05, 10, 1.5, 300, 7200]
    with pytest.raises(UsageError):
        parse_seconds("soon")


@pytest.mark.parametrize(
    "options",
    [
        {"window": (0, 10.0)},
        {"daily": -1},
        {"jitter": -0.1},
        {"arrival": (2.0, 1.0)},
        {"portal": Portal(time_zone="Mars/Olympus")},
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(options):
    with pytest.raises(UsageError):
        MockConfig(**options)


def test_wall_and_monotonic_time_go_together():
    world = World()
    before = world.clock.wall(), world.clock.monotonic()
    world.clock.advance(1.5)
    assert (world.clock.wall() - before[0], world.clock.monotonic() - before[1]) == (1_500_000_000, 1_500_000_000)
    world.call(path=ACCOUNT)
    assert world.mock.journal.entries[0].at == world.clock.monotonic()
