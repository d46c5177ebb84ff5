"""What has to be true of a limiter at a step's end, by books that it has never seen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tests.limits.books import INFINITE, NEVER, SECOND, Spec
from tests.limits.processes import Process, Queued
from tests.limits.worlds import World

__all__ = ["check_held", "check_waiters", "fits_beside", "next_free"]


def check_held(world: World, process: Process) -> None:
    """What the limiter says is in use is what is held: by calls in flight, cooling and lingering."""
    now, shared = process.clock.monotonic_ns(), world.setup.shared
    process.books.prune(now, world.linger + world.longest + 60 * SECOND + 3700 * SECOND * ("quota" in world.specs))
    for status in process.driver.limiter.snapshot():
        spec = world.specs[status.name]
        low, high = process.books.held(spec, now, world.now, world.epoch)
        if shared:  # what cools may have gone back to the state; of a quota only the state knows
            low = process.books.flying(spec.name) if spec.bound is None and spec.kind != "quota" else 0
            high = (
                INFINITE if spec.kind in {"quota", "bucket"} else high
            )  # a part of a bucket leaks at a part of its rate
        if spec.kind == "quota":
            low, high = min(low, status.amount), INFINITE if spec.name in process.hazy else high
        used = status.in_flight + status.cooling
        if used < low:
            world.complain("forgotten", f"{spec.name!r}: {low} held, the limiter says {used} ({status})")
        if used > high:
            world.complain("nobody", f"{spec.name!r}: {high} held, the limiter says {used} ({status})")
    if process.driver.waiting != len(process.queue):
        world.complain("nobody", f"{len(process.queue)} wait, the limiter says {process.driver.waiting}")


def check_waiters(world: World, process: Process) -> None:
    """Nobody waits who fits, whatever else waits. Of shared state only the end tells."""
    if world.setup.shared or process.unswept or not process.queue:
        return
    lanes: dict[tuple[frozenset[str], int], Queued] = {}
    for queued in process.queue:
        lanes.setdefault((queued.names, queued.rank), queued)
    heads = list(lanes.values())
    crowded = len({names for names, _ in lanes}) > 1
    one_class = len({rank for _, rank in lanes}) == 1
    for i, head in enumerate(heads):
        ahead = [] if i == 0 and one_class else [other for other in heads if other is not head]
        if fits_beside(world, process, head.costs, ahead, paced=crowded):
            world.complain("late", f"{head.costs} waits although it fits ({world.now / SECOND:.6f} s)")


def fits_beside(
    world: World, process: Process, costs: Mapping[str, int], ahead: Iterable[Queued], *, paced: bool = False
) -> bool:
    """Whether a call certainly fits now, beside all that is held and all that `ahead` would take."""
    now = process.clock.monotonic_ns()
    for name, cost in costs.items():
        spec = world.specs[name]
        if name in process.hazy or now < process.paused.get(name, 0):
            return False
        if (paced or name in process.smooth) and now < process.due.get(name, 0):
            return False
        before = sum(min(other.costs.get(name, 0), process.caps[name]) for other in ahead)
        if not _room(world, process, spec, cost, before, now):
            return False
    return True


def _room(world: World, process: Process, spec: Spec, cost: int, before: int, now: int) -> bool:
    cap = process.caps[spec.name]
    if spec.kind == "bucket":
        _, level, flying = process.books.level(spec, now)
        held: float = level + flying
    else:
        held = process.books.held(spec, now, world.now, world.epoch)[1]
    if spec.name in process.draining:
        if held:
            return False
        process.draining.discard(spec.name)
    if spec.longer_than is not None:
        held = process.books.old(spec, now)
    if cost > cap:
        return held == 0 and before == 0
    return held + before + cost <= cap


def next_free(world: World, process: Process) -> int | None:
    """The next instant of the process's clock at which a place is free again, a pause ends or pacing allows."""
    now = process.clock.monotonic_ns()
    found = NEVER
    for entry in process.books.entries:
        for name in entry.costs:
            at = process.books.free_at(world.specs[name], entry)[1]
            if now < at < found and world.specs[name].kind in {"window", "concurrency"}:
                found = at
    for at in [*process.paused.values(), *process.due.values()]:
        if now < at < found:
            found = at
    return None if found == NEVER else found
