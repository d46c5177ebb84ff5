"""How full a window was, judged from the instants alone: shares no code with what it judges."""

from __future__ import annotations

from collections.abc import Iterable


def most_in_any(stamps: Iterable[float], per: float) -> int:
    """The most instants in any span of `per`, its end excluded; both in the same unit, ints compared exactly."""
    ordered = sorted(stamps)
    best = start = 0
    for end, stamp in enumerate(ordered):
        while stamp - ordered[start] >= per:
            start += 1
        best = max(best, end - start + 1)
    return best
