"""Runs tests on the sources of another commit and on these: each must fail there by an assertion, and pass here.

python -m tests.against e222d7f tests/faults [PYTEST ARGUMENTS …]      # as scripts/faults does

A test that breaks there for another reason (an import, a name that did not exist yet) shows nothing about the fault
that it was written for. One with parameters shows its fault if one of its cases does and the others pass there. Ends
with 0 only if every test shows its fault.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[2]


def sources_of(commit: str, folder: Path) -> Path:
    """The commit's src, unpacked; raises SystemExit where this checkout does not have it."""
    packed = folder / "src.tar"
    with packed.open("wb") as file:
        done = subprocess.run(["git", "archive", commit, "src"], cwd=ROOT, stdout=file, check=False)
    if done.returncode:
        sys.exit(f"Commit {commit} is not in this checkout: git fetch --unshallow")
    with tarfile.open(packed) as tar:
        tar.extractall(folder, filter="data")
    return folder / "src"


def endings(src: Path, arguments: list[str]) -> dict[str, tuple[str, str]]:
    """How each test ended on these sources, with a line of what it said."""
    with tempfile.TemporaryDirectory() as folder:
        notes = Path(folder) / "notes"
        environment = os.environ | {
            "PYTHONPATH": f"{src}{os.pathsep}{ROOT}", "HEADWAY_AGAINST": str(notes), "HEADWAY_AGAINST_SRC": str(src),
        }  # fmt: skip
        command = [sys.executable, "-m", "pytest", "-p", "tests.against.recording", "-p", "no:cacheprovider"]
        command += ["--quiet", "--no-header", "--tb=short", "-r", "N", "--timeout", "60", *arguments]
        shown = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if not notes.exists():
            sys.exit(f"Nothing was run:\n{shown.stdout}{shown.stderr}")
        found: dict[str, tuple[str, str]] = {}
        for line in notes.read_text(encoding="utf-8").splitlines():
            note = json.loads(line)
            # What breaks in setting up or clearing away weighs more than what the test itself said before.
            if note["test"] not in found or note["ending"] in {"import", "error"}:
                found[note["test"]] = note["ending"], note["line"]
        return found


def grouped(tests: Iterable[str]) -> dict[str, list[str]]:
    """The cases of every test function."""
    found: dict[str, list[str]] = {}
    for test in sorted(tests):
        found.setdefault(test.partition("[")[0], []).append(test)
    return found


def shows_its_fault(there: set[str], here: set[str]) -> bool:
    """Whether endings there and here are those of a test that finds a fault and nothing else."""
    return here == {"passed"} and "assertion" in there and there <= {"assertion", "passed"}


def main() -> int:
    """Compare, print what is not as it should be, and how many are."""
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    commit, arguments = sys.argv[1], sys.argv[2:]
    with tempfile.TemporaryDirectory(prefix="headway-against-") as folder:
        there = endings(sources_of(commit, Path(folder)), arguments)
    here = endings(ROOT / "src", arguments)
    good, functions = 0, grouped(there | here)
    for function, cases in functions.items():
        before = {case: there.get(case, ("not run", "")) for case in cases}
        now = {case: here.get(case, ("not run", "")) for case in cases}
        if shows_its_fault({ending for ending, _ in before.values()}, {ending for ending, _ in now.values()}):
            good += 1
            continue
        print(function)
        for case in cases:
            for name, ended in ((f"at {commit}", before[case]), ("here", now[case])):
                print(f"  {case.removeprefix(function)} {name}: {': '.join(filter(None, ended))}".replace("   ", "  "))
    for name, found in ((f"at {commit}", there), ("here", here)):
        counts = Counter(ending for ending, _ in found.values())
        print(f"{name}: {', '.join(f'{count} {ending}' for ending, count in counts.most_common())}")
    print(f"{good} of {len(functions)} tests fail at {commit} by an assertion and pass here")
    return 0 if good == len(functions) > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
