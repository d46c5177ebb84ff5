"""Every cost and every scope of the catalogue is enforced by an adapter, in front of a mock that counts for itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

import headway.accounts.scopes
from headway.accounts.scopes import Scopes
from headway.adapters.attempts import Asked, Heard, begin_async, call_options
from headway.limiter.limiter import Limiter
from headway.limits.limits import Window
from headway.mock.entries import EntryConfig
from headway.mock.generic import GenericMock
from headway.platforms.asking import Request
from headway.platforms.catalog_reader import _built_in, load
from headway.platforms.profile import LimitEntry, Profile, Tier
from headway.testing.virtual import VirtualClock, run_virtually


class MockTime:
    """The mock's clock: the test's own."""

    def __init__(self, clock: VirtualClock) -> None:
        self.monotonic, self.wall = clock.monotonic_ns, clock.wall_ns


class Held:
    """An account's limits in virtual time: what adapters ask."""

    prepared = True

    def __init__(self, profile: Profile, tier: Tier, clock: VirtualClock) -> None:
        standing = [entry.limit("UTC") for entry in tier.limits if not entry.spread]
        idle = Window(10**9, per=1, name=f"{tier.limits[0].name}@idle")  # a limiter needs one
        self.limiter = Limiter(*standing, idle, clock=clock, pacing=tier.pacing)
        self._scopes = Scopes(
            profile, lambda: tier, made=lambda entry, name: entry.limit("UTC", 0, name), key=lambda *_: "",
        )  # fmt: skip
        self._clock = clock

    def ask(self, method: str, path: str, body: bytes = b"", cost: Any = None) -> Asked:
        return self._scopes.ask(self.limiter, Request(method, path, body), cost=cost)

    def body_tells(self, status: int, path: str = "") -> bool:
        return self._scopes.body_tells(status, path)

    def tell(self, asked: Asked, status: int, headers: Mapping[str, str], body: bytes) -> Heard:
        return self._scopes.tell(asked, status, headers, body, self._clock.wall_ns())

    def prepare(self) -> None:
        """Nothing."""


@dataclass
class Wire:
    """Calls under an adapter's permits to a mock, `trip` seconds each way; a call takes `seconds` there."""

    held: Held
    mock: GenericMock
    clock: VirtualClock
    trip: float = 0.02
    seconds: float = 0.0
    sent: list[tuple[float, str]] = field(default_factory=list)

    async def call(self, method: str, path: str, body: bytes = b"") -> None:
        attempt = await begin_async(self.held, method, path, body)
        bare, _, query = path.partition("?")
        await asyncio.sleep(self.trip)
        self.sent.append((self.clock.seconds, path))
        came = self.mock.arrive(method, bare, "Bearer t", query)
        await asyncio.sleep(self.seconds)
        reply = self.mock.perform(came, body)
        self.mock.journal.finish(came.entry, reply.status, self.clock.monotonic_ns())
        await asyncio.sleep(self.trip)
        raw = reply.raw or json.dumps(reply.body).encode()
        attempt.replied(reply.status, reply.headers, raw if attempt.body_tells(reply.status) else b"")
        attempt.done()


def wired(name: str, tier: Tier, clock: VirtualClock, **options: Any) -> Wire:
    profile = load(name)
    amounts = {entry.name: entry.amount for entry in tier.limits}
    mock = GenericMock(EntryConfig(name, tier=tier.name, amounts=amounts, seats=1), MockTime(clock))
    return Wire(Held(profile, tier, clock), mock, clock, **options)


def reaching(profile: Profile, tier: str, entry: LimitEntry) -> tuple[str, str]:
    """A call that counts against a limit."""
    for method, path in (
        ("GET", "/x"),
        *((method, path.replace("*", "x")) for route in profile.routes
          for method in sorted(route.methods or {"POST"}) for path in route.paths),
    ):  # fmt: skip
        if entry.name in profile.route(path, method, tier):
            return method, path
    pytest.fail(f"no call counts against {entry.name}")


def priced(profile: Profile, tier: str, entry: LimitEntry, method: str, path: str) -> tuple[int, str, bytes]:
    """What a call costs of a limit, as the mock is told, and a body that says so."""
    if not profile.weighs(entry):
        return 1, path, b""
    assert profile.cost is not None
    if profile.cost.known == "after":
        return 8, f"{path}?mock-cost=8", b'{"query": "{ shop { name } }"}'
    if profile.cost.count:
        items = profile.cost.each * 3
        said: Any = [{}] * items
        for step in reversed(profile.cost.count[0].removesuffix("[]").split(".")):
            said = {step: said}
        return 3, f"{path}?mock-cost=3", json.dumps(said).encode()
    return profile.costs(tier, path, method)[entry.name], path, b""


LIMITS = [
    (name, tier.name, entry.name)
    for name in sorted(_built_in())
    for tier in load(name).tiers.values()
    for entry in tier.limits
]


@pytest.mark.parametrize(("name", "tier_name", "limit"), LIMITS, ids=["-".join(each) for each in LIMITS])
def test_every_limit_is_reached_by_a_call_and_held_by_an_adapter(name, tier_name, limit):
    profile = load(name)
    tier = profile.tier(tier_name)
    (entry,) = (each for each in tier.limits if each.name == limit)
    method, path = reaching(profile, tier_name, entry)
    cost, path, body = priced(profile, tier_name, entry, method, path)
    roomy = [replace(each, amount=10**6, per_seat=0, at_most=None) for each in tier.limits if each is not entry]
    tight = replace(entry, amount=2 * cost, per_seat=0, at_most=None)
    small = replace(tier, limits=(*roomy, tight))

    async def main(clock: VirtualClock) -> tuple[Wire, float]:
        wire = wired(name, small, clock, seconds=30.0 if entry.longer_than else 0.5)

        async def late(number: int) -> None:
            if entry.longer_than and number >= 2:
                await asyncio.sleep(25)  # the first two are old by then
            await wire.call(method, path, body)

        await asyncio.gather(*(late(number) for number in range(5)))
        return wire, clock.seconds

    wire, seconds = run_virtually(main)
    assert wire.mock.refused == {}
    assert len(wire.sent) == 5
    if entry.longer_than:
        assert seconds >= 60
    else:
        assert wire.mock.statistics()["most"][limit] <= 2 * cost
    if entry.per and entry.kind != "fixed window":
        assert seconds >= 2 * entry.per  # two and two and one
    elif entry.kind == "bucket":
        assert seconds >= 3 * cost / (entry.rate or 1)


def test_shopify_queries_are_never_throttled_and_use_the_bucket():
    async def main(clock: VirtualClock) -> tuple[Wire, float]:
        wire = wired("shopify", load("shopify").tier(None), clock)
        body = b'{"query": "{ products(first: 10) { nodes { id } } }"}'
        path = "/admin/api/2026-07/graphql.json?mock-cost=80"
        await asyncio.gather(*(wire.call("POST", path, body) for _ in range(60)))
        return wire, clock.seconds

    wire, seconds = run_virtually(main)
    assert wire.mock.refused == {}
    assert wire.mock.statistics()["most"]["graphql"] <= 2000
    # 4,800 points from a bucket of 2,000 that is filled by 100 a second; those that queued before the first reply hold
    # the most that a query may need.
    assert 28 <= seconds <= 38


def test_a_query_that_costs_more_than_was_seen_is_settled_at_what_it_did_cost():
    async def main(clock: VirtualClock) -> list[int | Mapping[str, int]]:
        wire = wired("shopify", load("shopify").tier(None), clock)
        costs = []
        for points in (80, 400, 80, 80):
            body = b'{"query": "{ a }", "variables": {"first": %d}}' % points
            costs.append(wire.held.ask("POST", "/admin/api/2026-07/graphql.json", body).cost)
            await wire.call("POST", f"/admin/api/2026-07/graphql.json?mock-cost={points}", body)
        costs.append(wire.held.ask("POST", "/admin/api/2026-07/graphql.json", b'{"query": "{ b }"}').cost)
        return costs

    assert run_virtually(main) == [{"graphql": each} for each in (1000, 80, 400, 375, 1000)]


def test_the_callers_own_word_on_the_cost_wins():
    held = Held(load("shopify"), load("shopify").tier(None), VirtualClock())
    with call_options(cost=752) as options:
        asked = held.ask("POST", "/admin/api/2026-07/graphql.json", b"{}", options.cost)
    assert asked.cost == {"graphql": 752}
    assert held.ask("GET", "/admin/api/2026-07/products.json").cost == 1


@pytest.mark.parametrize(("tier", "minutes"), [("s", 12), ("m", 12)])
def test_two_endpoints_of_klaviyo_each_reach_their_own_limit(tier, minutes):
    steady = load("klaviyo").tier(tier).limits[1].amount

    async def main(clock: VirtualClock) -> Wire:
        wire = wired("klaviyo", load("klaviyo").tier(tier), clock)

        async def caller(path: str) -> None:
            while True:
                await wire.call("GET", path)

        callers = [
            asyncio.create_task(caller(path))
            for path in ("/api/lists/", "/api/events/")
            for _ in range(1 + steady // 60)
        ]
        await asyncio.sleep(60 * minutes)
        for each in callers:
            each.cancel()
        return wire

    wire = run_virtually(main)
    assert wire.mock.refused == {}
    for path in ("/api/lists/", "/api/events/"):
        sent = sum(each == path for _, each in wire.sent)
        assert sent >= 0.97 * steady * minutes


def test_slacks_limit_of_a_channel_delays_no_other_channel_and_no_other_method():
    async def main(clock: VirtualClock) -> tuple[Wire, dict[str, float]]:
        wire = wired("slack", load("slack").tier("tier4"), clock)
        ended: dict[str, float] = {}

        async def posting(channel: str) -> None:
            for _ in range(10):
                await wire.call("POST", f"/api/chat.postMessage?channel={channel}")
            ended[channel] = clock.seconds

        async def listing() -> None:
            await wire.call("GET", "/api/users.list")
            ended["users.list"] = clock.seconds

        await asyncio.gather(posting("C1"), posting("C2"), listing())
        return wire, ended

    wire, ended = run_virtually(main)
    assert wire.mock.refused == {}
    assert ended["users.list"] < 0.1
    assert 9 <= ended["C1"] <= 10
    assert 9 <= ended["C2"] <= 10


def test_a_refusal_of_one_method_pauses_that_method_only():
    async def main(clock: VirtualClock) -> tuple[float, float]:
        wire = wired("slack", load("slack").tier("tier4"), clock)
        attempt = await begin_async(wire.held, "POST", "/api/chat.postMessage?channel=C1")
        attempt.replied(429, {"Retry-After": "8"}, b'{"ok": false}')
        attempt.done()
        assert attempt.refused
        await wire.call("GET", "/api/users.list")
        other = clock.seconds
        await wire.call("POST", "/api/chat.postMessage?channel=C1")
        return other, clock.seconds

    other, same = run_virtually(main)
    assert other < 0.1
    assert same >= 8


def test_a_lock_of_stripe_pauses_nothing():
    async def main(clock: VirtualClock) -> float:
        wire = wired("stripe", load("stripe").tier(None), clock)
        attempt = await begin_async(wire.held, "POST", "/v1/charges")
        attempt.replied(429, {}, b'{"error": {"code": "lock_timeout"}}')
        attempt.done()
        assert not attempt.refused
        await wire.call("POST", "/v1/charges")
        return clock.seconds

    assert run_virtually(main) < 0.1


def test_beyond_so_many_places_the_rest_shares_one_limit(monkeypatch):
    monkeypatch.setattr(headway.accounts.scopes, "MOST", 5)
    held = Held(load("airtable"), load("airtable").tier(None), VirtualClock())
    found = [held.ask("GET", f"/v0/app{number}/T").names["base"] for number in range(9)]
    assert found == [f"base@v0/app{number}" for number in range(5)] + ["base@*"] * 4
    assert held.ask("GET", "/v0/app3/Other/rec1").names["base"] == "base@v0/app3"
    assert len(held.limiter.limits) == 8  # user, idle, five and one


def test_ga4_tokens_are_settled_at_what_the_reply_says():
    async def main(clock: VirtualClock) -> int:
        wire = wired("ga4", load("ga4").tier("legacy"), clock)
        path = "/v1beta/properties/5:runReport"
        for _ in range(3):
            await wire.call("POST", f"{path}?mock-cost=70", b'{"metrics": []}')
        (hour,) = (each for each in wire.held.limiter.snapshot() if each.name == "tokens-hour@properties/5")
        return hour.cooling

    assert run_virtually(main) == 210


def test_costs_of_a_body_are_counted():
    def cost(name: str, path: str, said: object, method: str = "POST") -> Any:
        profile = load(name)
        held = Held(profile, profile.tier(None), VirtualClock())
        return held.ask(method, path, json.dumps(said).encode()).cost

    assert cost("zoho", "/crm/v8/Leads/upsert", {"data": [{}] * 31}) == {"credits": 4, "concurrency": 1}
    assert cost("zoho", "/crm/v8/Leads", {}) == {"credits": 10, "concurrency": 1}
    assert cost("zoho", "/crm/bulk/v8/write", {}) == {"credits": 500, "concurrency": 1}
    assert cost("segment", "/v1/batch", {"batch": [{}] * 40}) == {"events": 40}
    assert cost("googleads", "/v26/customers/1/campaigns:mutate", {"operations": [{}, {}]}) == {"operations": 2}
    assert cost("ga4", "/v1beta/properties/1:runReport", {}) == 1
