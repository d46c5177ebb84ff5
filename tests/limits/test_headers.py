"""Rate-limit headers are read strictly: what is malformed is ignored."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.limits.headers import Remaining, date_ns, remaining, retry_after

NOW = 1_790_000_000 * 10**9
NAMES = [
    "retry-after", "x-hubspot-ratelimit-max", "x-hubspot-ratelimit-remaining", "x-hubspot-ratelimit-daily",
    "x-hubspot-ratelimit-daily-remaining", "x-hubspot-ratelimit-interval-milliseconds", "ratelimit", "ratelimit-policy",
    "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "x-ratelimit-limit", "x-ratelimit-remaining",
    "x-ratelimit-reset", "sforce-limit-info",
]  # fmt: skip


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), st.text(max_size=30) | st.integers().map(str)))
def test_whatever_a_header_holds_nothing_absurd_comes_out(headers):
    wait = retry_after(headers, NOW)
    assert wait is None or (0 <= wait <= 400 * 86_400 and math.isfinite(wait))
    for word in remaining(headers, NOW):
        assert 0 <= word.remaining <= word.limit
        assert word.per is None or word.per > 0
        assert word.reset is None or word.reset >= 0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 30),
        ("1.5", 1.5),
        ("0", 0),
        ("-1", None),
        ("nan", None),
        ("soon", None),
        ("", None),
        ("Mon, 21 Sep 2026 13:13:30 GMT", None),
    ],
)
def test_retry_after_in_seconds(text, seconds):
    if "GMT" in text:
        assert retry_after({"retry-after": text}, NOW) is not None
    else:
        assert retry_after({"retry-after": text}, NOW) == seconds


def test_retry_after_as_a_date_is_a_duration_never_a_year():
    from datetime import UTC, datetime, timedelta
    from email.utils import format_datetime

    date = format_datetime(datetime.fromtimestamp(NOW / 1e9, UTC) + timedelta(seconds=90), usegmt=True)
    assert retry_after({"retry-after": date}, NOW) == pytest.approx(90, abs=1)
    assert retry_after({"retry-after": "Thu, 01 Jan 1970 00:00:30 GMT"}, NOW) == 0


def test_each_dialect():
    hubspot = {
        "x-hubspot-ratelimit-max": "100",
        "x-hubspot-ratelimit-remaining": "99",
        "x-hubspot-ratelimit-interval-milliseconds": "10000",
        "x-hubspot-ratelimit-daily": "40000",
        "x-hubspot-ratelimit-daily-remaining": "39999",
    }
    assert remaining(hubspot, NOW) == (Remaining("window", 100, 99, 10.0), Remaining("daily", 40_000, 39_999))
    draft = {"ratelimit-policy": '"default";q=100;w=10', "ratelimit": '"default";r=50;t=5'}
    assert remaining(draft, NOW) == (Remaining("window", 100, 50, 10.0, 5.0),)
    old = {"ratelimit-limit": "100", "ratelimit-remaining": "40", "ratelimit-reset": "7"}
    assert remaining(old, NOW) == (Remaining("window", 100, 40, None, 7.0),)
    epoch = {"x-ratelimit-limit": "9", "x-ratelimit-remaining": "1", "x-ratelimit-reset": str(NOW // 10**9 + 30)}
    assert remaining(epoch, NOW) == (Remaining("window", 9, 1, None, 30.0),)
    assert remaining({"x-ratelimit-limit": "9", "x-ratelimit-remaining": "10"}, NOW) == ()


@given(st.text(max_size=40))
def test_a_date_is_read_or_ignored(text):
    assert date_ns({"date": text}) is None or isinstance(date_ns({"date": text}), int)
    assert date_ns({"date": "Thu, 01 Jan 1970 00:01:00 GMT"}) == 60 * 10**9
    assert date_ns({}) is None
