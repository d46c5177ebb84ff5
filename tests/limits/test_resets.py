"""Reset instants come from the zone's own rules."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.errors import UsageError
from headway.limits.resets import Resets

SECOND = 1_000_000_000


def period(rule: str, iso: str) -> tuple[str, str]:
    wall = int(datetime.fromisoformat(iso).timestamp()) * SECOND
    start, end = Resets.parse(rule).period(wall)
    assert start <= wall < end
    return tuple(datetime.fromtimestamp(at // SECOND, UTC).isoformat()[:16] for at in (start, end))


@pytest.mark.parametrize(
    ("rule", "at", "start", "end"),
    [
        ("00:00 Europe/Berlin", "2026-03-29T12:00+00:00", "2026-03-28T23:00", "2026-03-29T22:00"),  # 23 h
        ("00:00 Europe/Berlin", "2026-10-25T12:00+00:00", "2026-10-24T22:00", "2026-10-25T23:00"),  # 25 h
        ("02:30 Europe/Berlin", "2026-03-29T12:00+00:00", "2026-03-29T01:00", "2026-03-30T00:30"),  # does not exist
        ("02:30 Europe/Berlin", "2026-10-25T12:00+00:00", "2026-10-25T01:30", "2026-10-26T01:30"),  # occurs twice
        ("00:00 America/Havana", "2026-03-08T12:00+00:00", "2026-03-08T05:00", "2026-03-09T04:00"),  # no midnight
        ("monthly 1 00:00 UTC", "2026-12-31T12:00+00:00", "2026-12-01T00:00", "2027-01-01T00:00"),
        ("hourly", "2026-12-31T12:10+00:00", "2026-12-31T12:00", "2026-12-31T13:00"),
        ("06:00", "2026-05-05T06:00+00:00", "2026-05-05T06:00", "2026-05-06T06:00"),
    ],
)
def test_periods_follow_the_zones_rules(rule, at, start, end):
    assert period(rule, at) == (start, end)


@given(
    wall=st.integers(0, 4_000_000_000).map(lambda s: s * SECOND),
    rule=st.sampled_from(["00:00 US/Eastern", "02:30 Europe/Berlin", "hourly", "monthly 28 23:59 Asia/Kolkata"]),
)
def test_every_instant_lies_in_exactly_one_period(wall, rule):
    resets = Resets.parse(rule)
    start, end = resets.period(wall)
    assert start <= wall < end
    assert resets.period(end)[0] == end
    assert resets.period(start - 1)[1] == start


@pytest.mark.parametrize("rule", ["", "noon", "24:00 UTC", "00:61", "monthly 31 00:00 UTC", "00:00 Mars/Olympus"])
def test_a_rule_that_makes_no_sense_is_named(rule):
    with pytest.raises(UsageError):
        Resets.parse(rule)
