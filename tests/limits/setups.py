"""What a world is made of, and what happens in it: drawn from a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from tests.limits.books import SECOND, Spec

__all__ = ["HOUR", "Setup", "Step", "draw_setup", "draw_steps", "usable"]

HOUR = 3600 * SECOND
Step = tuple[str, int, int, int]
"""What happens, and three numbers that choose among what is there when it does: any subset of steps makes sense."""


@dataclass(frozen=True, slots=True)
class Setup:
    """A world before its first step. `before_reset`: seconds from the start to a quota's reset."""

    specs: tuple[Spec, ...]
    shared: bool
    processes: int
    linger: float
    ttl: float
    share: float = 1.0
    reserve: int = 0
    pacing: str | None = None
    fresh: bool = False
    before_reset: float = 60.0
    dead_are_known: bool = False
    ppm: tuple[int, ...] = (0, 0, 0)
    answer_delay: float = 0.0
    delays: tuple[float, ...] = field(default=(0.02,))


def usable(kind: str, amount: int, share: float, reserve: int) -> int:
    """How much of a limit may be used: its share, less the reserve, at least 1."""
    return max(1, min(int(amount * share + 1e-9), amount) - (reserve if kind in {"quota", "slots"} else 0))


def _spec(rng: random.Random, kind: str, share: float, reserve: int, *, bounded: bool) -> Spec:
    amount = rng.choice([1, 2, 2, 3, 4, 5, 8])
    if kind == "quota":
        amount = rng.choice([5, 10, 20, 40])
        found = {"per": 3600.0, "skew": rng.choice([1.0, 5.0])}
    elif kind == "slots":
        amount = rng.choice([5, 10, 20])
        found = {"per": rng.choice([30.0, 60.0])}
    elif kind == "bucket":
        found = {"rate": rng.choice([0.5, 2.0, 10.0])}
    elif kind == "concurrency":
        found = {"longer_than": 5.0, "margin": 1.0} if rng.random() < 0.2 else {}
    else:
        found = {"per": rng.choice([0.5, 1.0, 2.0, 10.0]), "lag": rng.choice([0.0] * 6 + [0.2])}
        if bounded:
            found["bound"] = 0.3
    return Spec(kind, kind, amount, usable(kind, amount, share, reserve), **found)  # type: ignore[arg-type]


def draw_setup(seed: int) -> Setup:
    """A world."""
    rng = random.Random(f"setup {seed}")
    shared = rng.random() < 0.5
    share = rng.choice([1.0] * 6 + [0.8, 0.5])
    reserve = rng.choice([0] * 5 + [2])
    kinds = rng.sample(
        ["window", "window", "bucket", "quota", "concurrency", "concurrency", "slots"], rng.randint(1, 3)
    )
    specs = [_spec(rng, kind, share, reserve, bounded=rng.random() < 0.2) for kind in dict.fromkeys(kinds)]
    if specs[0].kind == "window" and rng.random() < 0.3:
        specs.append(Spec("window", "long", 12, usable("window", 12, share, reserve), per=10.0))
    return Setup(
        tuple(specs), shared, rng.choice([1, 2, 2, 3]) if shared else 1,
        linger=rng.choice([2.0, 5.0, 30.0]), ttl=rng.choice([3.0, 6.0]), share=share, reserve=reserve,
        pacing=rng.choice([None, None, "burst", "smooth"]), fresh=rng.random() < 0.5,
        before_reset=rng.choice([5.0, 20.0, 60.0]), dead_are_known=rng.random() < 0.5,
        ppm=tuple(rng.choice([0, 500, -500]) for _ in range(3)),
        answer_delay=rng.choice([0.0, 0.0, 0.05, 0.5]), delays=tuple(rng.choice([0.0, 0.02, 0.3]) for _ in range(5)),
    )  # fmt: skip


_USE = {
    "queue": 30, "try": 12, "reply": 34, "reply_cost": 4, "lose": 4, "cancel": 3, "drop": 2, "stamp": 6, "abandon": 3,
    "tick": 14, "advance": 10, "until_free": 14, "far": 2, "refused": 3, "learn": 1, "observe": 6, "junk": 1,
    "rate": 1, "wall": 1, "jump": 1,
}  # fmt: skip
_SHARED = {
    "lapse": 1, "stop": 1, "die": 1, "start": 1, "lost_answer": 2, "lost_ask": 1, "twice": 1, "outage": 1,
    "lose_state": 1, "back_up": 1, "restore": 1, "close": 1,
}  # fmt: skip


def draw_steps(seed: int, setup: Setup, count: int) -> list[Step]:
    """What happens."""
    rng = random.Random(f"steps {seed}")
    weights = {**_USE, **(_SHARED if setup.shared else {})}
    # Every world has a character of its own: some things happen often in it, others never.
    always = {"queue", "reply", "until_free", "tick"}
    weights = {kind: weight * (1 if kind in always else rng.choice([0, 1, 1, 3])) for kind, weight in weights.items()}
    kinds = rng.choices(list(weights), list(weights.values()), k=count)
    return [(kind, rng.getrandbits(16), rng.getrandbits(16), rng.getrandbits(16)) for kind in kinds]
