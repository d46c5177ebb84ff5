"""What is shown follows from events alone."""

from __future__ import annotations

from datetime import UTC, datetime

from headway.cli.display import Progress, line, panel
from headway.cli.values import duration_text
from headway.events import (
    CallFinished,
    CallStarted,
    DestinationPaused,
    LoadFinished,
    LoadProgress,
    Note,
    RateLimitHit,
    RecordsFinished,
    RunStarted,
    Waiting,
)
from headway.limits.status import LimitStatus

WINDOW = LimitStatus("window", "window", 100, 2, 60, 38, 0.0, None)


def sending() -> Progress:
    state = Progress()
    state.note(RunStarted("r", "contacts.csv", "hubspot:contacts", resumed=False), 0)
    state.note(LoadFinished("r", 1010, 1000, 4, 6), 1)
    for second in range(1, 6):
        state.note(CallStarted("a", "upsert", 100), second)
        state.note(CallFinished("a", "upsert", 100, 200, 0.1), second)
        state.note(RecordsFinished("r", 98, 1, 1), second)
    return state


def test_reading_tells_rows_and_share():
    state = Progress()
    state.note(LoadProgress("r", 12_345, 0.5), 0)
    assert line(state, 1) == "reading: 12,345 rows (50%)"


def test_sending_tells_what_is_delivered_and_what_is_left():
    text = line(sending(), 5, [WINDOW])
    assert text.startswith("490/1,000 delivered, 98/s, window 62/100, 9 dead, 5 retries, 5.2 s left")


def test_waiting_and_pauses_say_for_what_and_until_when():
    state = sending()
    state.note(Waiting("a", "window", 7.5), 5)
    assert line(state, 6).endswith("waits for the window: 6.5 s")
    until = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
    state.note(RateLimitHit("a", "window", None), 6)
    state.note(DestinationPaused("a", "window", until, "rate limited"), 6)
    text = line(state, 6)
    assert "1 × 429" in text
    assert f"paused until {until.astimezone():%H:%M:%S}: rate limited" in text
    state.note(CallStarted("a", "upsert", 100), 7)
    assert "paused" not in line(state, 7)


def test_the_panel_draws_every_phase():
    from rich.console import Console

    console = Console(width=110, no_color=True, force_terminal=False)
    state = sending()
    state.note(Note("a cache is used"), 5)
    with console.capture() as captured:
        console.print(panel(Progress(), 0, []))
        console.print(panel(state, 5, [WINDOW]))
    text = captured.get()
    assert "490 / 1,000" in text
    assert "62 / 100" in text
    assert "a cache is used" in text


def test_durations_are_written_for_people():
    told = [duration_text(seconds) for seconds in (0.44, 12, 59.6, 185, 7800)]
    assert told == ["0.4 s", "12 s", "1 min 00 s", "3 min 05 s", "2 h 10 min"]
