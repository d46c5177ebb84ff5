"""Faults of pauses after a refusal: too long, too short, of the wrong limit (FAULTS L24, L25)."""

from __future__ import annotations

import asyncio
import math
import time
from email.utils import formatdate

import pytest

import headway
from headway import Limiter, RetryPolicy, TokenBucket, Window

from .support import Asked, Reply, permitted, platform, session_of, takes, virtually, within

# -- L24


@pytest.mark.parametrize(
    "limit", [Window(1000, per=3600), Window(50_000, per=86_400)], ids=lambda each: f"{each.per} s"
)
def test_a_refusal_without_a_time_pauses_a_long_window_for_seconds(limit):
    """L24: a 429 without Retry-After on an hourly window paused an hour. 1 s, doubling to 60 s at most."""

    async def main(clock):
        limiter = Limiter(limit, clock=clock)
        waits = []
        for _ in range(8):
            permit = await permitted(limiter, 90_000)
            permit.rejected(limit.name)
            permit.settle()
            begin = clock.seconds
            (await permitted(limiter, 90_000)).cancel()
            waits.append(clock.seconds - begin)
        return waits

    waits = virtually(main)
    spacing = limit.per / limit.amount  # after a surprise it is paced
    assert 0.99 <= waits[0] <= 1.6 + spacing, f"the first pause is about a second: {waits}"
    assert max(waits) <= 91 + spacing, f"never more than about 60 s: {waits}"
    assert waits[3] > 4, f"it backs off: {waits}"


def test_a_nameless_refusal_pauses_the_one_limit_that_the_call_counted_against():
    """L24: it paused the account."""

    async def main(clock):
        limiter = Limiter(Window(9, per=1, name="a"), Window(9, per=1, name="b"), clock=clock)
        permit = limiter.try_acquire(limits={"a"})
        permit.rejected(retry_after=8)
        permit.settle()
        begin = clock.seconds
        (await permitted(limiter, 60, limits={"b"})).settle()
        other = clock.seconds - begin
        (await permitted(limiter, 60, limits={"a"})).settle()
        return other, clock.seconds - begin

    other, same = virtually(main)
    assert same >= 7.9, f"what refused is asked again after {same:.1f} s of 8"
    assert other < 1, f"another limit waited {other:.1f} s"


def test_a_nameless_refusal_of_several_limits_pauses_the_account():
    """L24, the other side: nobody can tell which it was."""

    async def main(clock):
        limits = [Window(9, per=1, name=name) for name in "abc"]
        limiter = Limiter(*limits, clock=clock)
        permit = limiter.try_acquire(limits={"a", "b"})
        permit.rejected(retry_after=8)
        permit.settle()
        begin = clock.seconds
        (await permitted(limiter, 60, limits={"c"})).settle()
        first = clock.seconds - begin
        one = limiter.try_acquire(limits={"c"})
        assert one is not None, "c was not paused for longer than the account"
        one.rejected(retry_after=8)
        one.settle()
        begin = clock.seconds
        (await permitted(limiter, 60, limits={"a"})).settle()
        return first, clock.seconds - begin

    first, second = virtually(main)
    assert first >= 7.9
    assert second < 1, "the second call counted against one limit only"


def test_slack_refuses_one_method_and_the_others_go_on(tmp_path):
    """L24: a 429 for `chat.postMessage` stopped `users.list` for 8 s."""

    def answer(asked: Asked) -> Reply:
        if asked.path.endswith("postMessage"):
            return Reply(429, {"Retry-After": "6"}, {"ok": False, "error": "ratelimited"})
        return Reply(body={"ok": True})

    with (
        platform(answer) as slack,
        headway.account("slack", token="t", base_url=slack.url, tier="tier4", state=tmp_path / "limits.db") as account,
    ):
        session = session_of(account)
        session.post(slack.url + "/api/chat.postMessage", json={"channel": "C1"})
        begin = time.monotonic()
        ended = within(20, lambda: session.get(slack.url + "/api/users.list").status_code)
        waited = time.monotonic() - begin
    assert ended.value == 200, f"{ended}"
    assert waited < 4, f"users.list waited {waited:.1f} s for chat.postMessage"


def test_an_object_lock_pauses_nothing(tmp_path):
    """L24: Stripe's `lock_timeout` is a 429 and no limit."""

    def answer(asked: Asked) -> Reply:
        if asked.path.endswith("locked"):
            return Reply(429, body={"error": {"code": "lock_timeout", "type": "invalid_request_error"}})
        return Reply()

    with (
        platform(answer) as stripe,
        headway.account("stripe", token="t", base_url=stripe.url, state=tmp_path / "limits.db") as account,
    ):
        session = session_of(account)
        session.get(stripe.url + "/v1/charges")
        time.sleep(1.2)
        events: list[object] = []
        account.observe(events.append)
        begin = time.monotonic()
        for _ in range(4):
            session.get(stripe.url + "/v1/charges/locked")
        for _ in range(10):
            session.get(stripe.url + "/v1/charges")
        waited = time.monotonic() - begin
    told = [type(each).__name__ for each in events]
    assert not {"RateLimitHit", "DestinationPaused"} & set(told), f"{told}"
    assert waited < 8, f"14 calls took {waited:.1f} s: the account was paused"


@pytest.mark.parametrize("limit", [Window(10, per=1), TokenBucket(10, 10)], ids=lambda each: each.name)
def test_smooth_pacing_after_a_surprise_ends_after_ten_quiet_windows(limit):
    """L24: one refusal turned windows smooth for good."""

    async def main(clock):
        limiter = Limiter(limit, clock=clock)
        assert len(takes(limiter, 3)) == 3, "it bursts"
        permit = limiter.try_acquire()
        permit.rejected(limit.name, 1)
        permit.settle()
        await asyncio.sleep(2)
        for _ in range(30):
            permit = await permitted(limiter, 5)
            permit.observe(200, {})
            permit.settle()
            await asyncio.sleep(0.5)
        await asyncio.sleep(3)
        return len(takes(limiter, 7))

    found = virtually(main)
    assert found >= 6, f"{found} of 10 at once, 18 quiet windows after the surprise"


# -- L25


@pytest.mark.parametrize("said", [0, 0.0], ids=repr)
@pytest.mark.parametrize("limit", ["", "window"])
def test_a_retry_after_of_nothing_does_not_turn_the_back_off_off(said, limit):
    """L25, issue 10: 303 calls, 300 refusals (429) in 40 s. At most 12 calls in 40 s."""

    async def main(clock):
        limiter = Limiter(Window(100, per=10), clock=clock)
        begin, calls = clock.seconds, []
        while clock.seconds < begin + 40 and len(calls) < 400:
            permit = await permitted(limiter, 120)
            await asyncio.sleep(0.02)
            if clock.seconds < begin + 40:
                calls.append(round(clock.seconds - begin, 2))
            permit.rejected(limit, said)
            permit.settle()
        return calls

    calls = virtually(main)
    assert len(calls) <= 12, f"{len(calls)} calls in 40 s: {calls[:20]}"
    assert len(calls) >= 3, "it never asks again"
    assert calls[1] <= 1.7, f"the first is honoured: {calls}"


@pytest.mark.parametrize("said", ["0", "past date"])
def test_a_retry_after_of_nothing_does_not_turn_the_back_off_off_under_an_adapter(said):
    """L25: the same in a reply, as seconds or as a date that is past."""

    def answer(asked: Asked) -> Reply:
        value = "0" if said == "0" else formatdate(asked.wall - 60, usegmt=True)
        return Reply(429, {"Retry-After": value})

    with platform(answer) as server:
        session = session_of(headway.adapt(Limiter(Window(100, per=10))), retry=RetryPolicy(attempts=1000))
        within(3, lambda: session.get(server.url + "/x", timeout=10))
        calls = len(server.asked)
    assert calls <= 6, f"{calls} calls in 3 s: a doubling back-off makes about three"


@pytest.mark.parametrize("off", [-120, 120, -7, 3600], ids=lambda each: f"{each} s off")
def test_a_date_is_read_by_the_platforms_clock(off):
    """L25, issue 10: Retry-After as a date, a platform whose clock is off ours: waits what was meant ± 1 s."""

    def answer(asked: Asked) -> Reply:
        clock = math.floor(asked.wall + off)
        date = {"Date": formatdate(clock, usegmt=True)}
        if asked.number == 1:
            return Reply(429, {**date, "Retry-After": formatdate(clock + 3, usegmt=True)})
        return Reply(200, date)

    with platform(answer) as server:
        session = session_of(headway.adapt(Limiter(Window(100, per=10))), retry=RetryPolicy(attempts=9))
        ended = within(8, lambda: session.get(server.url + "/x", timeout=10).status_code)
        times = [each.at for each in server.asked]
    assert ended.ended, f"3 s were asked for, and it still waits: {len(times)} calls"
    assert ended.value == 200, f"{ended}"
    assert len(times) == 2, f"{len(times)} calls"
    waited = times[1] - times[0]
    assert 1.95 <= waited <= 5.5, f"{waited:.1f} s instead of 3"


RESETS = {
    "braze": lambda at, wall: {"X-RateLimit-Limit": "250000", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": f"{at}"},
    "sendgrid": lambda at, wall: {"X-RateLimit-Limit": "600", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": f"{at}"},
    "brevo": lambda at, wall: {
        "x-sib-ratelimit-limit": "100", "x-sib-ratelimit-remaining": "0",
        "x-sib-ratelimit-reset": f"{math.ceil(at - wall)}",
    },
    "": lambda at, wall: {
        "RateLimit-Limit": "100", "RateLimit-Remaining": "0", "RateLimit-Reset": f"{math.ceil(at - wall)}",
    },
    "draft": lambda at, wall: {
        "RateLimit-Policy": '"default";q=100;w=60', "RateLimit": f'"default";r=0;t={math.ceil(at - wall)}',
    },
}  # fmt: skip


@pytest.mark.parametrize("name", RESETS, ids=lambda each: each or "three fields")
def test_a_reset_that_only_the_headers_tell_is_waited_for(name, tmp_path):
    """L25, issue 10: no call before it, at most 2 s after; `X-RateLimit-Reset` was parsed and used nowhere."""
    reset = math.ceil(time.time() + 4)

    def answer(asked: Asked) -> Reply:
        if asked.wall < reset:
            return Reply(429, RESETS[name](reset, asked.wall), {"message": "slow down"})
        return Reply()

    with platform(answer) as server:
        if name in {"", "draft"}:
            limiter = Limiter(Window(100, per=60))
            doors = headway.adapt(limiter)
        else:
            doors = headway.account(name, token="t", base_url=server.url, state=tmp_path / "limits.db")
            limiter = doors.limiter
        with limiter:
            session = session_of(doors, retry=RetryPolicy(attempts=100))
            ended = within(20, lambda: session.get(server.url + "/v3/other", timeout=30).status_code)
        after = [each.wall - reset for each in server.asked]
        refused = server.times(429)
    assert refused == 1, f"{refused} refusals, at {after} s before or after the reset"
    assert ended.value == 200, f"{ended}"
    assert after[-1] <= 3, f"{after[-1]:.1f} s after the reset"
