"""An exact judge of limits: from what a platform can see, could it ever have counted more than it allows?

Shares no code with what it judges. All instants are integer nanoseconds of the platform's own clock ("true time").

A platform counts a call at one instant c that nobody else sees. All that is certain is c in [sent, until]: not before
the first byte went out, not after the reply was there (a call without a reply: not after its linger ended; a call in
flight: no end yet). Different calls are counted independently of each other, so an adversary may choose every c.

**Window.** A closed span [t, t + per] can be made to hold just those calls whose [sent, until] meets it, all at once
(each chooses its own c). So more than `amount` can be counted in some span if and only if for some t

    sum of cost_i over { i : sent_i <= t + per  and  until_i >= t }  >  amount

The sum, as a function of t, grows only where t + per reaches a `sent`. Its maxima are therefore reached at
t = sent_j - per, and it is enough to ask at the sending of every call j, for all calls sent so far (j among them):

    sum of cost_i over { i : until_i >= sent_j - per }  <=  amount                              (until_i of the living: never)

This is exact both ways: if it holds at every sending, no assignment overruns; if it fails at j, the assignment
c_i = max(sent_i, sent_j - per) overruns at once. Calls that are sent later only add sums at later j.

**Bucket.** A bucket that leaks `rate` holds at T the most over s <= T of (cost counted in [s, T]) - rate * (T - s). For
given s every call with until >= s can be counted in [s, T]; growing s pays until the next `until` is passed. So the
worst is that every call enters at its `until`, or at T if that is later: a virtual bucket. At each sending j:
level(T = sent_j) + cost of all calls not over yet <= capacity.

**Calendar quota.** The platform turns its page somewhere in [reset - skew, reset + skew]. A call can be counted in a
period if [sent, until] meets the period widened by `skew` at both ends; these may all be.

**Concurrency.** A call may occupy a slot from its sending to `until`; at each sending all that are not over are counted.
With `longer_than` only those are that were sent at least so long ago.

A call whose cost is above the limit (learned or shared smaller since) may go alone, when nothing else is counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["SECOND", "BucketJudge", "Call", "ConcurrencyJudge", "Judge", "QuotaJudge", "WindowJudge"]

SECOND = 1_000_000_000
NEVER = 1 << 62


@dataclass(slots=True, eq=False)
class Call:
    """One call as the platform may see it: sent and, once it is over, the last instant at which it may be counted.

    `bounds`: by limit, a last instant that is known earlier (the platform counts within so long of the last byte).
    `late`: by limit, nanoseconds by which the platform counts after it answered. `owner` is the process that sent it.
    """

    owner: int
    sent: int
    costs: dict[str, int]
    until: int = NEVER
    bounds: dict[str, int] = field(default_factory=dict)
    late: dict[str, int] = field(default_factory=dict)

    def until_by(self, limit: str) -> int:
        """The last instant at which `limit` may count the call."""
        until = self.until
        if self.late and until != NEVER:
            until += self.late.get(limit, 0)
        return min(until, self.bounds.get(limit, NEVER)) if self.bounds else until


class Judge:
    """Judges one limit. `sent` is told of each call as it goes out, and says how many the platform may count then."""

    __slots__ = ("calls", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.calls: list[Call] = []

    def sent(self, call: Call, mine: int, everybody: int) -> str:
        """'' or what is wrong: of all together above `everybody`, or of the caller's own above `mine`."""
        self.calls.append(call)
        total, own = self.worst(call.sent, call.owner)
        cost = call.costs[self.name]
        if total > everybody + 1e-6 and not (cost > everybody and total == cost):
            return f"over-issue: {self.name!r} may count {total:g} of {everybody}"
        if own > mine + 1e-6 and not (cost > mine and own == cost):
            return f"over-issue: {self.name!r} may count {own:g} of one process, which knows that {mine} are allowed"
        return ""

    def withdrawn(self, call: Call) -> None:
        """Certainly never sent."""
        self.calls.remove(call)

    def over(self, call: Call) -> None:
        """`until` and the true cost are known."""

    def worst(self, now: int, owner: int) -> tuple[float, float]:
        """The most that may be counted, by all and by one process, with the call sent at `now`."""
        raise NotImplementedError

    def _sum(self, owner: int, counts: Callable[[Call], bool]) -> tuple[int, int]:
        total = own = 0
        for call in self.calls:
            if counts(call):
                cost = call.costs[self.name]
                total += cost
                if call.owner == owner:
                    own += cost
        return total, own


class WindowJudge(Judge):
    """At most so many in any closed span of `per` ns."""

    __slots__ = ("per",)

    def __init__(self, name: str, per: int) -> None:
        super().__init__(name)
        self.per = per

    def worst(self, now: int, owner: int) -> tuple[float, float]:
        start, name = now - self.per, self.name
        self.calls = [call for call in self.calls if call.until_by(name) >= start]
        return self._sum(owner, lambda _: True)


class ConcurrencyJudge(Judge):
    """At most so many not over; with `longer_than` ns, of those that old."""

    __slots__ = ("longer_than",)

    def __init__(self, name: str, longer_than: int | None) -> None:
        super().__init__(name)
        self.longer_than = longer_than

    def worst(self, now: int, owner: int) -> tuple[float, float]:
        self.calls = [call for call in self.calls if call.until > now]
        if self.longer_than is None:
            return self._sum(owner, lambda _: True)
        newest = self.calls[-1]
        limit = now - self.longer_than
        return self._sum(owner, lambda call: call is newest or call.sent <= limit)


class QuotaJudge(Judge):
    """At most so many between two resets, which come every `every` ns of the wall clock, give or take `skew`."""

    __slots__ = ("epoch", "every", "skew")

    def __init__(self, name: str, every: int, skew: int, epoch: int) -> None:
        super().__init__(name)
        self.every = every
        self.skew = skew
        self.epoch = epoch

    def worst(self, now: int, owner: int) -> tuple[float, float]:
        wall = now + self.epoch
        first = (wall - self.skew - 1) // self.every  # both ends belong to a period
        last = (wall + self.skew) // self.every
        sums = [self._period(period * self.every - self.epoch, owner) for period in range(first, last + 1)]
        oldest = first * self.every - self.epoch - self.skew
        self.calls = [call for call in self.calls if call.until >= oldest]
        return max(total for total, _ in sums), max(own for _, own in sums)

    def _period(self, start: int, owner: int) -> tuple[int, int]:
        earliest, latest = start - self.skew, start + self.every + self.skew
        return self._sum(owner, lambda call: call.until >= earliest and call.sent <= latest)


class BucketJudge(Judge):
    """A bucket of some capacity that leaks `rate` a second: each call falls in as late as it may."""

    __slots__ = ("_levels", "rate")

    def __init__(self, name: str, rate: float) -> None:
        super().__init__(name)
        self.rate = rate
        self._levels: dict[int, tuple[float, int]] = {}  # by owner, -1 for all: level, and when it was so

    def worst(self, now: int, owner: int) -> tuple[float, float]:
        fallen = sorted((call for call in self.calls if call.until <= now), key=lambda call: call.until)
        for call in fallen:
            self._fall(-1, call.until, call.costs[self.name])
            self._fall(call.owner, call.until, call.costs[self.name])
        self.calls = [call for call in self.calls if call.until > now]
        total, own = self._sum(owner, lambda _: True)
        return total + self._level(-1, now), own + self._level(owner, now)

    def _level(self, who: int, now: int) -> float:
        level, then = self._levels.get(who, (0.0, 0))
        return max(0.0, level - (now - then) * self.rate / SECOND)

    def _fall(self, who: int, at: int, cost: int) -> None:
        self._levels[who] = (self._level(who, at) + cost, at)
