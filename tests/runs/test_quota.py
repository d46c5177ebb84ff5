"""The day's quota: what a plan knows of it, and how a run ends where it is used up."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from headway.accounts.making import account
from headway.limits.limits import Adaptive, Bucket, Quota, Window
from headway.limits.status import LimitStatus
from headway.mock.config import MockConfig
from headway.mock.faults import Fault
from headway.mock.server import Served, serve
from headway.runs.planning import Standing, standing
from headway.runs.prediction import predict
from headway.runs.resuming import resume
from headway.runs.sync import Sync
from headway.stores.opening import open_store

NOON = 1_790_000_000.0
TIER = (Window(100, 10), Quota(40_000, "00:00 US/Eastern", name="daily"))


def sync(source: str, mock: Served, **options) -> Sync:
    return Sync(source, "hubspot:contacts", key="email", base_url=mock.url, **options)


def use_up(mock: Served, calls: int) -> None:
    """Another app of the portal makes so many calls."""
    enforcer = mock.mock.enforcer
    enforcer.visit(enforcer.app(os.environ["HUBSPOT_TOKEN"]), calls)


def next_day(mock: Served) -> None:
    """The platform's day is over, and nobody here has heard of it yet."""
    mock.mock.enforcer.forget()


def new_state(place: Path, monkeypatch) -> None:
    """Nothing is known of limits any more; who we are is still remembered."""
    (place / "elsewhere").mkdir()
    for kept in place.glob("limits.db.identities.json"):
        kept.rename(place / "elsewhere" / kept.name)
    monkeypatch.setenv("HEADWAY_STATE", str(place / "elsewhere" / "limits.db"))


# -- the day is used up by others


@pytest.mark.parametrize("cached", ["nothing", "identity", "schema"])
def test_a_day_that_others_used_up_ends_a_run_at_the_first_word_of_it(contacts, place, monkeypatch, cached):
    with serve(MockConfig(daily=150, window=(1000, 10.0))) as mock:
        name = contacts(5000)
        if cached != "nothing":
            sync(name, mock, check=cached == "schema").plan()
        new_state(place, monkeypatch)
        use_up(mock, 150)
        began = time.monotonic()
        report = sync(name, mock).start()
        assert time.monotonic() - began < 10
        assert (report.state, report.exit_code) == ("paused", 5)
        assert "limit 'daily'" in report.reason
        assert (report.rate_limited, report.delivered) == (1, 0)
        assert mock.stats()["rate_limited"] == 1
        again = resume().start()
        assert (again.state, again.requests, again.rate_limited) == ("paused", 0, 0)
        assert mock.stats()["rate_limited"] == 1


def test_a_plan_says_that_the_day_is_used_up(contacts):
    with serve(MockConfig(daily=150, window=(1000, 10.0))) as mock:
        use_up(mock, 150)
        plan = sync(contacts(5000), mock).plan()
        assert (plan.read, plan.records, plan.requests) == (5000, 5000, 50)
        assert plan.quota_free == 0
        assert (plan.would_exit, plan.binding_limit) == (5, "daily")
        assert "limit 'daily' does not suffice" in plan.ending
        assert "the quota is used up" in plan.notes[0]
        assert "not checked" in plan.notes[0]
        assert mock.stats()["rate_limited"] == 1
        assert sync(contacts(5000), mock).plan().would_exit == 5
        assert mock.stats()["rate_limited"] == 1


def test_a_header_that_says_that_nothing_is_left_is_enough(contacts):
    with serve(MockConfig(daily=2)) as mock:  # who we are, and the schema
        report = sync(contacts(500), mock).start()
        assert (report.state, report.exit_code, report.requests) == ("paused", 5, 2)
        assert mock.stats()["rate_limited"] == 0


def test_whoever_waits_for_the_quota_is_not_sent_away(contacts):
    with serve(MockConfig(daily=2)) as mock:
        run = sync(contacts(500), mock, wait_for_quota=30 * 3600.0)
        ended: list[object] = []
        thread = threading.Thread(target=lambda: ended.append(run.start()))
        thread.start()
        thread.join(3.0)
        assert thread.is_alive()
        run.stop()
        thread.join(20.0)
        assert ended[0].state == "interrupted"
        assert mock.stats()["rate_limited"] == 0


def test_a_run_that_began_before_anybody_told_whose_it_is_keeps_it_later(contacts, place, monkeypatch):
    with serve(MockConfig(daily=150, window=(1000, 10.0))) as mock:
        use_up(mock, 150)
        report = sync(contacts(300), mock).start()
        assert (report.state, report.read) == ("paused", 0)
        next_day(mock)
        new_state(place, monkeypatch)
        assert resume().start().delivered == 300
        store = open_store(".headway/records.db", "normal")
        assert store.run(report.run).config.options["identity"] == "62515"
        store.close()


# -- what a plan counts with


def test_a_plan_counts_with_what_the_headers_said(contacts):
    with serve(MockConfig(daily=60)) as mock:
        plan = sync(contacts(10_000), mock).plan()
    assert plan.quota is not None
    assert (plan.quota.name, plan.quota.period, plan.quota.amount, plan.quota.free) == ("daily", "day", 60, 58)
    assert plan.quota_share == pytest.approx(100 / 60)
    assert (plan.binding_limit, plan.would_exit) == ("daily", 5)
    assert plan.seconds > 3600  # the reset is part of it


def test_what_other_apps_used_is_not_left(contacts):
    with serve(MockConfig(daily=60, window=(1000, 10.0))) as mock:
        use_up(mock, 40)
        plan = sync(contacts(3000), mock).plan()
    assert plan.quota is not None
    assert plan.quota.amount == 60
    assert plan.quota.free == pytest.approx(18, abs=1)
    assert (plan.binding_limit, plan.would_exit) == ("daily", 5)


def test_share_and_reserve_are_counted(contacts, mock):
    plan = sync(contacts(100), mock, share=0.1).plan()
    assert plan.quota is not None
    assert plan.quota.amount == 40_000
    assert 3_990 <= plan.quota.free < 4_000
    with account("hubspot", base_url=mock.url, reserve=30_000) as owner:
        plan = Sync(contacts(100), owner["contacts"], key="email").plan()
    assert plan.quota is not None
    assert plan.quota.amount == 40_000
    assert 9_990 <= plan.quota.free < 10_000
    assert plan.would_exit == 0


def test_a_quota_that_is_waited_for_ends_nothing(contacts):
    with serve(MockConfig(daily=60)) as mock:
        plan = sync(contacts(10_000), mock, wait_for_quota=30 * 3600.0).plan()
    assert (plan.binding_limit, plan.would_exit, plan.ending) == ("daily", 0, "")


def test_a_plan_says_what_dead_letters_do(contacts, mock):
    def every(step: int) -> Callable[[int, list[str]], list[str]]:
        return lambda number, row: ["", *row[1:]] if number % step == 0 else row

    some = sync(contacts(300, every(50)), mock).plan()
    assert (some.would_exit, some.ending) == (3, "6 dead letters")
    many = sync(contacts(300, every(3)), mock).plan()
    assert many.would_exit == 5
    assert "100 of 300 rows cannot be sent, more than 20%" in many.ending
    assert sync(contacts(300), mock).plan().would_exit == 0


def test_a_refusal_that_only_the_state_remembers_is_known_to_a_plan(contacts):
    with serve(MockConfig(daily=40_000)) as mock:
        name = contacts(500)
        sync(name, mock).plan()
        mock.mock.faults.add(Fault("status", status=429, retry_after="7200"))
        assert sync(name, mock).start().state == "paused"
        mock.mock.faults.rules.clear()
        plan = sync(name, mock).plan()
    assert plan.would_exit == 5


# -- pure


def status(name: str, amount: int, free: int, kind: str = "window", paused: float | None = None) -> LimitStatus:
    return LimitStatus(name, kind, amount, 0, amount - free, free, 0.0, paused)


def test_amounts_that_were_told_replace_those_of_the_tier():
    found = standing(TIER, [status("window", 50, 50), status("daily", 200, 150, "quota")], share=1.0, reserve=0)
    assert [limit.amount for limit in found.limits] == [50, 200]
    assert found.used == {"daily": 50}


def test_a_share_alone_is_nothing_that_was_told():
    live = [status("window", 50, 50), status("daily", 19_000, 18_000, "quota")]
    found = standing(TIER, live, share=0.5, reserve=1000)
    assert [limit.amount for limit in found.limits] == [100, 40_000]
    assert found.used == {"daily": 1000}


def test_of_a_quota_that_refused_nothing_is_left_whatever_was_counted():
    live = [status("window", 100, 90), status("daily", 40_000, 39_000, "quota", paused=600.0)]
    found = standing(TIER, live, share=1.0, reserve=0)
    assert found.used == {"daily": 40_000}
    assert found.paused == {"daily": 600.0}


def test_a_pause_of_the_whole_account_uses_up_no_quota():
    live = [status("window", 100, 90, paused=8.0), status("daily", 40_000, 39_000, "quota", paused=8.0)]
    assert standing(TIER, live, share=1.0, reserve=0).used == {"daily": 1000}


def test_limits_without_an_amount_of_calls_stay_as_they_are():
    limits = (Bucket(2, 40), Adaptive(5.0, 0.5, 200.0), Quota(15_000, per=86_400.0, name="daily"))
    live = [status("bucket", 40, 3, "bucket"), status("adaptive", 5, 5, "adaptive"), status("daily", 9, 4, "quota")]
    found = standing(limits, live, share=1.0, reserve=0)
    assert found.limits == limits
    assert found.used == {"daily": 14_996}
    assert standing(limits, [], share=1.0, reserve=0) == Standing(limits)


def test_a_pause_comes_before_the_first_call():
    found = predict(10, TIER, latency=0.05, room=16, wall=NOON, paused={"daily": 600.0})
    assert found.seconds == pytest.approx(600, rel=0.01)
    assert found.binding_limit == "daily"
    assert found.longest["daily"] == pytest.approx(600, rel=0.01)


def test_what_was_used_of_a_rolling_quota_does_not_come_back_at_once():
    day = Quota(100, per=86_400.0, name="daily")
    found = predict(20, [day], latency=0.05, room=16, wall=NOON, used={"daily": 90})
    assert found.binding_limit == "daily"
    assert found.longest["daily"] > 600
    assert predict(5, [day], latency=0.05, room=16, wall=NOON, used={"daily": 90}).seconds < 1
