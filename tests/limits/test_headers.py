"""Rate-limit headers are read strictly: what is malformed is ignored."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.limits.headers import Refusal, Remaining, date_ns, remaining, reset_after, retry_after

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


HERE = 1_795_521_600  # 2026-11-24 12:00:00 UTC
DATE = {"date": "Tue, 24 Nov 2026 12:00:00 GMT"}


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"ratelimit-limit": "100, 100;w=10", "ratelimit-remaining": "40", "ratelimit-reset": "3"},
         Remaining("window", 100, 40, 10.0, 3.0)),
        ({"ratelimit": "limit=20, remaining=5, reset=2", "ratelimit-policy": "20;w=2"},
         Remaining("window", 20, 5, 2.0, 2.0)),
        ({"ratelimit": '"default";r=5;t=2', "ratelimit-policy": '"default";q=20;w=2'},
         Remaining("window", 20, 5, 2.0, 2.0)),
        ({"x-ratelimit-limit-minute": "60", "x-ratelimit-remaining-minute": "59"}, Remaining("window", 60, 59, 60.0)),
        ({"x-ratelimit-limit-day": "900", "x-ratelimit-remaining-day": "0"}, Remaining("daily", 900, 0, 86_400.0)),
        ({"x-sib-ratelimit-limit": "100", "x-sib-ratelimit-remaining": "9", "x-sib-ratelimit-reset": "60"},
         Remaining("window", 100, 9, None, 60.0)),
        ({"x-ratelimit-limit": "9", "x-ratelimit-remaining": "1", "x-ratelimit-reset": str((HERE + 7) * 1000), **DATE},
         Remaining("window", 9, 1, None, 7.0)),
    ],
)  # fmt: skip
def test_a_window_that_headers_name_has_its_length(headers, said):
    assert remaining(headers, (HERE + 120) * 10**9) == (said,)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("15", 15.0), ("15s", 15.0), ("0.5", 0.5), (str(HERE + 15), 15.0), (str((HERE + 15) * 1000), 15.0),
        (str(HERE - 9), 0.0), ("Tue, 24 Nov 2026 12:00:15 GMT", 15.0), ("2026-11-24T12:00:15Z", 15.0),
        ("", None), ("soon", None), ("-3", None), (None, None), ("9" * 30, None),
    ],
)  # fmt: skip
def test_a_reset_is_seconds_or_an_instant_by_the_replys_own_clock(text, seconds):
    assert reset_after(text, DATE, 0) == seconds
    assert reset_after(text, {}, HERE * 10**9) == seconds


def test_a_date_is_measured_against_the_replys_own_clock():
    told = {"retry-after": "Tue, 24 Nov 2026 12:00:02 GMT"}
    for wrong in (-120, 0, 120, 86_400):
        assert retry_after(told | DATE, (HERE + wrong) * 10**9) == 2.0
    assert retry_after(told, (HERE - 3) * 10**9) == 5.0
    assert retry_after(told | {"date": "never"}, HERE * 10**9) == 2.0


def test_a_refusal_waits_as_asked_else_until_the_reset_else_as_long_as_it_locks():
    assert Refusal("x", 0.0, 9.0, 30.0).wait == 0.0
    assert Refusal("x", None, 9.0, 30.0).wait == 9.0
    assert Refusal("x", None, None, 30.0).wait == 30.0
    assert Refusal().wait is None
    assert Remaining("window", 10, 3).used == 7
