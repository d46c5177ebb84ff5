"""CPU time of `headway --help` and of `import headway`, each in a fresh process: the median of eleven.

python benchmarks/startup.py
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys


def cpu(command: list[str]) -> float:
    """Milliseconds of CPU time, user and system."""
    before = os.times()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    after = os.times()
    return 1000 * (after.children_user - before.children_user + after.children_system - before.children_system)


def main() -> int:
    good = True
    bare = statistics.median(cpu([sys.executable, "-c", "pass"]) for _ in range(11))
    print(f"     a bare interpreter: {bare:.0f} ms")
    cases = ((["-m", "headway", "--help"], "headway --help", 100), (["-c", "import headway"], "import headway", 60))
    for words, name, bar in cases:
        took = statistics.median(cpu([sys.executable, *words]) for _ in range(11))
        good &= took <= bar
        print(f"{'ok  ' if took <= bar else 'MISS'} {name}: {took:.0f} ms of CPU (bar: ≤ {bar})")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
