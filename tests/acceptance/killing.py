"""Kill a sync with SIGKILL at random moments, resume it, and hold what the platform stored against the books.

python -m tests.acceptance.killing 1000      # as scripts/kill-test does; 50 of them run with the tests
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from headway.demo import write_contacts
from headway.mock.config import MockConfig
from headway.mock.server import Served, serve

MOST_IN_FLIGHT = 64  # calls that an engine has on the wire at once, at the most (engine._MOST)


@dataclass
class Killed:
    """What came of it."""

    kills: int = 0
    runs: int = 0
    records: int = 0
    stored: int = 0
    sent_again: int = 0
    report: dict[str, object] | None = None

    @property
    def balanced(self) -> bool:
        told = self.report or {}
        parts = [told[name] for name in ("delivered", "unchanged", "dead", "skipped", "pending")]
        return told["read"] == sum(parts) and told["pending"] == 0


def one_run(mock: Served, folder: Path, records: int, rng: random.Random, kills: int, result: Killed) -> None:
    """One run of `records`, killed up to `kills` times, then left to finish."""
    write_contacts(folder / "contacts.csv", records)
    base = [sys.executable, "-m", "headway"]
    to = ["contacts.csv", "hubspot:contacts", "--key", "email", "--base-url", mock.url]
    before = mock.stats()["writes"].get("contacts", 0)
    stored = mock.stats()["objects"].get("contacts", 0)
    result.records += records
    result.runs += 1
    run = ""
    for life in range(kills + 1):
        last = life == kills
        command = [*base, "sync", *to] if not run else [*base, "resume", run]
        # A state of its own for every life: the places of the dead would cool for 40 s, and limits are not the subject.
        environment = {**os.environ, "HEADWAY_STATE": str(folder / f"limits-{life}.db"), "HUBSPOT_TOKEN": "t"}
        process = subprocess.Popen(
            [*command, "--json", "--quiet"], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        if not last:
            try:
                process.wait(rng.uniform(0.25, 1.3))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                result.kills += 1
        out, err = process.communicate(timeout=120)
        if process.returncode != -signal.SIGKILL:
            assert process.returncode == 0, err.decode()
            result.report = json.loads(out)
            break
        run = latest_run(folder)
    after = mock.stats()
    result.stored += after["objects"].get("contacts", 0) - stored
    written = after["writes"].get("contacts", 0) - before
    result.sent_again += written - (after["objects"].get("contacts", 0) - stored)


def latest_run(folder: Path) -> str:
    """The run in the folder's store, '' if the process died before it had made one."""
    from headway.stores.opening import open_store

    path = folder / ".headway" / "records.db"
    if not path.exists():
        return ""
    store = open_store(path)
    try:
        runs = store.runs()
        return runs[0].id if runs else ""
    finally:
        store.close()


def kill_often(kills: int, records: int, seed: int = 1) -> list[Killed]:
    """Runs until so many kills were made."""
    rng = random.Random(seed)
    done: list[Killed] = []
    while sum(each.kills for each in done) < kills:
        result = Killed()
        config = MockConfig(window=(1_000_000, 10.0), daily=None, latency=0.02)
        with serve(config) as mock, tempfile.TemporaryDirectory(prefix="headway-kill-") as folder:
            left = kills - sum(each.kills for each in done)
            one_run(mock, Path(folder), records, rng, left, result)
        assert result.report is not None
        done.append(result)
    return done


def verify(results: list[Killed]) -> None:
    """Nothing lost, nothing sent again but what was in flight, the books balanced."""
    for each in results:
        assert each.stored == each.records, f"{each.records - each.stored} records were lost"
        assert each.balanced, each.report
        assert each.sent_again <= each.kills * MOST_IN_FLIGHT * 100, each


def main() -> None:
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    began = time.monotonic()
    results: list[Killed] = []
    while (made := sum(each.kills for each in results)) < kills:
        results += kill_often(min(50, kills - made), 60_000, seed=made)
        verify(results)
        total = sum(each.records for each in results)
        again = sum(each.sent_again for each in results)
        print(
            f"{sum(each.kills for each in results)} kills in {len(results)} runs: 0 of {total:,} records lost, {again:,} "
            f"sent again ({time.monotonic() - began:.0f} s)",
            flush=True,
        )


if __name__ == "__main__":
    main()
