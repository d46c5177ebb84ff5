"""Limits that change the key they are shared under: what was counted under the old one is no second budget."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from headway.errors import PermitTimeout
from headway.limiter.limiter import Limiter
from headway.limits.limits import Concurrency, Quota, Window

DAY = Quota(6, name="daily")


def limiter(path: Path, key: str, *limits) -> Limiter:
    return Limiter(*limits, state=path / "limits.db", keys={each.name: f"{key}|{each.name}" for each in limits})


def free_of(one: Limiter, most: int) -> int:
    """How many permits are to be had at once."""
    taken = 0
    while taken < most:
        try:
            one.acquire(timeout=0.4).settle()
        except PermitTimeout:
            break
        taken += 1
    return taken


def heard(permit, left: int) -> None:
    permit.observe(200, {"X-HubSpot-RateLimit-Daily": "6", "X-HubSpot-RateLimit-Daily-Remaining": str(left)})


def test_what_was_used_of_a_quota_is_used_under_the_new_key(tmp_path):
    with limiter(tmp_path, "stand-in", DAY) as one, limiter(tmp_path, "account", DAY) as two:
        for left in (5, 4, 3):
            with one.permit(timeout=2) as permit:
                heard(permit, left)
        one.rekey([DAY], {"daily": "account|daily"})
        assert one.acquire(timeout=2).settle() is None  # it may go on
        assert free_of(two, 6) == 2


def test_what_others_used_is_known_under_the_new_key_at_once(tmp_path):
    with limiter(tmp_path, "stand-in", DAY) as one, limiter(tmp_path, "account", DAY) as two:
        with one.permit(timeout=2) as permit:
            heard(permit, 0)
        one.rekey([DAY], {"daily": "account|daily"})
        assert free_of(one, 1) == 0
        assert free_of(two, 6) == 0


def test_a_call_in_flight_holds_its_place_and_gives_it_back(tmp_path):
    slots = Concurrency(2)
    with limiter(tmp_path, "stand-in", slots) as one:
        first, second = one.acquire(timeout=2), one.acquire(timeout=2)
        one.rekey([slots], {"concurrency": "account|concurrency"})
        with pytest.raises(PermitTimeout):
            one.acquire(timeout=0.3)
        first.settle()
        one.acquire(timeout=2).settle()
        second.settle()
        assert next(each for each in one.snapshot()).in_flight == 0


def test_places_that_cool_go_on_cooling(tmp_path):
    window = Window(3, per=1.5)
    with limiter(tmp_path, "stand-in", window) as one:
        with one.permit(timeout=2) as permit:
            permit.observe(200, {"X-RateLimit-Limit": "3", "X-RateLimit-Remaining": "2"})
        one.rekey([window], {"window": "account|window"})
        with one.permit(timeout=2) as permit:
            permit.observe(200, {"X-RateLimit-Limit": "3", "X-RateLimit-Remaining": "1"})
        assert free_of(one, 3) <= 1


def test_the_old_key_keeps_what_was_taken_under_it(tmp_path):
    with limiter(tmp_path, "stand-in", DAY) as one, limiter(tmp_path, "stand-in", DAY) as two:
        for left in (5, 4, 3, 2):
            with one.permit(timeout=2) as permit:
                heard(permit, left)
        one.rekey([DAY], {"daily": "account|daily"})
        one.acquire(timeout=2).settle()
        assert free_of(two, 6) <= 2


def test_a_pause_goes_along(tmp_path):
    with limiter(tmp_path, "stand-in", DAY) as one, limiter(tmp_path, "account", DAY) as two:
        with one.permit(timeout=2) as permit:
            permit.rejected("daily", 30.0)
        one.rekey([DAY], {"daily": "account|daily"})
        with pytest.raises(PermitTimeout):
            one.acquire(timeout=0.5)
        with pytest.raises(PermitTimeout):
            two.acquire(timeout=0.5)


def test_a_quota_takes_up_the_reset_of_its_zone(tmp_path):
    soon = datetime.now(UTC) + timedelta(hours=3)
    there = Quota(6, resets=f"{soon:%H}:00 UTC", name="daily", skew=0)
    with limiter(tmp_path, "stand-in", Quota(6, resets=f"{soon - timedelta(hours=4):%H}:00 UTC", name="daily")) as one:
        one.rekey([there], {"daily": "account|daily"})
        with one.permit(timeout=2) as permit:
            permit.rejected("daily")
        paused = one.snapshot()[0].paused
        assert paused is not None
        assert 2 * 3600 - 60 <= paused <= 3 * 3600 + 60


def test_a_limiter_in_memory_only_takes_up_the_reset():
    one = Limiter(DAY)
    one.acquire().settle()
    one.rekey([Quota(6, resets="00:00 US/Eastern", name="daily")], {"daily": "x"})
    assert one.snapshot()[0].free == 5
