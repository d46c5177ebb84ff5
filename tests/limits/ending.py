"""How a world ends: nobody asks for more, every reply comes, all who wait are granted, and then nothing is left."""

from __future__ import annotations

from tests.limits.books import NEVER, SECOND
from tests.limits.expected import check_held, check_waiters
from tests.limits.worlds import World

__all__ = ["finish"]


def finish(world: World) -> None:
    """Nobody asks for more, every reply comes: all who wait are granted, and then nothing is left."""
    world.out_until, world.restoring = 0, False
    for process in world.processes:
        process.fate, process.silent_until, process.stopped_until = "", 0, 0
        process.wall_right_at = min(process.wall_right_at, world.now)
    _leave_what_waits_for_a_day(world)
    _serve(world)
    _rest(world)
    for process in world.processes:
        check_held(world, process)
        for status in process.driver.limiter.snapshot():
            spec = world.specs[status.name]
            if status.in_flight or (status.cooling and spec.kind not in {"quota", "slots"}):
                world.complain("nobody", f"long after the last call {status}")
    trouble = world.keeper.trouble()
    if trouble:
        world.complain("state", trouble)
    left = world.keeper.lingering(world.now)
    if left:
        world.complain("nobody", f"long after the last call the state holds {left}")


def _leave_what_waits_for_a_day(world: World) -> None:
    """Those who wait for a quota that is used up wait for its reset; that is for other tests."""
    for process in world.processes:
        for queued in list(process.queue):
            if any(world.specs[name].kind in {"quota", "slots"} for name in queued.names):
                process.queue.remove(queued)
                process.stale = True
                process.driver.abandon(queued.waiting)


def _serve(world: World) -> None:
    waiting = sum(sum(queued.costs.values()) for process in world.processes for queued in process.queue)
    slowest = max([spec.per_ns for spec in world.setup.specs if spec.kind == "window"] + [SECOND])
    leaks = [spec.spacing(spec.cap) for spec in world.setup.specs if spec.kind == "bucket"]
    patience = 120 * SECOND + 3 * (world.linger + world.ttl + world.longest)
    patience += _longest_lost(world)
    end = world.now + patience + waiting * 2 * (slowest + max(leaks, default=0))
    while any(process.queue or process.live for process in world.processes):
        for process in list(world.processes):
            for live in list(process.live):
                process.stale = True
                world.over(process, live, world.now, lost=False)
                live.permit.settle()
            world.collect(process)
        at = world.next_event()[0]
        if at >= end and not any(process.live for process in world.processes):
            if not any(process.queue for process in world.processes):
                return
            stuck = [(process.number, queued.costs) for process in world.processes for queued in process.queue]
            when = "nothing will ever wake them" if at == NEVER else f"after {patience / SECOND:.0f} s and more"
            world.complain("forever", f"wait for ever: {stuck[:4]} ({when})")
            return
        if at < end:
            world.advance(at)
        for process in world.processes:
            check_waiters(world, process)


def _longest_lost(world: World) -> int:
    """For how long a slot may be held after a refusal: who left gave it back to the state, where it cools as long."""
    return max([world.longest_lost, *(process.books.longest_lost() for process in world.processes)])


def _rest(world: World) -> None:
    # A process that holds one place of a bucket waits this long for a call to leak out of it.
    leak = max(
        (round(SECOND * spec.amount / spec.rate) for spec in world.setup.specs if spec.kind == "bucket"), default=0
    )
    world.advance(world.now + _longest_lost(world) + leak + 2 * (world.linger + world.ttl + world.longest) + 4 * SECOND)
    for process in world.processes:
        process.driver.poll()
