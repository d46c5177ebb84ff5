"""Faults of arguments: what makes no sense is refused before anything is queued or marked (FAULTS L7, L8, L20)."""

from __future__ import annotations

import asyncio
import math

import pytest

import headway
from headway import Concurrency, Limiter, PermitTimeout, Pool, Quota, TokenBucket, UsageError, Window

from .support import command, got, outcome, takes, within

NONSENSE = [-8, 0, 1.0, 2.5, "3", True, math.nan, math.inf, [], {"window": -1}, {"window": 1.5}, {"window": "2"}]
LIMITS = [
    Window(2, per=600), Quota(2, resets="00:00 UTC"), Quota(2, per=86_400), TokenBucket(0.001, 2), Concurrency(2),
]  # fmt: skip
NO_NAMES: list[object] = [[], (), frozenset(), "window", [""], [None], 5]
SCHEMES = [
    "redis://:hunter2@cache.internal:6379/0", "rediss://cache.internal/0", "postgresql://u:hunter2@db/limits",
    "postgres://db/limits", "mysql://db/limits", "REDIS://cache/0", "http://example.com/limits.db",
]  # fmt: skip


class Whole:
    """An integer of another library, as numpy's are."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value


def name_of(limit) -> str:
    return f"{type(limit).__name__}-{getattr(limit, 'resets', None) or ''}"


@pytest.mark.parametrize("cost", [value for value in NONSENSE if value != 0], ids=repr)
@pytest.mark.parametrize("limit", LIMITS, ids=name_of)
def test_a_cost_that_makes_no_sense_cannot_be_settled_and_costs_no_place(limit, cost, headway_clock):
    """L7: `settle(cost=-8)` let Window(2) grant 10, `settle(cost=1.0)` kept its places for ever."""
    wrong = {limit.name: next(iter(cost.values()))} if isinstance(cost, dict) else cost
    limiter = Limiter(limit, linger=1, clock=headway_clock)
    permit = limiter.acquire(timeout=0)
    ended = outcome(lambda: permit.settle(cost=wrong))
    assert isinstance(ended.error, UsageError), f"settle(cost={wrong!r}): {ended}"
    assert not permit.over, "it was refused: the call is in flight as before"
    others = takes(limiter, 20)
    assert len(others) == 1, f"{1 + len(others)} in flight of 2"
    for each in (permit, *others):
        each.settle()
    headway_clock.advance(90_000)
    assert len(takes(limiter, 20)) == 2, "the places came back, and no more than there are"


def unrefused(asks) -> list[str]:
    """Those of the calls, by name, that did not end in a usage error, and how they ended."""
    ended = {name: within(10, ask) for name, ask in asks.items()}
    return [f"{name}: {how}" for name, how in ended.items() if not isinstance(how.error, UsageError)]


@pytest.mark.parametrize("way", ["try_acquire", "acquire", "permit"])
def test_a_cost_that_makes_no_sense_cannot_be_asked_for(way):
    """L7: refused as a usage error by every way of asking, before anything is taken."""
    limiter = Limiter(Window(3, per=600))
    ask = {
        "try_acquire": limiter.try_acquire,
        "acquire": lambda cost: limiter.acquire(cost, timeout=0),
        "permit": lambda cost: limiter.permit(cost, timeout=0).__enter__(),
    }[way]
    wrong = unrefused({repr(cost): lambda cost=cost: ask(cost) for cost in NONSENSE})
    assert not wrong, "; ".join(wrong)
    assert len(takes(limiter, 9)) == 3, "nothing was taken"


@pytest.mark.parametrize("value", [-2, 0, 2])
def test_whole_numbers_of_other_libraries_count_as_what_they_are_or_are_refused(value):
    """L7: an object with `__index__` is that number or a usage error, never 1 by mistake and no raw error."""
    limiter = Limiter(Window(3, per=600))
    ended = outcome(lambda: limiter.acquire(Whole(value), timeout=0))
    left = len(takes(limiter, 9))
    if isinstance(ended.error, UsageError):
        assert left == 3
    else:
        assert ended.error is None, f"cost {value}: {ended}"
        assert value == 2
        assert left == 1, f"a cost of 2 left {left} of 3"
    permit = Limiter(Window(3, per=600)).acquire(timeout=0)
    settled = outcome(lambda: permit.settle(Whole(value)))
    assert settled.error is None or isinstance(settled.error, UsageError), f"settle: {settled}"
    assert value > 0 or settled.error is not None


@pytest.mark.parametrize("cost", [{"nope": 3}, {"window": 2, "nope": 1}, {"": 2}, {1: 1}], ids=repr)
def test_a_cost_for_a_limit_that_is_not_there_is_refused(cost):
    """L7: `cost={"nope": 3}` was silently 1."""
    limiter = Limiter(Window(5, per=600))
    ended = outcome(lambda: limiter.acquire(cost, timeout=0))
    assert isinstance(ended.error, UsageError), f"cost={cost!r}: {ended}"
    assert "nope" in str(ended.error) or "nope" not in cost, f"it does not say which: {ended}"
    assert len(takes(limiter, 9)) == 5


def test_an_actual_cost_for_a_limit_that_is_not_there_is_refused():
    """L7: the same when settling."""
    limiter = Limiter(Window(5, per=600))
    permit = limiter.acquire(timeout=0)
    ended = outcome(lambda: permit.settle({"nope": 3}))
    assert isinstance(ended.error, UsageError), f"{ended}"
    permit.settle({"window": 2})
    assert len(takes(limiter, 9)) == 3


@pytest.mark.parametrize("way", ["try_acquire", "acquire", "permit"])
def test_a_permit_for_no_limit_at_all_is_refused(way):
    """L7: `limits=[]` granted without limit. A text is not a list of names."""
    limiter = Limiter(Window(2, per=600))
    ask = {
        "try_acquire": lambda names: limiter.try_acquire(limits=names),
        "acquire": lambda names: limiter.acquire(limits=names, timeout=0),
        "permit": lambda names: limiter.permit(limits=names, timeout=0).__enter__(),
    }[way]
    wrong = unrefused({repr(each): lambda each=each: ask(each) for each in NO_NAMES})
    assert not wrong, "; ".join(wrong)
    assert len(takes(limiter, 9)) == 2, "nothing was taken"


def test_a_limiter_without_a_limit_is_refused():
    """L7: `Limiter()` granted without limit."""
    ended = outcome(Limiter)
    assert isinstance(ended.error, UsageError), f"Limiter(): {ended}"


def test_a_priority_that_does_not_exist_is_refused():
    """L7: as a usage error, whatever was given."""
    limiter = Limiter(Window(2, per=600))
    asked = ("", "BULK", None, 1, ["bulk"], {})
    wrong = unrefused({repr(each): lambda each=each: limiter.acquire(priority=each, timeout=0) for each in asked})
    assert not wrong, "; ".join(wrong)
    assert len(takes(limiter, 9)) == 2


# -- timeouts (L20)


@pytest.mark.parametrize("limits", [[Window(1, per=0.3)], [TokenBucket(4, 1)]], ids=["window", "bucket"])
def test_a_wait_without_end_is_a_wait(limits):
    """L20: `timeout=inf` raised after queueing and lost a place."""
    limiter = Limiter(*limits)
    limiter.acquire().settle()
    ended = within(8, lambda: limiter.acquire(timeout=math.inf))
    assert ended.fine, f"timeout=inf: {ended}"
    ended.value.settle()
    assert got(limiter, 5) is not None, "nobody is left in the queue"


@pytest.mark.parametrize("timeout", [math.nan, "3", True, [], -math.nan], ids=repr)
def test_a_timeout_that_is_no_number_is_refused_and_loses_no_place(timeout):
    """L20: NaN raised after queueing, and the place was gone."""
    limiter = Limiter(Concurrency(1))
    held = limiter.acquire()
    ended = within(5, lambda: limiter.acquire(timeout=timeout))
    assert isinstance(ended.error, UsageError), f"timeout={timeout!r}: {ended}"
    held.settle()
    assert len(takes(limiter, 5)) == 1, "the place came back"


@pytest.mark.parametrize("timeout", [-1, -0.5, -math.inf], ids=repr)
def test_a_timeout_that_is_over_means_now_or_never(timeout):
    """L20: -1 waited for ever in threads."""
    limiter = Limiter(Concurrency(1))
    held = limiter.acquire(timeout=timeout)
    ended = within(5, lambda: limiter.acquire(timeout=timeout))
    assert isinstance(ended.error, PermitTimeout), f"timeout={timeout!r}: {ended}"
    held.settle()
    now = within(5, lambda: limiter.acquire(timeout=timeout))
    assert now.error is None, f"it was free: {now}"


@pytest.mark.parametrize("timeout", [math.inf, math.nan, -math.inf, "3"], ids=repr)
def test_the_same_timeouts_mean_the_same_in_an_event_loop(timeout):
    """L20: sync and async differ in how they wait and in nothing else."""
    limiter = Limiter(Window(1, per=0.3))

    async def main():
        (await limiter.acquire_async()).settle()
        return await asyncio.wait_for(limiter.acquire_async(timeout=timeout), 5)

    ended = within(10, lambda: asyncio.run(main()))
    if timeout == math.inf:
        assert ended.fine, f"{ended}"
        ended.value.settle()
    else:
        wanted = UsageError if isinstance(timeout, str) or math.isnan(timeout) else PermitTimeout
        assert isinstance(ended.error, wanted), f"timeout={timeout!r}: {ended}"
        assert getattr(ended.error, "limit", "") is not None


# -- addresses of state (L8)


@pytest.mark.parametrize("url", SCHEMES)
def test_a_state_of_an_unknown_kind_is_refused_and_leaves_no_file(url, tmp_path, monkeypatch):
    """L8: it was taken for a path, password and all."""
    monkeypatch.chdir(tmp_path)
    ended = outcome(lambda: Limiter(Window(2, per=1), state=url, name="x"))
    if ended.value is not None:
        ended.value.close()
    assert isinstance(ended.error, UsageError), f"state={url!r}: {ended}"
    assert "hunter2" not in str(ended.error), "a password is not repeated"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", SCHEMES[:4])
def test_an_unknown_kind_of_state_is_refused_for_an_account_too(url, tmp_path, monkeypatch):
    """L8: HEADWAY_STATE and account(state=…)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))

    def named():
        with headway.account("mailchimp", token="t-us1", state=url) as account:
            account.limiter.try_acquire()

    def by_environment():
        monkeypatch.setenv("HEADWAY_STATE", url)
        with headway.account("mailchimp", token="t-us1") as account:
            account.limiter.try_acquire()

    for use in (named, by_environment):
        ended = outcome(use)
        assert isinstance(ended.error, UsageError), f"{use.__name__}, {url!r}: {ended}"
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", SCHEMES[:5])
def test_an_unknown_kind_of_store_is_refused_by_a_pool(url, tmp_path, monkeypatch):
    """L8: Pool(store=…)."""
    monkeypatch.chdir(tmp_path)
    ended = outcome(lambda: Pool(len, by=lambda _: Limiter(Window(2, per=1)), store=url))
    if ended.error is None:
        ended = outcome(lambda: ended.value.__enter__())
    assert isinstance(ended.error, UsageError), f"store={url!r}: {ended}"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("way", ["option", "environment"])
def test_the_command_line_refuses_a_state_of_an_unknown_kind(way, tmp_path):
    """L8: exit 2, and nothing is written."""
    (tmp_path / "contacts.csv").write_text("email\nada@example.com\n")
    words = ["sync", "contacts.csv", "hubspot:contacts", "--key", "email", "--base-url", "http://127.0.0.1:9"]
    more = {"HUBSPOT_TOKEN": "t", "XDG_CONFIG_HOME": str(tmp_path / "none")}
    url = "postgresql://u:hunter2@db/limits"
    if way == "option":
        done = command(tmp_path, *words, "--state", url, seconds=20, **more)
    else:
        done = command(tmp_path, *words, seconds=20, HEADWAY_STATE=url, **more)
    assert done.returncode == 2, f"exit {done.returncode}: {done.stderr}"
    assert "hunter2" not in done.stdout + done.stderr
    assert not list(tmp_path.glob("postgresql*"))
