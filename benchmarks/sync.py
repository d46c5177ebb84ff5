"""The main job against the mock, case by case: what it took, what was possible, and what the platform counted.

    python benchmarks/sync.py                    # every case but the long ones
    python benchmarks/sync.py full jitter        # the cases named; `full` is 100,000 contacts: about two minutes

Cases: full, jitter, bad, mapping, plan. Each prints its figures beside its bar and fails (exit 1) if one is missed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

from bars import at_least, at_most, ended, exactly
from headway.demo import best_seconds, counted, mock_process, write_contacts


@contextmanager
def desk():
    with tempfile.TemporaryDirectory(prefix="headway-bench-") as folder:
        environment = {**os.environ, "HEADWAY_STATE": f"{folder}/limits.db", "HUBSPOT_TOKEN": "benchmark"}

        def run(*words: str) -> tuple[int, dict, float, str]:
            began = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-m", "headway", *words, "--json"], cwd=folder, env=environment, capture_output=True,
                text=True, check=False,
            )  # fmt: skip
            took = time.perf_counter() - began
            return done.returncode, json.loads(done.stdout) if done.stdout else {}, took, done.stderr

        yield Path(folder), run


def journal(url: str) -> list[dict]:
    with urllib.request.urlopen(f"{url}/_mock/journal", timeout=30) as reply:
        return json.load(reply)["requests"]


def admin(url: str, what: str, **said: object) -> None:
    urllib.request.urlopen(urllib.request.Request(f"{url}/_mock/{what}", json.dumps(said).encode()), timeout=30).close()


def writes(url: str) -> list[dict]:
    return [each for each in journal(url) if "/batch/" in each["path"]]


def full(contacts: int = 100_000) -> None:
    """100,000 contacts, 100 per 10 s, 50 ms, after a plan."""
    print(f"{contacts:,} contacts, 100 per 10 s, 50 ms latency, after a plan")
    with mock_process("--window", "100/10s", "--latency", "50ms") as url, desk() as (folder, run):
        write_contacts(folder / "contacts.csv", contacts)
        to = ("contacts.csv", "hubspot:contacts", "--key", "email", "--base-url", url)
        planned = run("plan", *to)[1]
        time.sleep(11)  # the plan's own calls leave the window: what is measured is a sync, not a sync after a plan
        before = len(journal(url))
        code, report, took, _ = run("sync", *to)
        calls = journal(url)[before:]
        sending = (calls[-1]["at"] - calls[0]["at"]) / 1e9 + 0.05
        best = best_seconds(len(calls), 100, 10, 0.05)
        print(
            f"  {report['delivered']:,} delivered, {len(calls)} calls, {sending:.2f} s of {best:.2f} possible, exit {code}"
        )
        at_most("first call to last reply / best possible", sending / best, 1.03)
        at_most("the whole command beyond that", took - sending, 5, " s")
        at_most("calls", len(calls), contacts / 100)
        at_most("429s", counted(url)["rate_limited"], 0)
        at_most("plan: calls off by", abs(planned["requests"] - report["requests"]) / report["requests"], 0.02)
        at_most("plan: duration off by", abs(planned["seconds"] - sending) / sending, 0.10)


def jitter(contacts: int = 60_000) -> None:
    """The same window with 0-300 ms random delay each way."""
    print(f"{contacts:,} contacts, 100 per 10 s, 0-300 ms random delay each way")
    with mock_process("--window", "100/10s", "--latency", "50ms", "--jitter", "300ms") as url, desk() as (folder, run):
        write_contacts(folder / "contacts.csv", contacts)
        to = ("contacts.csv", "hubspot:contacts", "--key", "email", "--base-url", url)
        run("plan", *to)
        time.sleep(11)
        run("sync", *to)
        arrivals = sorted(each["at"] / 1e9 for each in writes(url))
        # The time from each call to the hundredth after it is what 100 calls took: 10 s would be the limit itself.
        cycles = [later - earlier for earlier, later in zip(arrivals, arrivals[100:], strict=False)]
        share = 10 / (sum(cycles) / len(cycles))
        at_least("share of the limit after the first window", share, 0.955)
        at_most("429s", counted(url)["rate_limited"], 0)


def bad(contacts: int = 20_000) -> None:
    """5 % bad records, one poison record per tenth batch."""
    for names in (False, True):
        print(
            f"{contacts:,} contacts, 5 % bad, a poison record per tenth batch, the reply {'names' if names else 'hides'} it"
        )
        with mock_process("--window", "none", "--daily", "0") as url, desk() as (folder, run):
            admin(url, "poison", property="lastname", value="poison", names=names)
            lines = ["email,firstname,lastname"]
            poisoned = broken = 0
            for i in range(contacts):
                last, email = "Ok", f"p{i}@example.com"
                if i % 1000 == 512:
                    last, poisoned = "poison", poisoned + 1
                elif i % 20 == 7:
                    email, broken = f"broken-{i}", broken + 1
                lines.append(f"{email},P{i},{last}")
            (folder / "contacts.csv").write_text("\n".join(lines) + "\n")
            code, report, _, err = run("sync", "contacts.csv", "hubspot:contacts", "--key", "email", "--base-url", url)
            _, letters, _, _ = run("dead", "ls", "--limit", "100000")
            extra = len(writes(url)) - contacts // 100
            wrong = [
                each for each in letters if not (each["key"].startswith("broken") or "poison" in str(each["payload"]))
            ]
            nameless = [each for each in letters if not each["message"]]
            print(
                f"  exit {code}; {report['delivered']:,} delivered, {len(letters)} dead of {poisoned + broken} bad; {err.strip()[-200:]}"
            )
            at_most("dead letters missing or too many", abs(len(letters) - poisoned - broken), 0)
            at_most("good records dead-lettered", len(wrong), 0)
            at_most("dead letters without HubSpot's message", len(nameless), 0)
            at_most("extra calls per poisoned batch", extra / poisoned, 1 if names else 15)


def mapping(contacts: int = 100_000) -> None:
    """A column that no property matches: exit 2 after few calls; with --no-check, paused after few writes."""
    print(f"{contacts:,} rows, one column that no property matches")
    with mock_process("--window", "none", "--daily", "0") as url, desk() as (folder, run):
        lines = ["email,fistname", *(f"p{i}@example.com,P{i}" for i in range(contacts))]
        (folder / "contacts.csv").write_text("\n".join(lines) + "\n")
        to = ("contacts.csv", "hubspot:contacts", "--key", "email", "--base-url", url)
        code, _, _, err = run("sync", *to)
        print(f"  {err.strip().splitlines()[-1]}")
        exactly("exit code", code, 2)
        at_most("calls", len(journal(url)), 3)
        at_most("written", sum(counted(url)["writes"].values()), 0)
        code, report, _, _ = run("sync", *to, "--no-check")
        print(f"  --no-check: exit {code}, {report.get('state')}, {report.get('pending')} pending")
        exactly("--no-check: exit code", code, 5)
        at_most("--no-check: write calls", len(writes(url)), 3)


def plan(contacts: int = 25_000) -> None:
    """What a plan says, and what the run then takes, for several windows."""
    for window, latency in (("100/10s", "50ms"), ("40/2s", "200ms"), ("none", "30ms")):
        print(f"{contacts:,} contacts, window {window}, latency {latency}: plan against run")
        with mock_process("--window", window, "--latency", latency) as url, desk() as (folder, run):
            write_contacts(folder / "contacts.csv", contacts)
            to = ("contacts.csv", "hubspot:contacts", "--key", "email", "--base-url", url)
            planned = run("plan", *to)[1]
            before = len(journal(url))
            report = run("sync", *to)[1]
            calls = journal(url)[before:]
            sending = (calls[-1]["at"] - calls[0]["at"]) / 1e9
            print(
                f"  planned {planned['requests']} calls, {planned['seconds']:.1f} s; took {report['requests']}, {sending:.1f} s"
            )
            if window == "100/10s":
                at_most("calls off by", abs(planned["requests"] - report["requests"]) / report["requests"], 0.02)
                at_most("duration off by", abs(planned["seconds"] - sending) / sending, 0.10)


CASES: dict[str, Callable[[], None]] = {"full": full, "jitter": jitter, "bad": bad, "mapping": mapping, "plan": plan}


def main() -> int:
    for name in sys.argv[1:] or [name for name in CASES if name != "full"]:
        CASES[name]()
    return ended()


if __name__ == "__main__":
    sys.exit(main())
