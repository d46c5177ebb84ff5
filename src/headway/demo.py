"""The demonstration: a mock HubSpot in a process of its own, real companies and generated contacts synced into it."""

from __future__ import annotations

import csv
import json
import os
import random
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from headway.errors import HeadwayError
from headway.events import Observer
from headway.runs.job import Job
from headway.runs.report import Report
from headway.runs.sync import Sync

__all__ = ["Part", "demonstrate", "mock_process", "write_contacts"]

_FIRST = ("Ada", "Grace", "Alan", "Edsger", "Barbara", "Ken", "Frances", "Niklaus", "Radia", "Donald", "Zoë", "José")
_LAST = (
    "Lovelace",
    "Hopper",
    "Turing",
    "Dijkstra",
    "Liskov",
    "Thompson",
    "Allen",
    "Wirth",
    "Perlman",
    "Knuth",
    "Müller",
)
_CITIES = ("Berlin", "Paris", "New York", "São Paulo", "東京", "Nairobi", "Melbourne", "Kraków")
_STAGES = ("subscriber", "lead", "opportunity", "customer")


@dataclass(frozen=True, slots=True)
class Part:
    """One sync of the demonstration: its report, the least seconds possible, the 429s that the platform counted."""

    name: str
    report: Report
    best: float
    rejections: int


def write_contacts(path: Path, count: int, seed: int = 1) -> None:
    """A CSV file of made-up contacts, the same for the same seed: email, firstname, lastname, city, stage, number."""
    rng = random.Random(seed)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["email", "firstname", "lastname", "city", "lifecyclestage", "customer_number"])
        for number in range(count):
            first, last = rng.choice(_FIRST), rng.choice(_LAST)
            writer.writerow(
                [f"contact{number}@example.com", first, last, rng.choice(_CITIES), rng.choice(_STAGES), f"{number:07}"]
            )


@contextmanager
def mock_process(*options: str) -> Iterator[str]:
    """`headway mock hubspot` in a process of its own; gives its URL and ends it afterwards."""
    command = [sys.executable, "-m", "headway", "mock", "hubspot", "--port", "0", "--json", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            first = process.stdout.readline()
            if not first:
                raise HeadwayError("the mock did not start: try headway mock hubspot")
            yield str(json.loads(first)["url"])
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()


def counted(url: str) -> dict[str, Any]:
    """What the mock has counted so far."""
    with urllib.request.urlopen(f"{url}/_mock/stats", timeout=10) as reply:  # noqa: S310  # our own mock
        found: dict[str, Any] = json.load(reply)
    return found


def best_seconds(calls: int, amount: int, per: float, latency: float) -> float:
    """The least time that so many calls can take in a window: all but the last window in full, and one latency."""
    return max(0, -(-calls // amount) - 1) * per + latency


def demonstrate(
    perform: Callable[[Callable[[Observer], Job]], Report], *, contacts: int, window: tuple[int, float], latency: float
) -> list[Part]:
    """Run both syncs; `perform` makes the job with an observer, runs it and returns its report."""
    amount, per = window
    options = ("--window", f"{amount}/{per}s", "--latency", f"{latency}s")
    os.environ["HUBSPOT_TOKEN"] = "demo-token"  # noqa: S105  # never the user's own
    with (
        tempfile.TemporaryDirectory(prefix="headway-demo-") as folder,
        as_file(files("headway") / "examples" / "universities.csv") as universities,
        mock_process(*options) as url,
    ):
        people = Path(folder) / "contacts.csv"
        write_contacts(people, contacts)
        store, state = f"{folder}/records.db", f"{folder}/limits.db"
        jobs: list[tuple[str, Callable[[Observer], Job]]] = [
            (
                "universities → companies",
                lambda observer: Sync(
                    universities,
                    "hubspot:companies",
                    key="university_domain",
                    map="university_domain=domain, name=name, website=website, country=country",
                    base_url=url,
                    store=store,
                    state=state,
                    observer=observer,
                ),
            ),
            (
                "contacts → contacts",
                lambda observer: Sync(
                    people, "hubspot:contacts", key="email", base_url=url, store=store, state=state, observer=observer
                ),
            ),
        ]
        parts: list[Part] = []
        for name, make in jobs:
            before = counted(url)
            report = perform(make)
            refused = counted(url)["rate_limited"] - before["rate_limited"]
            parts.append(Part(name, report, best_seconds(report.requests, amount, per, latency), refused))
        return parts
