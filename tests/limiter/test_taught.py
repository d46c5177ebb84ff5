"""What one limiter learned of an account, the next one knows before its first call; that of another account never."""

from __future__ import annotations

from pathlib import Path

from headway.limiter.limiter import Limiter
from headway.limits.limits import Quota, Window


def limiter(path: Path, owner: str) -> Limiter:
    limits = (Quota(1000, name="daily"), Window(50, per=1.0))
    keys = {each.name: f"platform|{owner}|{each.name}" for each in limits}
    return Limiter(*limits, name="hubspot", state=path / "limits.db", keys=keys)


def amount(one: Limiter) -> int:
    return next(each for each in one.snapshot() if each.name == "daily").amount


def use(one: Limiter, left: int, day: int = 3) -> None:
    with one.permit(timeout=5) as permit:
        permit.observe(200, {"X-HubSpot-RateLimit-Daily": f"{day}", "X-HubSpot-RateLimit-Daily-Remaining": str(left)})


def test_a_day_that_headers_told_is_not_overrun_by_the_first_call_of_the_next(tmp_path):
    with limiter(tmp_path, "account:1") as one:
        for left in (2, 1, 0):
            use(one, left)
    with limiter(tmp_path, "account:1") as two:
        assert two.try_acquire() is None
        assert amount(two) == 3


def test_another_account_of_the_same_name_hears_nothing_of_it(tmp_path):
    with limiter(tmp_path, "account:1") as one:
        use(one, 2)
    with limiter(tmp_path, "account:2") as two:
        two.acquire(timeout=5).settle()
        assert amount(two) == 1000


def test_what_was_learned_goes_along_to_another_key(tmp_path):
    daily = Quota(1000, name="daily")
    with limiter(tmp_path, "key-0") as one, limiter(tmp_path, "account:1") as other:
        use(one, 29, day=30)
        one.rekey([daily], {"daily": "platform|account:1|daily"})
        one.acquire(timeout=5).settle()
        other.acquire(timeout=5).settle()
        assert amount(other) == 30
