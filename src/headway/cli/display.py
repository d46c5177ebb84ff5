"""Progress: a live display on a terminal, one plain line every ten seconds without one.

What is shown follows from `Progress`, which only takes note of events; drawing it is a function of its state.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from headway.cli.values import duration_text
from headway.events import (
    CallFinished,
    CallStarted,
    DestinationPaused,
    Event,
    LoadFinished,
    LoadProgress,
    Note,
    ProfileRefuted,
    RateLimitHit,
    RecordsFinished,
    RunFinished,
    RunStarted,
    Waiting,
)
from headway.limits.status import LimitStatus

if TYPE_CHECKING:
    from headway.runs.job import Job

__all__ = ["Progress", "line", "progress"]

_EVERY = 10.0
_SPEED_OVER = 20.0


class Progress:
    """What has happened so far, from events. `now` is monotonic seconds wherever it is asked for."""

    def __init__(self) -> None:
        self.phase = "starting"
        self.title = ""
        self.read = 0
        self.share: float | None = None
        self.total = 0
        self.delivered = 0
        self.dead = 0
        self.retried = 0
        self.calls = 0
        self.in_flight = 0
        self.rate_limited = 0
        self.waits_for = ""
        self.waits_until: float | None = None
        self.paused = ""
        self.notes: deque[str] = deque(maxlen=3)
        self._speeds: deque[tuple[float, int]] = deque()

    def note(self, event: Event, now: float) -> None:
        """Take note of an event."""
        if isinstance(event, RecordsFinished):
            self.delivered += event.delivered
            self.dead += event.dead
            self.retried += event.retried
            self._speeds.append((now, self.delivered))
        elif isinstance(event, CallStarted):
            self.in_flight += 1
            self.waits_for, self.waits_until, self.paused = "", None, ""
        elif isinstance(event, CallFinished):
            self.in_flight = max(0, self.in_flight - 1)
            self.calls += 1
        elif isinstance(event, Waiting):
            self.waits_for = event.limit
            self.waits_until = None if event.seconds is None else now + event.seconds
        else:
            self._seldom(event)

    def _seldom(self, event: Event) -> None:
        if isinstance(event, LoadProgress):
            self.phase, self.read, self.share = "reading", event.read, event.share
        elif isinstance(event, LoadFinished):
            self.phase, self.read, self.total = "sending", event.read, event.records
            self.dead += event.dead
        elif isinstance(event, RunStarted):
            self.title = f"{event.source} → {event.destination}"
            self.phase = "sending" if event.resumed else "reading"
        elif isinstance(event, RateLimitHit):
            self.rate_limited += 1
        elif isinstance(event, DestinationPaused):
            self.paused = f"paused until {event.until.astimezone():%H:%M:%S}: {event.reason}"
        elif isinstance(event, Note | ProfileRefuted):
            self.notes.append(event.text if isinstance(event, Note) else event.reason)
        elif isinstance(event, RunFinished):
            self.phase = event.state

    def speed(self, now: float) -> float:
        """Records delivered a second, over the last twenty seconds."""
        while len(self._speeds) > 2 and self._speeds[0][0] < now - _SPEED_OVER:
            self._speeds.popleft()
        if len(self._speeds) < 2:
            return 0.0
        (then, before), (_, after) = self._speeds[0], self._speeds[-1]
        return (after - before) / max(0.001, now - then)

    def left(self, now: float) -> float | None:
        """Seconds until everything is sent at this speed; None if unknown."""
        speed = self.speed(now)
        if speed <= 0 or not self.total:
            return None
        waits = 0.0 if self.waits_until is None else max(0.0, self.waits_until - now)
        return max(max(0, self.total - self.delivered) / speed, waits)

    def waiting(self, now: float) -> str:
        """What the next call waits for, in words."""
        if self.paused:
            return self.paused
        if not self.waits_for:
            return ""
        if self.waits_until is None:
            return f"waits for a reply ({self.waits_for})"
        return f"waits for the {self.waits_for}: {duration_text(max(0.0, self.waits_until - now))}"


def line(state: Progress, now: float, limits: Sequence[LimitStatus] = ()) -> str:
    """The state as one plain line."""
    if state.phase == "reading":
        share = "" if state.share is None else f" ({state.share:.0%})"
        return f"reading: {state.read:,} rows{share}"
    left = state.left(now)
    parts = [
        f"{state.delivered:,}/{state.total:,} delivered" if state.total else f"{state.delivered:,} delivered",
        f"{state.speed(now):,.0f}/s",
        *(f"{each.name} {each.amount - each.free}/{each.amount}" for each in limits if each.free < each.amount),
        f"{state.dead:,} dead" if state.dead else "",
        f"{state.retried:,} retries" if state.retried else "",
        f"{state.rate_limited} × 429" if state.rate_limited else "",
        f"{duration_text(left)} left" if left is not None else "",
        state.waiting(now),
    ]
    return ", ".join(part for part in parts if part)


class _Shown:
    """Takes note of events, and draws from a thread of its own so that no event loop waits for a terminal."""

    def __init__(self, interval: float) -> None:
        self.state = Progress()
        self._job: Job | None = None
        self._lock = threading.Lock()
        self._interval = interval
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    def __call__(self, event: Event, /) -> None:
        with self._lock:
            self.state.note(event, time.monotonic())

    def watch(self, job: Job) -> None:
        """Show the limits of this job as well."""
        self._job = job

    def limits(self) -> tuple[LimitStatus, ...]:
        """How the job's limits stand."""
        snapshot = getattr(self._job, "limits", None)
        return snapshot() if snapshot is not None else ()

    def begin(self) -> None:
        """Start drawing."""
        self._thread = threading.Thread(target=self._run, name="headway-progress", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Stop drawing."""
        self._done.set()
        if self._thread is not None:
            self._thread.join(5)

    def _run(self) -> None:
        while not self._done.wait(self._interval):
            self.draw()

    def draw(self) -> None:
        """Show the state as it is."""


class _Silent(_Shown):
    def begin(self) -> None:
        return


class _Lines(_Shown):
    def __call__(self, event: Event, /) -> None:
        super().__call__(event)
        if isinstance(event, Note | ProfileRefuted):
            print(event.text if isinstance(event, Note) else event.reason, file=sys.stderr, flush=True)

    def draw(self) -> None:
        limits = self.limits()
        with self._lock:
            text = line(self.state, time.monotonic(), limits)
        print(text, file=sys.stderr, flush=True)


class _Live(_Shown):
    def __init__(self) -> None:
        super().__init__(0.2)
        from rich.console import Console
        from rich.live import Live

        self._live = Live(console=Console(stderr=True), auto_refresh=False, transient=True)

    def begin(self) -> None:
        self._live.start()
        super().begin()

    def end(self) -> None:
        super().end()
        self._live.stop()

    def draw(self) -> None:
        limits = self.limits()
        with self._lock:
            shown = panel(self.state, time.monotonic(), limits)
        self._live.update(shown, refresh=True)


def panel(state: Progress, now: float, limits: Sequence[LimitStatus]) -> Any:
    """The state as a rich renderable."""
    from rich.panel import Panel
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim", min_width=9)
    rows.add_column(min_width=44)
    rows.add_column(justify="right", min_width=24)
    if state.phase == "reading":
        share = state.share or 0.0
        rows.add_row("reading", ProgressBar(100, share * 100, width=44), f"{state.read:,} rows")
        return Panel(rows, title=state.title or None, title_align="left", expand=False)
    total = max(1, state.total)
    told = f"{state.delivered:,} / {state.total:,}" if state.total else f"{state.delivered:,}"
    rows.add_row("delivered", ProgressBar(total, min(total, state.delivered), width=44), told)
    for each in limits:
        used = each.amount - each.free
        if used and each.kind in {"window", "quota"}:
            rows.add_row(each.name, ProgressBar(each.amount, used, width=44, complete_style="yellow"),
                         f"{used:,} / {each.amount:,}")  # fmt: skip
    left = state.left(now)
    rows.add_row("speed", f"{state.speed(now):,.0f} records/s · {state.calls:,} calls",
                 "" if left is None else f"{duration_text(left)} left")  # fmt: skip
    trouble = f"{state.dead:,} dead · {state.retried:,} retries · {state.rate_limited:,} × 429"
    rows.add_row("trouble", trouble, "")
    rows.add_row("next call", state.waiting(now) or "goes out", "")
    for text in state.notes:
        rows.add_row("note", text, "")
    return Panel(rows, title=state.title or None, title_align="left", expand=False)


@contextmanager
def progress(*, quiet: bool) -> Iterator[_Shown]:
    """An observer that shows what happens, as the standard error stream allows."""
    shown: _Shown
    if quiet:
        shown = _Silent(_EVERY)
    elif sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        shown = _Live()
    else:
        shown = _Lines(_EVERY)
    shown.begin()
    try:
        yield shown
    finally:
        shown.end()
