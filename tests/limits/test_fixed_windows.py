"""Fixed windows that say what is left: what is learned from their headers must not slow anybody down."""

from __future__ import annotations

import pytest

from headway import Concurrency, Limiter, Window
from headway.testing.virtual import VirtualClock
from tests.limits.fixed_windows import AMOUNT, WORDS, worked


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize(("pacing", "more"), [("smooth", ()), ("burst", (Concurrency(5),))], ids=["smooth", "burst"])
def test_twenty_minutes_of_fixed_windows_use_95_percent_of_every_minute(pacing, more, words, seed):
    clock = VirtualClock()
    limiter = Limiter(Window(AMOUNT, per=10), *more, pacing=pacing, clock=clock)
    platform = worked(limiter, clock, words, minutes=20, seed=seed)
    assert platform.refused == 0
    assert len(platform.minutes) == 20
    assert min(platform.minutes) >= 0.95 * 6 * AMOUNT, platform.minutes
