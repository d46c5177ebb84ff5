"""The state file is the user's, not one environment's: Headway as it was at e222d7f works on it beside this one."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from tests.counting import most_in_any

ROOT = Path(__file__).parents[2]
OLD = "e222d7f"

WORKER = """
import sys, time
from headway import Concurrency, Limiter, PermitTimeout, Quota, Window
path, seconds, number = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
limiter = Limiter(
    Window(20, per=1.0), Concurrency(4), Quota(120, "monthly 1 00:00 UTC"),
    state=path, name="shared", fresh=True, linger=0.5, ttl=1.5, lost="unused",
)
end = time.monotonic() + seconds
print("ready", flush=True)
while time.monotonic() < end:
    try:
        permit = limiter.acquire(timeout=max(0.01, min(2.0, end - time.monotonic())))
    except PermitTimeout:
        continue
    begun = time.monotonic_ns()
    time.sleep(0.002 + number * 0.001)
    print(begun, time.monotonic_ns(), flush=True)
    permit.settle()
limiter.close()
"""


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """The code of e222d7f, as it was."""
    done = subprocess.run(["git", "-C", str(ROOT), "archive", OLD, "src/headway"], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("no history here to take the older Headway from")
    where = tmp_path_factory.mktemp("old")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(where, filter="data")
    return where / "src"


def start(source: Path, state: Path, seconds: float, number: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(state), str(seconds), str(number)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(source)},
    )


def spans(processes: list[subprocess.Popen[str]]) -> list[tuple[int, int]]:
    found = []
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert process.returncode in {0, -signal.SIGKILL}, err
        found += [tuple(map(int, line.split())) for line in out.splitlines() if line.count(" ") == 1]
    return found


def most_at_once(found: list[tuple[int, int]]) -> int:
    level = worst = 0
    for _, change in sorted([(begun, 1) for begun, _ in found] + [(ended, -1) for _, ended in found]):
        level += change
        worst = max(worst, level)
    return worst


@pytest.mark.timeout(120)
def test_old_and_new_work_on_one_file_and_never_exceed_a_limit(old, tmp_path):
    state = tmp_path / "limits.db"
    sources = [old, ROOT / "src", old, ROOT / "src"]
    running = [start(source, state, 9.0, i) for i, source in enumerate(sources)]
    time.sleep(4.0)
    running[0].kill()  # an old one dies, and a new one, with calls in flight
    running[1].kill()
    running.append(start(ROOT / "src", state, 4.0, 4))
    found = spans(running)
    assert most_in_any([begun for begun, _ in found], 1_000_000_000) <= 20
    assert most_at_once(found) <= 4
    assert 60 <= len(found) <= 120, "the quota holds for both, and calls go"


@pytest.mark.timeout(120)
def test_a_file_of_the_older_headway_is_gone_on_with_and_handed_back(old, tmp_path):
    state = tmp_path / "limits.db"
    found: list[tuple[int, int]] = []
    for source in (old, ROOT / "src", old, ROOT / "src"):
        found += spans([start(source, state, 1.5, 0)])
    assert most_in_any([begun for begun, _ in found], 1_000_000_000) <= 20
    assert 60 <= len(found) <= 120


@pytest.mark.timeout(120)
def test_a_new_process_that_an_old_one_took_for_lapsed_claims_its_calls_again(old, tmp_path):
    """Stopped for longer than its lease, with an older Headway at work that buries it."""
    state = tmp_path / "limits.db"
    new = start(ROOT / "src", state, 8.0, 1)
    assert new.stdout is not None
    assert new.stdout.readline() == "ready\n"
    time.sleep(0.7)
    other = start(old, state, 8.0, 0)
    time.sleep(1.0)
    new.send_signal(signal.SIGSTOP)
    time.sleep(2.5)
    new.send_signal(signal.SIGCONT)
    found = spans([new, other])
    assert most_in_any([begun for begun, _ in found], 1_000_000_000) <= 20
    assert len(found) >= 40
