"""CPU time of `headway --help` and of `import headway`, each in a fresh process (the median of eleven); of a long plan.

python benchmarks/startup.py
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

from bars import at_most, ended
from floor import slowness
from headway import Quota, Window
from headway.runs.prediction import predict


def cpu(command: list[str]) -> float:
    """Milliseconds of CPU time, user and system."""
    before = os.times()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    after = os.times()
    return 1000 * (after.children_user - before.children_user + after.children_system - before.children_system)


def a_long_plan() -> float:
    """Seconds of CPU for the plan of a whole day of 40,000 calls."""
    began = time.process_time()
    predict(
        40_000, [Window(100, per=10), Quota(40_000, resets="00:00 US/Eastern")], latency=0.05, room=16, wall=1_790_000_000.0
    )  # fmt: skip
    return time.process_time() - began


def main() -> int:
    slow = slowness(time.process_time)
    bare = statistics.median(cpu([sys.executable, "-c", "pass"]) for _ in range(11))
    print(f"a bare interpreter: {bare:.0f} ms")
    cases = ((["-m", "headway", "--help"], "headway --help", 100), (["-c", "import headway"], "import headway", 60))
    for words, name, bar in cases:
        at_most(f"{name}, CPU", statistics.median(cpu([sys.executable, *words]) for _ in range(11)), bar * slow, " ms")
    at_most("plan of 40,000 calls, CPU", a_long_plan(), 2 * slow, " s")
    return ended()


if __name__ == "__main__":
    sys.exit(main())
