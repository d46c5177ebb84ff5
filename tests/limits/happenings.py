"""What can happen in a world, one function each."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from typing import Any

from headway.errors import HeadwayError
from tests.limits.books import NEVER, SECOND
from tests.limits.driver import word
from tests.limits.expected import check_held, check_waiters, fits_beside, next_free
from tests.limits.processes import Live, Process, Queued, Refusal
from tests.limits.setups import HOUR, Step
from tests.limits.worlds import RANKS, World

__all__ = ["happen"]

_JUNK = (-8, 0.5, {"nope": 3}, True, "1", float("nan"))


def happen(world: World, step: Step) -> None:
    """One step, and what has to hold after it."""
    kind, a, b, c = step
    if not world.processes:
        world.start()
    process = world.processes[a % len(world.processes)]
    if world.trace is not None:
        world.trace.append(f"{world.now / SECOND:10.6f} {kind} of process {process.number}")
    if process.stopped_until > world.now and kind not in _ANYWAY:
        return
    process.stale = True
    _HAPPENINGS[kind](world, process, b, c)
    process.stale = True
    for each in world.processes:
        world.collect(each)
        check_waiters(world, each)
    if process in world.processes and process.stopped_until <= world.now:
        check_held(world, process)


def _request(
    world: World, b: int, c: int
) -> tuple[int | Mapping[str, int], str, frozenset[str] | None, dict[str, int]]:
    """Arguments of a permit, and what it costs of which limits."""
    names = list(world.specs)
    some = None
    if b % 3 == 0 and len(names) > 1:
        some = frozenset(name for i, name in enumerate(names) if (b >> 4 + i) & 1) or None
    chosen = [name for name in names if some is None or name in some]
    most = min(world.specs[name].amount for name in chosen)
    cost: int | dict[str, int] = 1
    if c % 5 == 0:
        cost = 1 + (c >> 4) % min(4, most)
    elif c % 17 == 1:
        cost = {chosen[0]: 1 + (c >> 4) % min(5, world.specs[chosen[0]].amount)}
    priority = ("bulk", "bulk", "bulk", "bulk", "interactive", "replay")[(c >> 8) % 6]
    costs = {name: cost.get(name, 1) if isinstance(cost, dict) else cost for name in chosen}
    return cost, priority, some, costs


def _queue(world: World, process: Process, b: int, c: int) -> None:
    if len(process.queue) >= 12:
        return
    cost, priority, some, costs = _request(world, b, c)
    waiting = process.driver.queue(cost, priority, some)
    process.queue.append(Queued(waiting, costs, RANKS[priority], frozenset(costs)))


def _try(world: World, process: Process, b: int, c: int) -> None:
    cost, priority, some, costs = _request(world, b, c)
    permit = process.driver.try_take(cost, priority, some)
    if permit is not None:
        world.granted(process, permit, costs)
    elif not world.setup.shared and fits_beside(world, process, costs, process.queue, paced=bool(process.queue)):
        world.complain("refused", f"try_acquire of {costs} although it fits beside all that wait")


def _pick(process: Process, b: int) -> Live | None:
    return process.live[b % len(process.live)] if process.live else None


def _reply(world: World, process: Process, b: int, _: int) -> None:
    live = _pick(process, b)
    if live is not None:
        world.over(process, live, world.now, lost=False)
        live.permit.settle()


def _reply_cost(world: World, process: Process, b: int, c: int) -> None:
    live = _pick(process, b)
    if live is None:
        return
    actual = 1 + c % 6
    if world.setup.shared:  # what one process overdraws the others cannot know
        actual = 1 + c % min(live.call.costs.values())
    for name in live.call.costs:
        if world.specs[name].kind != "concurrency":  # a call in flight is one call, whatever it costs
            live.call.costs[name] = actual
    world.over(process, live, world.now, lost=False)
    live.permit.settle(cost=actual)


def _junk(world: World, process: Process, b: int, c: int) -> None:
    live = _pick(process, b)
    if live is None or "junk" in world.ignore:
        return
    cost = _JUNK[c % len(_JUNK)]
    try:
        live.permit.settle(cost=cost)
    except HeadwayError:
        if live.permit.over:
            world.complain("junk", f"settle(cost={cost!r}) was refused, but the permit is over")
    except Exception as error:  # noqa: BLE001  # whatever it is, it is not ours
        world.complain("junk", f"settle(cost={cost!r}) ends in {error!r}")
    else:
        world.complain("junk", f"settle(cost={cost!r}) was taken")
    if live.permit.over:
        world.over(process, live, world.now, lost=False)


def _lose(world: World, process: Process, b: int, _: int) -> None:
    live = _pick(process, b)
    if live is not None:
        world.over(process, live, world.lost_until(), lost=True)
        live.permit.lose()


def _drop(world: World, process: Process, b: int, c: int) -> None:
    live = _pick(process, b)
    if live is not None:
        world.over(process, live, world.lost_until(), lost=True)
        live.permit = None
        process.unswept = True  # until somebody looks: once a second while anybody waits
        if c % 64 == 0:
            gc.collect(0)


def _cancel(world: World, process: Process, b: int, _: int) -> None:
    live = _pick(process, b)
    if live is None or live.entry.stamped is not None:  # what was written was sent
        return
    process.live.remove(live)
    process.books.cancelled(live.entry)
    for name in live.call.costs:
        world.judges[name].withdrawn(live.call)
        world.sent[name].remove(live)
    live.permit.cancel()


def _stamp(world: World, process: Process, b: int, _: int) -> None:
    live = _pick(process, b)
    if live is None or live.entry.stamped is not None:
        return
    for name in live.call.costs:
        spec = world.specs[name]
        if spec.bound is not None and name not in process.books.withdrawn:
            live.call.bounds[name] = world.now + round(spec.bound * SECOND)
            live.entry.stamped = process.clock.monotonic_ns()
            live.counted = min(live.counted, world.now + round(spec.bound * SECOND))
    live.permit.sent()


def _observe(world: World, process: Process, b: int, c: int) -> None:
    """A reply with headers that say what is left of one limit."""
    live = _pick(process, b)
    if live is None:
        return
    names = [name for name in live.call.costs if world.specs[name].kind in {"window", "slots", "quota"}]
    if names:
        name = names[c % len(names)]
        count, said = _words(world, live, name)
        if count <= world.amounts[name]:
            world.learned(process, name)
            world.heard(name, live.call.sent)
            live.permit.learn([said])
            if world.specs[name].kind == "slots" or name in process.smooth or world.setup.shared:
                process.hazy.add(name)
    world.over(process, live, world.now, lost=False)
    live.permit.settle()


def _learn(world: World, process: Process, b: int, c: int) -> None:
    """The platform lowers a limit, and says so with a reply."""
    live = _pick(process, b)
    if live is None:
        return
    names = [name for name in live.call.costs if world.specs[name].kind in {"window", "quota"}]
    if names:
        name = names[c % len(names)]
        before = world.amounts[name]
        world.amounts[name] = max(1, before - 1 - (c >> 4) % 3)
        if _words(world, live, name)[0] > world.amounts[name]:
            world.amounts[name] = before
    _observe(world, process, b, c)


def _refused(world: World, process: Process, b: int, c: int) -> None:
    """A reply says 429."""
    live = _pick(process, b)
    if live is None:
        return
    names = list(live.call.costs)
    name = "" if c % 3 == 0 else names[c % len(names)]
    after = (0.5, 2.0, 7.0, 20.0)[(c >> 4) % 4]
    told = c % 5 or (not name or world.specs[name].kind in {"quota", "slots"})
    mine = process.clock.monotonic_ns()
    seconds = live.permit.rejected(name, after if told else None)
    touched = [name] if name else names if len(names) == 1 else list(world.specs)
    for each in touched:
        process.paused[each] = max(process.paused.get(each, 0), mine + round(seconds * SECOND) + 2)
        if each not in names:
            continue  # the account is paused, but a call that did not count against a limit disproves nothing of it
        process.smooth.add(each)
        process.books.withdrawn[each] = mine
        if world.specs[each].kind in {"quota", "slots"} and name:
            process.hazy.add(each)  # it counts as used up, for as long as the limiter thinks fit
        if world.specs[each].kind == "concurrency" and name:
            process.draining.add(each)
            process.books.refused(each, mine)
    if told:
        until = world.now + round(after * SECOND * 0.999) - 1_000_000
        refusal = Refusal(frozenset([name] if name else names), until)
        if live.entry.granted > process.refused_at:  # the first of its flight: others are told
            process.refusals.append(refusal)
        process.refused_at = mine
    world.over(process, live, world.now, lost=False)
    live.permit.settle()


def _abandon(world: World, process: Process, b: int, _: int) -> None:
    if process.queue:
        gone = process.queue.pop(b % len(process.queue))
        process.driver.abandon(gone.waiting)


def _tick(world: World, process: Process, b: int, _: int) -> None:
    world.advance(world.now + b % 50_000_000)


def _advance(world: World, process: Process, b: int, c: int) -> None:
    world.advance(world.now + (b % 1500) * 1_000_000 + c)


def _far(world: World, process: Process, b: int, _: int) -> None:
    world.advance(world.now + (1 + b % 12) * SECOND)


def _until_free(world: World, process: Process, b: int, _: int) -> None:
    """To the very instant at which the next place is free, or one nanosecond before it."""
    at = next_free(world, process)
    if at is not None:
        world.advance(max(world.now, process.clock.true(at) - (b % 4 == 0)))


def _rate(world: World, process: Process, b: int, _: int) -> None:
    process.clock.run_at((-500, 0, 500)[b % 3])


def _wall(world: World, process: Process, b: int, _: int) -> None:
    """A clock that is a little wrong: what a quota's skew covers."""
    creep = min([world.creep(spec) for spec in world.setup.specs if spec.kind == "quota"] or [0])
    if process.wall_right_at == NEVER and creep:
        process.clock.error = b % (2 * creep) - creep
        process.driver.poll()  # it is looked at once a second while anybody waits


def _jump(world: World, process: Process, b: int, c: int) -> None:
    """The wall clock is wrong by much for less than a minute."""
    if process.wall_right_at == NEVER:
        process.clock.error = (1 if c % 2 else -1) * (10 + b * b % 10_000_000) * SECOND
        process.wall_right_at = world.now + (1 + c % 40) * SECOND


def _lapse(world: World, process: Process, b: int, _: int) -> None:
    process.silent_until = world.now + world.ttl + b % (world.linger // 2)


def _stop(world: World, process: Process, b: int, _: int) -> None:
    process.stopped_until = world.now + world.ttl // 2 + b * 100_000 % world.linger
    if b % 4 == 0:
        world.advance(process.stopped_until)


def _die(world: World, process: Process, _: int, __: int) -> None:
    for live in list(process.live):
        world.over(process, live, world.lost_until(), lost=True)
    _gone(world, process)
    if world.setup.dead_are_known:
        world.dead.add(process.driver.name)


def _close(world: World, process: Process, _: int, __: int) -> None:
    """It leaves properly; what is in flight will never be heard of."""
    process.driver.leave()
    if world.now >= world.out_until and process.exchange is None:
        world.keeper.exchange(process.driver.ask()[1], world.now, world.wall, world.dead)
        world.newest = world.last = None  # of those who stay nobody knows that the state is newer now
        world.tell()
    for live in list(process.live):
        world.over(process, live, world.lost_until(), lost=True)
    _gone(world, process)
    world.dead.add(process.driver.name)


def _gone(world: World, process: Process) -> None:
    world.processes.remove(process)
    if world.lost_at < NEVER and process.number not in world.reported:
        world.write_off(process.number.__eq__)
    world.last = None if world.last is process else world.last
    world.longest_lost = max(world.longest_lost, process.books.longest_lost())
    world.forget(state=False)
    if not world.processes:
        world.start()


def _start(world: World, _: Process, __: int, ___: int) -> None:
    if len(world.processes) < 3 and world.started < 7:
        world.start()


def _fate(fate: str) -> Callable[[World, Process, int, int], None]:
    def happens(_: World, process: Process, __: int, ___: int) -> None:
        process.fate = fate

    return happens


def _outage(world: World, _: Process, b: int, __: int) -> None:
    world.out_until = world.now + b * 200_000


def _lose_state(world: World, _: Process, __: int, ___: int) -> None:
    world.keeper.lose(world.now)
    world.lost = True
    world.known, world.backup, world.restoring = (), None, False
    world.forget(state=True)


def _back_up(world: World, _: Process, __: int, ___: int) -> None:
    if not world.restoring:
        world.backup = world.keeper.copy()


def _restore(world: World, _: Process, __: int, ___: int) -> None:
    """An old copy, found by the process that knows best how new the state was."""
    world.restoring = world.backup is not None and world.last is not None


_HAPPENINGS: dict[str, Callable[[World, Process, int, int], None]] = {
    "queue": _queue, "try": _try, "reply": _reply, "reply_cost": _reply_cost, "lose": _lose, "cancel": _cancel,
    "drop": _drop, "stamp": _stamp, "abandon": _abandon, "tick": _tick, "advance": _advance,
    "until_free": _until_free, "far": _far, "refused": _refused, "learn": _learn, "observe": _observe, "junk": _junk,
    "rate": _rate, "wall": _wall, "jump": _jump, "lapse": _lapse, "stop": _stop, "die": _die, "start": _start,
    "lost_answer": _fate("lost_answer"), "lost_ask": _fate("lost_ask"), "twice": _fate("twice"), "outage": _outage,
    "lose_state": _lose_state, "back_up": _back_up, "restore": _restore, "close": _close,
}  # fmt: skip
_ANYWAY = {"tick", "advance", "far", "start", "outage", "lose_state", "back_up", "restore", "die"}


def _words(world: World, live: Live, name: str) -> tuple[int, Any]:
    """How many calls the platform has counted with this one, and its word on what is left."""
    spec, at = world.specs[name], min(live.counted, world.now)
    live.counted = at
    start = at - spec.per_ns
    if spec.kind == "quota":
        start = (world.epoch + at) // HOUR * HOUR - world.epoch - 1
    seen = [each for each in world.sent[name] if start < each.counted <= at]
    count = sum(each.call.costs[name] for each in seen)
    amount = world.amounts[name]
    return count, word(spec, amount, max(0, amount - count))
