"""Kill a sync by Salesforce's Bulk API with SIGKILL at random moments, resume it, and hold the org against the books.

python -m tests.acceptance.bulk_killing 250000      # the full size; a small one runs with the tests
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
from dataclasses import dataclass, field
from pathlib import Path

from headway.mock import SalesforceConfig
from headway.mock.server import serve
from tests.acceptance.orgs import CONTACT

BAD = 0.02


@dataclass
class Killed:
    """What came of it."""

    kills: int = 0
    seconds: float = 0.0
    report: dict[str, object] = field(default_factory=dict)
    stats: dict[str, object] = field(default_factory=dict)
    bad: int = 0
    codes: set[str] = field(default_factory=set)

    @property
    def balanced(self) -> bool:
        parts = [self.report[name] for name in ("delivered", "unchanged", "dead", "skipped", "pending")]
        return self.report["read"] == sum(parts) and self.report["pending"] == 0


def write(path: Path, count: int, seed: int) -> int:
    """Contacts with an external id; some with an address that no one can have. Returns how many of these."""
    rng = random.Random(seed)
    bad = 0
    with path.open("w", encoding="utf-8") as file:
        file.write("Bioguide_ID__c,FirstName,LastName,Email,Phone,MailingCity,MailingPostalCode\n")
        for n in range(count):
            wrong = rng.random() < BAD
            bad += wrong
            email = "nobody" if wrong else f"p{n}@example.com"
            file.write(f'C{n:07d},Ada {n},"Love, {n}",{email},+49 30 {n:07d},Berlin,{n % 100000:05d}\n')
    return bad


def kill_and_resume(
    records: int, kills: int, *, seed: int = 1, fail: tuple[int, ...] = (2, 3), size: int = 0
) -> Killed:
    """One run, killed so often, then left to finish; `size`: records of a job, if not the usual."""
    rng, result = random.Random(seed), Killed()
    config = SalesforceConfig(
        objects=(CONTACT,), only_issued=False, fail_jobs=fail, bulk_rate=max(20_000.0, records / 5), latency=0.02
    )
    with serve(config) as mock, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result.bad = write(folder / "contacts.csv", records, seed)
        began = time.perf_counter()
        for life in range(kills + 1):
            last = life == kills
            command = ["sync", "contacts.csv", "salesforce:Contact", "--key", "Bioguide_ID__c", "--via", "bulk"]
            environment = {
                **os.environ, "HEADWAY_STATE": str(folder / f"limits-{life}.db"), "SALESFORCE_TOKEN": "a-token",
                "SALESFORCE_INSTANCE_URL": mock.url,
            }  # fmt: skip
            process = subprocess.Popen(
                [sys.executable, "-c", _MAIN.format(size=size), *(command if life == 0 else ["resume"]), "--json", "--quiet"],
                cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
            if not last:
                _until_sent(mock, process, rng)
                if process.poll() is None:
                    process.send_signal(signal.SIGKILL)
                    result.kills += 1
            out, err = process.communicate(timeout=600)
            if process.returncode != -signal.SIGKILL:
                if b"nothing to resume" in err:  # it was killed when it had just finished
                    out = json.dumps(_latest(folder)).encode()
                else:
                    assert process.returncode == 3, (process.returncode, err.decode(), out.decode(), _latest(folder))
                result.report = json.loads(out)
                break
        result.seconds = time.perf_counter() - began
        result.stats = mock.stats()
        counts = subprocess.run(
            [sys.executable, "-m", "headway", "dead", "ls", "--json"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
        result.codes = {"INVALID_EMAIL_ADDRESS"} if "INVALID_EMAIL_ADDRESS" in counts.stdout else set()
    return result


def _latest(folder: Path) -> dict[str, object]:
    command = [sys.executable, "-m", "headway", "status", "--json"]
    told = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
    return dict(json.loads(told)[0])


_MAIN = """
import sys
from headway.platforms.salesforce import bulk, connector
if {size}:
    connector.Bulk.batch_size = {size}
    bulk.FIRST_POLL = 0.3
from headway.cli import main
main()
"""


def _until_sent(mock: object, process: subprocess.Popen[bytes], rng: random.Random) -> None:
    """Until calls of this life have come, then a little longer."""
    before = mock.stats()["requests"]  # type: ignore[attr-defined]
    wanted = before + rng.randint(5, 14)
    while process.poll() is None and mock.stats()["requests"] < wanted:  # type: ignore[attr-defined]
        time.sleep(0.005)
    time.sleep(rng.uniform(0, 0.2))


def main() -> None:
    """Print what came of it."""
    records = int(sys.argv[1]) if len(sys.argv) > 1 else 250_000
    found = kill_and_resume(records, 3)
    stats = {
        name: found.stats[name] for name in ("requests", "uploads", "uploaded_records", "duplicate_writes", "bulk_jobs")
    }
    print(
        f"{records:,} records, {found.kills} kills, {found.seconds:.1f} s, {found.bad} bad; balanced: {found.balanced}"
    )
    print(found.report)
    print(stats)


if __name__ == "__main__":
    main()
