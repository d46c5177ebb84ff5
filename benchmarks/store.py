"""How fast the store is: load, claim and finish by hundreds, the books, and the memory it takes.

    python benchmarks/store.py [ROWS] [--durability full] [--keep FILE]

Prints one line per part: records per second of wall time and of CPU time; bars with normal durability, at any number
of rows.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Self

from bars import at_least, at_most, ended
from floor import slowness
from headway.stores.model import Done, Loaded, RunConfig
from headway.stores.opening import open_store

BATCH = 2_000
CALL = 100


def rows(count: int, seed: int = 1) -> Iterator[Loaded]:
    """Contacts of about 500 bytes with keys in no order, as in an export."""
    random = Random(seed)
    filler = "x" * 440
    for number in range(count):
        key = f"{random.randrange(10**9):09}.{number}@example{number % 97}.com"
        yield Loaded(key, b'{"email":"%s","about":"%s"}' % (key.encode(), filler.encode()), number + 2)


class Watch:
    """Prints what a part took."""

    def __init__(self, part: str, count: int) -> None:
        self.part, self.count = part, count

    def __enter__(self) -> Self:
        self.wall, self.cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        wall, cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu
        self.rate = self.count / wall
        rate = f"{self.count / wall:>9,.0f}/s of wall, {self.count / cpu:>9,.0f}/s of CPU" if self.count else ""
        print(f"{self.part:<28} {wall:8.3f} s  {rate}")


def main() -> int:
    """Run all parts on one file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="?", type=int, default=200_000)
    parser.add_argument("--durability", choices=("normal", "full"), default="normal")
    parser.add_argument("--keep", type=Path, help="use this file and keep it")
    given = parser.parse_args()
    slow = slowness()
    with tempfile.TemporaryDirectory() as directory:
        file = given.keep or Path(directory) / "records.db"
        with closing(open_store(file, durability=given.durability)) as store:
            run = store.create_run(RunConfig("contacts.csv", "hubspot:contacts"))
            making = time.process_time()
            for _ in rows(given.rows):
                pass
            making = time.process_time() - making
            with Watch("load (all)", given.rows) as load:
                batch: list[Loaded] = []
                for row in rows(given.rows):
                    batch.append(row)
                    if len(batch) == BATCH:
                        store.load(run, batch, [], str(row.line))
                        batch = []
                store.load(run, batch, [], "end")
                with Watch("  of which finish_load", given.rows):
                    store.finish_load(run)
            print(f"{'  of which making the rows':<28} {making:8.3f} s")
            with Watch("claim + finish by 100", given.rows) as work:
                while claim := store.claim(run, CALL):
                    done = [Done(record.id, str(10**10 + record.id)) for record in claim.records]
                    store.finish(run, claim, done, status=200)
            with Watch("ledger", 0):
                store.ledger(run)
            with Watch("audit", given.rows):
                books = store.audit(run)
            print(books)
    if given.durability == "normal":
        at_least("load", load.rate, 120_000 / slow, "/s")
        at_least("claim and finish", work.rate, 40_000 / slow, "/s")
    at_most("peak memory", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 150, " MB")
    return ended()


if __name__ == "__main__":
    sys.exit(main())
