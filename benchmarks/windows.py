"""Fixed windows of 100 per 10 s that say what is left, 0-50 ms each way, 20 minutes of virtual time: how much is used.

python benchmarks/windows.py
"""

from __future__ import annotations

import sys
from pathlib import Path

from bars import at_least, ended, exactly
from headway import Concurrency, Limiter, Window
from headway.testing.virtual import VirtualClock

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.limits.fixed_windows import AMOUNT, WORDS, worked

MINUTES = 20


def main() -> int:
    for pacing, more in (("smooth", ()), ("burst", (Concurrency(5),))):
        for words in WORDS:
            worst, refused = float("inf"), 0
            for seed in range(3):
                clock = VirtualClock()
                limiter = Limiter(Window(AMOUNT, per=10), *more, pacing=pacing, clock=clock)
                platform = worked(limiter, clock, words, MINUTES, seed)
                worst = min(worst, *platform.minutes)
                refused += platform.refused
            at_least(f"{pacing}, {words} headers: share of the limit in the worst minute", worst / (6 * AMOUNT), 0.95)
            exactly("... refused", refused, 0)
    return ended()


if __name__ == "__main__":
    sys.exit(main())
