"""The public API as its users write it: type-checked, never run."""

from __future__ import annotations

import headway
from headway import Bucket, Concurrency, Limiter, Quota, TokenBucket, Window


def in_a_thread() -> None:
    limiter = Limiter(Window(100, per=10), Quota(40_000, resets="00:00 Europe/Berlin"), Concurrency(10))
    with limiter.permit():
        pass
    with limiter.permit(cost=3, priority="interactive", timeout=30) as permit:
        permit.observe(200, {"Retry-After": "3"})
    taken = limiter.acquire(timeout=5)
    taken.settle()
    maybe = limiter.try_acquire()
    if maybe is not None:
        maybe.cancel()
    seconds: float = limiter.rejected("window", retry_after=3)
    names: tuple[str, ...] = limiter.limits
    print(seconds, names, [status.free for status in limiter.snapshot()])
    limiter.close()


async def in_an_event_loop() -> None:
    shared = Limiter(Window(100, per=10), state="sqlite:///limits.db", name="portal-12", share=0.8, pacing="smooth")
    async with shared.permit(cost=3, timeout=30) as permit:
        permit.settle(cost=2)
    (await shared.acquire_async()).lose()
    Limiter(Bucket(10, 20), TokenBucket(5.0, name="other")).close()


def a_sync() -> None:
    portal = headway.account("hubspot", token="pat-…", tier="professional", share=0.8)
    run = headway.Sync("contacts.csv", portal["contacts"], key="email")
    plan: headway.Plan = run.plan()
    report: headway.Report = run.start()
    print(plan.requests, report.delivered)
    headway.Sync([{"email": "ada@example.com"}], "hubspot:contacts", key="email").start()
