"""A plan's duration comes from the gate in virtual time."""

import pytest

from headway.limits.limits import Bucket, Concurrency, Quota, Window
from headway.platforms.connector import OneCall
from headway.runs.planning import measure, work_of
from headway.runs.prediction import predict
from headway.stores.model import Loaded

NOON = 1_790_000_000.0
WINDOW = Window(100, 10)


def seconds(calls, *limits, latency=0.05, room=16, **options):
    return predict(calls, limits, latency=latency, room=room, wall=NOON, **options)


def test_without_limits_the_network_decides():
    found = seconds(1000, room=10)
    assert found.seconds == pytest.approx(1000 / 10 * 0.05)
    assert found.binding_limit == ""


def test_a_window_costs_its_length_once_per_amount():
    found = seconds(1000, WINDOW)
    assert 90 < found.seconds < 91.5
    assert found.binding_limit == "window"


def test_a_share_of_the_window_takes_as_much_longer():
    # Smoothly paced: the last of a window's fifty calls goes at its end.
    assert seconds(1000, WINDOW, share=0.5).seconds == pytest.approx(200, rel=0.01)


def test_a_bucket_and_concurrency_bind_as_well():
    assert seconds(1000, Bucket(10, 20)).seconds == pytest.approx(98, rel=0.02)
    found = seconds(1000, Concurrency(2), latency=0.5)
    assert found.seconds == pytest.approx(250)


def test_a_quota_that_does_not_suffice_waits_for_its_reset():
    found = seconds(45_000, WINDOW, Quota(40_000, resets="00:00 US/Eastern", name="daily"))
    assert found.binding_limit == "daily"
    assert found.seconds > 10_000
    used = seconds(1000, WINDOW, Quota(40_000, resets="00:00 US/Eastern", name="daily"), used={"daily": 39_500})
    assert used.binding_limit == "daily"


def test_a_day_of_forty_thousand_calls_takes_four_hundred_windows():
    found = seconds(40_000, WINDOW, Quota(40_000, resets="00:00 US/Eastern", name="daily"))
    assert 3990 < found.seconds < 4060


class _Connector(OneCall):
    batch_size = 100
    batch_bytes = 10_000


async def _batches(*groups):
    for rows in groups:
        yield rows, [], None


def rows(count, size=10, start=0):
    return [Loaded(f"k{n}", b"x" * size, n) for n in range(start, start + count)]


async def test_calls_are_counted_by_records_and_by_bytes():
    found = await measure(_batches(rows(250)), "last")
    assert work_of(found, _Connector()).calls == 4  # 70 of 141 bytes fill 10,000
    assert work_of(await measure(_batches(rows(10, 5000)), "last"), _Connector()).calls == 10


async def test_duplicates_are_counted_once():
    found = await measure(_batches(rows(50), rows(50, start=25)), "last")
    assert (found.read, found.records, found.skipped) == (100, 75, 25)
