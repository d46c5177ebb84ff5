"""What every adapter does alike, over real sockets: permits per wire attempt, held and settled as they must be."""

from __future__ import annotations

import time

import pytest

import headway
from headway import Concurrency, Limiter, RetryPolicy, Window
from tests.adapters.clients import KINDS, client
from tests.adapters.platform import Platform

every_client = pytest.mark.parametrize("kind", sorted(KINDS))
QUICK = RetryPolicy(base=0.01, cap=0.02, attempts=4)


def limiter(amount: int = 100, slots: int = 1) -> Limiter:
    return Limiter(Window(amount, per=60), Concurrency(slots))


def taken(of: Limiter) -> int:
    window = of.snapshot()[0]
    return window.in_flight + window.cooling


def in_flight(of: Limiter) -> int:
    return of.snapshot()[1].in_flight + of.snapshot()[1].cooling


@every_client
def test_every_call_takes_one_permit_and_settles_it(kind: str, server: Platform):
    limits = limiter()
    with client(kind, headway.adapt(limits)) as send:
        for _ in range(3):
            assert send(server.url + "/ok") == (200, b'{"ok": true}')
            assert in_flight(limits) == 0
    assert taken(limits) == 3


@every_client
def test_each_redirect_hop_takes_a_permit_and_never_waits_for_itself(kind: str, server: Platform):
    limits = limiter()
    with client(kind, headway.adapt(limits)) as send, headway.call_options(timeout=5):
        assert send(server.url + "/hop/3") == (200, b'{"ok": true}')
    assert taken(limits) == len(server.paths) == 4
    assert server.most == 1
    assert in_flight(limits) == 0


@every_client
def test_a_window_that_is_full_makes_the_client_wait(kind: str, server: Platform):
    limits = Limiter(Window(2, per=0.4))
    with client(kind, headway.adapt(limits)) as send:
        began = time.perf_counter()
        for _ in range(5):
            send(server.url + "/ok")
        assert time.perf_counter() - began >= 0.8


@every_client
def test_a_refusal_pauses_everybody_and_is_handed_on_without_a_retry_policy(kind: str, server: Platform):
    limits = limiter()
    server.refusals = 1
    with client(kind, headway.adapt(limits)) as send:
        began = time.perf_counter()
        assert send(server.url + "/limited")[0] == 429
        assert len(server.paths) == 1
        assert send(server.url + "/limited")[0] == 200
        assert time.perf_counter() - began >= 0.2, "the second waited for what Retry-After said"
    assert in_flight(limits) == 0


@every_client
def test_a_retry_policy_sends_a_refused_call_again_whatever_its_method(kind: str, server: Platform):
    limits = limiter()
    server.refusals = 2
    with client(kind, headway.adapt(limits), retry=QUICK) as send:
        assert send(server.url + "/limited", "POST") == (200, b'{"ok": true}')
    assert taken(limits) == len(server.paths) == 3
    assert in_flight(limits) == 0


@every_client
def test_a_retry_policy_repeats_failures_that_may_pass_for_idempotent_calls_only(kind: str, server: Platform):
    limits = limiter()
    server.refusals = 2
    with client(kind, headway.adapt(limits), retry=QUICK) as send:
        assert send(server.url + "/flaky", "PUT")[0] == 200
        server.refusals = 1
        assert send(server.url + "/flaky", "POST")[0] == 503
    assert taken(limits) == len(server.paths) == 4
    assert in_flight(limits) == 0


@every_client
def test_retries_end_with_the_policy(kind: str, server: Platform):
    limits = limiter()
    server.refusals = 99
    with client(kind, headway.adapt(limits), retry=QUICK) as send:
        assert send(server.url + "/flaky")[0] == 503
    assert len(server.paths) == 4


@every_client
def test_a_call_without_a_reply_lingers_and_one_that_never_left_does_not(kind: str, server: Platform):
    limits = limiter(slots=5)
    with client(kind, headway.adapt(limits)) as send:
        with pytest.raises(Exception) as caught:  # every client has its own
            send("http://127.0.0.1:1/refused")
        assert not isinstance(caught.value, headway.HeadwayError)
        assert taken(limits) == 0
        with pytest.raises(Exception):  # noqa: B017
            send(server.url + "/drop", "POST")
    assert taken(limits) == 1
    assert limits.snapshot()[1].cooling == 1


@every_client
def test_a_long_body_holds_its_slot_until_it_was_read(kind: str, server: Platform):
    limits = limiter()
    with client(kind, headway.adapt(limits)) as send:
        assert len(send(server.url + "/long")[1]) == 2_000_000
    assert in_flight(limits) == 0


@every_client
def test_a_permit_that_does_not_come_in_time_is_refused_before_anything_is_sent(kind: str, server: Platform):
    limits = limiter(amount=1)
    with client(kind, headway.adapt(limits)) as send:
        send(server.url + "/ok")
        with headway.call_options(timeout=0.05), pytest.raises(headway.PermitTimeout):
            send(server.url + "/ok")
    assert len(server.paths) == 1


def test_options_that_make_no_sense_are_refused():
    for wrong in ({"priority": "urgent"}, {"cost": 0}, {"cost": 1.5}, {"timeout": -1}, {"timeout": float("nan")}):
        with pytest.raises(headway.UsageError), headway.call_options(**wrong):  # type: ignore[arg-type]
            pass
    with pytest.raises(headway.UsageError):
        headway.adapt("hubspot")  # type: ignore[arg-type]
