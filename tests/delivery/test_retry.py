"""Backoff with full jitter, within its figures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.delivery.retry import GiveUp, RetryAt, RetryPolicy
from headway.errors import UsageError


@given(attempts=st.integers(1, 4), jitter=st.floats(0, 1, exclude_max=True), now=st.floats(0, 2e9))
def test_the_wait_lies_between_zero_and_the_exponential_step(attempts, jitter, now):
    decision = RetryPolicy().decide(attempts, now, jitter)
    assert isinstance(decision, RetryAt)
    assert now <= decision.when <= now + 2 ** (attempts - 1)


def test_the_step_is_capped_and_the_attempts_are_counted():
    policy = RetryPolicy(attempts=20)
    assert policy.decide(15, 0, 0.999).when <= 60
    assert isinstance(RetryPolicy().decide(5, 0, 0.5), GiveUp)


def test_the_platforms_word_is_never_undercut_and_the_total_holds():
    assert RetryPolicy().decide(1, 100, 0.0, retry_after=7).when == 107
    assert isinstance(RetryPolicy().decide(2, 1000, 0.5, first_attempt=100), GiveUp)


def test_figures_that_make_no_sense_are_refused():
    with pytest.raises(UsageError):
        RetryPolicy(attempts=0)
