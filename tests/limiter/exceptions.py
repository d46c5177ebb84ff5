"""Throw exceptions out of a signal handler at random instructions of acquire and settle, and look for what they leave.

python -m tests.limiter.exceptions 100000      # as scripts/exceptions does; 2,000 of them run with the tests

Timeouts by signals, a worker's soft time limit and Ctrl-C in a notebook do this. Two ways: alone, so that exceptions
hit the taking and settling of permits; and beside threads that use up the limit, so that they hit waits. Rules:
* Whoever vanishes before a permit was his leaves nothing; after it, a call that may have been sent: one place lingers.
* linger + per after the last one nothing is in flight, nobody waits, and all that the limits allow is to be had.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import threading
import time
from dataclasses import dataclass, field

from headway import Concurrency, Limiter, PermitTimeout, Quota, Window

LINGER, PER, WINDOW, QUOTA = 0.1, 0.05, 500_000, 10**9
PATIENCE = 20.0  # a permit that is not to be had in this time is not to be had
CALLS = 3_000  # more than can be made before an exception comes


class Boom(Exception):
    """What the signal handler throws."""


@dataclass
class Bombs:
    """A timer that throws one exception, or two close together, some 20 to 200 µs after it is armed."""

    rng: random.Random
    thrown: int = 0
    left: int = 0

    def __post_init__(self) -> None:
        signal.signal(signal.SIGALRM, self._go_off)

    def _go_off(self, *_: object) -> None:
        self.left -= 1
        if self.left <= 0:
            signal.setitimer(signal.ITIMER_REAL, 0)
        self.thrown += 1
        raise Boom

    def arm(self) -> None:
        self.left = self.rng.choice((1, 1, 2))
        signal.setitimer(signal.ITIMER_REAL, self.rng.uniform(2e-5, 2e-4), 6e-5)

    def wait_for_the_last(self) -> None:
        while self.left > 0:
            pass


@dataclass
class Found:
    """What came of it; each of `faults` is a sentence."""

    thrown: int = 0
    asked: int = 0
    settled: int = 0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)


def limiter_of(slots: int) -> Limiter:
    limits = Window(WINDOW, per=PER), Quota(QUOTA, resets="00:00 Europe/Berlin"), Concurrency(slots)
    return Limiter(*limits, linger=LINGER)


def in_use(limiter: Limiter) -> int:
    """Slots of the concurrency that are taken or linger."""
    status = next(each for each in limiter.snapshot() if each.name == "concurrency")
    return status.in_flight + status.cooling


def interrupted(limiter: Limiter, bombs: Bombs, found: Found) -> None:
    """Take and settle permits until the bombs have gone off; nothing of ours is in flight afterwards."""
    try:
        try:
            bombs.arm()
            for _ in range(CALLS):
                found.asked += 1
                permit = limiter.acquire(timeout=PATIENCE)
                permit.settle()
                found.settled += 1
        except Boom:
            pass
        bombs.wait_for_the_last()
    except Boom:
        pass


def alone(count: int, seed: int) -> Found:
    """The limiter is ours: after every exception the slots in use are compared with those before it."""
    limiter, found, bombs = limiter_of(10_000), Found(), Bombs(random.Random(seed))
    before = 0
    while bombs.thrown < count and not found.faults:
        thrown = bombs.thrown
        try:
            interrupted(limiter, bombs, found)
        except PermitTimeout as error:
            found.faults.append(f"after {bombs.thrown:,} exceptions: {error}")
        now, more = in_use(limiter), bombs.thrown - thrown
        if now > before + more:
            found.faults.append(f"{more} exceptions, and {now - before} places more in use ({bombs.thrown:,} thrown)")
        before = now
    return ended(limiter, bombs, found, 10_000)


def beside_others(count: int, seed: int, threads: int = 4) -> Found:
    """Threads use up the slots, so that most exceptions hit somebody who waits."""
    limiter, found, bombs = limiter_of(threads), Found(), Bombs(random.Random(seed))
    over = threading.Event()
    done = [0] * threads
    starved: list[str] = []

    def work(number: int) -> None:
        while not over.is_set():
            try:
                permit = limiter.acquire(timeout=PATIENCE)
            except Exception as error:  # noqa: BLE001  # whatever it is, nobody did anything to this thread
                starved.append(f"a thread that nobody interrupted: {error!r}")
                return
            time.sleep(0)
            permit.settle()
            done[number] += 1

    others = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for each in others:
        each.start()
    while bombs.thrown < count and not found.faults and not starved:
        try:
            interrupted(limiter, bombs, found)
        except PermitTimeout as error:
            found.faults.append(f"after {bombs.thrown:,} exceptions: {error}")
    over.set()
    for each in others:
        each.join(2 * PATIENCE)
    found.faults += starved
    found.faults += ["a thread still waits" for each in others if each.is_alive()]
    found.asked += sum(done)
    found.settled += sum(done)
    return ended(limiter, bombs, found, threads)


def ended(limiter: Limiter, bombs: Bombs, found: Found, slots: int) -> Found:
    """What is left once the last place may have come back."""
    found.thrown = bombs.thrown
    limiter.snapshot()
    time.sleep(LINGER + PER + 0.05)
    for status in limiter.snapshot():
        if status.in_flight:
            found.faults.append(f"{status.in_flight} calls in flight under {status.name!r}, and there are none")
        if status.name == "concurrency" and status.free != slots:
            found.faults.append(f"{status.free} of {slots} slots are free")
        if status.name == "quota":
            used = status.amount - status.free
            if not found.settled <= used <= found.asked:
                found.faults.append(f"{used:,} calls on the quota; {found.settled:,} to {found.asked:,} were made")
    whole = limiter.try_acquire({"window": WINDOW})
    if whole is None:
        found.faults.append("the whole window is not to be had, or somebody waits")
        return found
    whole.cancel()
    held = [limiter.try_acquire() for _ in range(slots)]
    if None in held or limiter.try_acquire() is not None:
        found.faults.append(f"{sum(each is not None for each in held)} slots of {slots} are to be had, or one more")
    for each in held:
        if each is not None:
            each.settle()
    return found


WAYS = {"alone": alone, "beside others": beside_others}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exceptions", nargs="?", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    sys.unraisablehook = str  # one that was thrown into the garbage collector goes no further, and is not worth a line
    bad = False
    for name, way in WAYS.items():
        began = time.monotonic()
        found = way(given.exceptions // len(WAYS), given.seed)
        print(
            f"{name}: {found.thrown:,} exceptions, {found.settled:,} of {found.asked:,} calls settled, "
            f"{time.monotonic() - began:.0f} s: {'; '.join(found.faults) or 'nothing left behind'}",
            flush=True,
        )
        bad = bad or bool(found.faults)
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
