"""Running a job from the command line: signals, progress, the result."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from headway.cli.common import DEFAULT_STORE, emit
from headway.cli.display import progress
from headway.cli.values import duration_text
from headway.events import Observer

if TYPE_CHECKING:
    from headway.runs.job import Job
    from headway.runs.report import Report

__all__ = ["told", "work"]

_FIELDS = (
    "run", "state", "read", "delivered", "unchanged", "dead", "skipped", "pending", "requests", "rate_limited",
    "retries", "seconds",
)  # fmt: skip


def work(make: Callable[[Observer], Job], *, quiet: bool, json_: bool, store: str | None) -> int:
    """Run a job to its end; returns the exit code. Progress goes to standard error, the result to standard output."""
    with progress(quiet=quiet) as shown:
        job = make(shown)
        shown.watch(job)
        with _signals(job, store):
            report = job.start()
    if json_:
        emit(told(report))
    else:
        summary(report, store)
    return report.exit_code


def told(report: Report) -> dict[str, Any]:
    """The object that --json prints."""
    return {name: getattr(report, name) for name in _FIELDS}


def summary(report: Report, store: str | None) -> None:
    """What came of it, for people."""
    click.echo(
        f"{report.state}: {report.delivered + report.unchanged:,} of {report.read:,} delivered"
        + "".join(
            f", {count:,} {name}"
            for name, count in (("dead", report.dead), ("skipped", report.skipped), ("pending", report.pending))
            if count
        )
        + f"; {report.requests:,} calls in {duration_text(report.seconds)}, {report.rate_limited:,} × 429, "
        f"{report.retries:,} retries"
    )
    if report.reason:
        click.echo(report.reason)
    where = f" --store {store}" if store and store != DEFAULT_STORE else ""
    if report.dead:
        click.echo(f"What was refused, and why: headway dead ls --run {report.run}{where}")
    if report.run and (report.pending or report.state == "paused"):
        click.echo(f"Go on with: headway resume {report.run}{where}")


@contextmanager
def _signals(job: Job, store: str | None) -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM) stops orderly, the second leaves at once."""
    seen = 0

    def handle(number: int, frame: FrameType | None) -> None:
        del frame
        nonlocal seen
        seen += 1
        if seen == 1:
            print("\nStopping: calls in flight are finished. Once more to leave at once.", file=sys.stderr)
            job.stop(130 if number == signal.SIGINT else 143)
            return
        where = f" --store {store}" if store and store != DEFAULT_STORE else ""
        print(f"\nLeaving at once; nothing is lost. Go on with: headway resume {job.run}{where}", file=sys.stderr)
        job.abort()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            # Who pressed Ctrl-C twice is not to be met by a traceback while the result is printed.
            signal.signal(number, signal.SIG_IGN if seen else handler)
