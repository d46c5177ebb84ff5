"""The judge of the stateful test: exact against every possible assignment, and able to fail."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.limits import driver
from tests.limits.checker import SECOND, BucketJudge, Call, ConcurrencyJudge, Judge, QuotaJudge, WindowJudge
from tests.limits.setups import draw_setup, draw_steps
from tests.limits.worlds import Violation, World

spans = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 4), st.integers(1, 2)).map(lambda x: (x[0], x[0] + x[1], x[2])),
    min_size=1,
    max_size=4,
)
"""Calls as (sent, until, cost)."""


def says_too_many(judge: Judge, calls: list[tuple[int, int, int]], amount: int) -> bool:
    """The judge's word, told of everything in the order in which it happens."""
    made = [Call(1, sent, {"x": cost}) for sent, _, cost in calls]
    found = False
    events = [(until, 0, i) for i, (_, until, _) in enumerate(calls)]
    events += [(sent, 1, i) for i, (sent, _, _) in enumerate(calls)]
    for at, what, i in sorted(events, key=lambda event: (event[0], event[1])):
        if what == 1:
            found |= bool(judge.sent(made[i], amount, amount))
            if calls[i][1] == at:
                made[i].until = at
        else:
            made[i].until = at
    return found


def assignments(calls: list[tuple[int, int, int]]):
    """Every way in which a platform may count, as [(instant, cost)]."""
    for instants in itertools.product(*[range(sent, until + 1) for sent, until, _ in calls]):
        yield sorted(zip(instants, [cost for _, _, cost in calls], strict=True))


def alone(calls: list[tuple[int, int, int]], amount: int) -> bool:
    """Costs above the limit may go alone: a rule beside the sums that are compared here."""
    return any(cost > amount for _, _, cost in calls)


@settings(max_examples=300, deadline=None)
@given(calls=spans, per=st.integers(1, 5), amount=st.integers(1, 5))
def test_a_window_is_judged_as_every_assignment_would_have_it(calls, per, amount):
    worst = max(
        sum(cost for at, cost in counted if start <= at <= start + per)
        for counted in assignments(calls)
        for start, _ in counted
    )
    if not alone(calls, amount):
        assert says_too_many(WindowJudge("x", per), calls, amount) == (worst > amount)


@settings(max_examples=300, deadline=None)
@given(calls=spans, rate=st.sampled_from([0.25, 0.5, 1.0]), amount=st.integers(1, 5))
def test_a_bucket_is_judged_as_every_assignment_would_have_it(calls, rate, amount):
    worst = 0.0
    for counted in assignments(calls):
        level, then = 0.0, 0
        for at, cost in counted:
            level, then = max(0.0, level - (at - then) * rate) + cost, at
            worst = max(worst, level)
    if not alone(calls, amount):
        assert says_too_many(BucketJudge("x", rate * SECOND), calls, amount) == (worst > amount + 1e-6)


@settings(max_examples=300, deadline=None)
@given(calls=spans, skew=st.integers(0, 1), amount=st.integers(1, 5))
def test_a_quota_is_judged_as_every_assignment_and_every_reset_would_have_it(calls, skew, amount):
    worst = 0
    for counted, early, late in itertools.product(assignments(calls), range(-skew, skew + 1), range(-skew, skew + 1)):
        resets = [-100, 0 + early, 5 + late, 10 + early, 100]
        for start, end in itertools.pairwise(resets):
            # A call at the very instant of a reset may fall on either side of it.
            worst = max(worst, sum(cost for at, cost in counted if start <= at <= end))
    if not alone(calls, amount):
        assert says_too_many(QuotaJudge("x", 5, skew, 0), calls, amount) == (worst > amount)


@settings(max_examples=300, deadline=None)
@given(calls=spans, amount=st.integers(1, 5))
def test_concurrency_is_judged_by_all_that_are_not_over(calls, amount):
    # At every sending: itself, those sent before and not over; of those sent at one instant the last sees all.
    worst = max(
        sum(cost for sent, until, cost in calls if sent <= at and (until > at or sent == at)) for at, _, _ in calls
    )
    instant = any(sent == until for sent, until, _ in calls)
    if not alone(calls, amount) and not instant:
        assert says_too_many(ConcurrencyJudge("x", None), calls, amount) == (worst > amount)


def test_a_call_above_a_lowered_limit_may_go_alone():
    judge = WindowJudge("x", 5)
    big = Call(1, 0, {"x": 3})
    assert judge.sent(big, 1, 1) == ""
    big.until = 1
    assert judge.sent(Call(1, 6, {"x": 1}), 1, 1) != ""


# A limiter that breaks a rule by little must be found within few worlds: else the walk's silence would mean nothing.


KINDS = {
    "over-issue", "forgotten", "nobody", "late", "refused", "forever", "paused", "spin", "junk", "error", "state",
}  # fmt: skip


def lowest_seed(kinds: set[str], seeds: int = 400) -> int | None:
    """The first seed whose world in memory breaks one of these rules, whatever else it breaks."""
    for seed in range(seeds):
        setup = draw_setup(seed)
        if not setup.shared:
            try:
                World(setup, ignore=KINDS - kinds).run(draw_steps(seed, setup, 150))
            except Violation:
                return seed
    return None


@pytest.mark.parametrize(
    ("what", "lie"),
    [
        ("one more than the limit", lambda spec: replace(spec, amount=spec.amount + 1)),
        ("a window that is 1 % short", lambda spec: replace(spec, per=spec.per * 0.99)),
        ("a bucket that leaks 2 % faster", lambda spec: replace(spec, rate=spec.rate * 1.02)),
        ("an arrival bound that is 10 % short", lambda spec: replace(spec, bound=spec.bound and spec.bound * 0.9)),
        ("a lag that is forgotten", lambda spec: replace(spec, lag=0.0)),
        ("a quota's skew that is forgotten", lambda spec: replace(spec, skew=0.0)),
    ],
)
def test_a_limiter_with_another_idea_of_its_limits_is_found(monkeypatch, what, lie):
    honest = driver.limit_of
    monkeypatch.setattr(driver, "limit_of", lambda spec: honest(lie(spec)))
    assert lowest_seed({"over-issue", "forgotten"}) is not None, what


def test_a_limiter_that_lets_lost_calls_go_too_early_is_found(monkeypatch):
    make = driver.Limiter
    monkeypatch.setattr(driver, "Limiter", lambda *limits, **options: make(*limits, **{**options, "linger": 1.9}))
    assert lowest_seed({"over-issue", "forgotten"}) is not None


def test_a_limiter_that_holds_a_place_too_long_is_found(monkeypatch):
    make = driver.Limiter
    longer = {"linger": 31.0}
    monkeypatch.setattr(driver, "Limiter", lambda *limits, **options: make(*limits, **{**options, **longer}))
    assert lowest_seed({"nobody", "late"}) is not None
