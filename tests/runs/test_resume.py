"""A run goes on where it stopped, whatever stopped it."""

import asyncio
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from headway.accounts.making import account
from headway.errors import MappingError, SourceError, UsageError
from headway.events import Note, RunStarted
from headway.mock.config import MockConfig, Portal
from headway.mock.faults import Fault
from headway.mock.server import serve
from headway.runs.resuming import resume
from headway.runs.sync import Sync
from headway.stores.opening import open_store

STORE = ".headway/records.db"


def books(run):
    store = open_store(STORE)
    try:
        return store.audit(run)
    finally:
        store.close()


def interrupted_load(mock, contacts, rows=5000):
    """A sync that is stopped while the source is read."""
    run = None

    def watch(event):
        if type(event).__name__ == "LoadProgress":
            run.stop()

    run = Sync(contacts(rows), "hubspot:contacts", key="email", base_url=mock.url, observer=watch)
    report = run.start()
    assert (report.state, report.exit_code) == ("interrupted", 130)
    assert 0 < report.read < rows
    assert mock.stats()["write_calls"] == 0
    return report.run


def test_a_source_that_was_half_read_is_read_on(mock, contacts):
    name = interrupted_load(mock, contacts)
    events = []
    report = resume(observer=events.append).start()
    assert (report.run, report.state) == (name, "done")
    assert (report.read, report.delivered) == (5000, 5000)
    assert next(event for event in events if isinstance(event, RunStarted)).resumed is True


def test_a_source_that_changed_is_refused(mock, contacts):
    interrupted_load(mock, contacts)
    contacts(5001)
    with pytest.raises(SourceError, match="has changed since the run began"):
        resume().start()


def test_a_limit_holds_over_a_resume(mock, contacts):
    run = None

    def watch(event):
        if type(event).__name__ == "LoadProgress":
            run.stop()

    run = Sync(contacts(5000), "hubspot:contacts", key="email", base_url=mock.url, observer=watch, limit=3000)
    assert 0 < run.start().read < 3000
    assert resume().start().read == 3000


def test_standard_input_is_kept_until_it_is_in_the_store(mock, contacts, monkeypatch):
    data = Path(contacts(5000)).read_bytes()

    class Stdin:
        buffer = io.BytesIO(data)

    monkeypatch.setattr(sys, "stdin", Stdin())
    run = None

    def watch(event):
        if type(event).__name__ == "LoadProgress":
            run.stop()

    run = Sync("-", "hubspot:contacts", key="email", base_url=mock.url, observer=watch)
    assert run.start().state == "interrupted"
    assert len(list(Path(".headway/spool").iterdir())) == 1
    assert resume().start().delivered == 5000
    assert list(Path(".headway/spool").iterdir()) == []


def test_rows_that_only_the_caller_has_must_be_given_again(mock):
    rows = [{"email": f"a{n}@b.co"} for n in range(5000)]
    run = None

    def watch(event):
        if type(event).__name__ == "LoadProgress":
            run.stop()

    run = Sync(rows, "hubspot:contacts", key="email", base_url=mock.url, observer=watch)
    assert run.start().state == "interrupted"
    with pytest.raises(SourceError, match="cannot be read again"):
        resume().start()


def test_a_run_never_goes_on_in_another_account(mock, contacts, monkeypatch):
    interrupted_load(mock, contacts)
    monkeypatch.setenv("HUBSPOT_TOKEN", "pat-of-another-portal")
    mock.mock.config.portals["pat-of-another-portal"] = Portal(4711)
    with pytest.raises(UsageError, match=r"sends to account 62515 of HubSpot, but .* account 4711"):
        resume().start()
    assert mock.stats()["write_calls"] == 0


def test_a_run_of_an_account_given_as_an_object_is_resumed_at_the_same_address(mock, contacts):
    portal = account("hubspot", base_url=mock.url, tier="starter")
    run = None

    def watch(event):
        if type(event).__name__ == "LoadProgress":
            run.stop()

    run = Sync(contacts(5000), portal["contacts"], key="email", observer=watch)
    assert run.start().state == "interrupted"
    portal.close()
    assert resume().start().delivered == 5000


def test_nothing_of_standard_input_is_left_when_there_is_no_run(mock, contacts, monkeypatch):
    class Stdin:
        buffer = io.BytesIO(b"email,nonsense\na@b.co,x\n")

    monkeypatch.setattr(sys, "stdin", Stdin())
    with pytest.raises(MappingError):
        Sync("-", "hubspot:contacts", key="email", base_url=mock.url).start()
    assert list(Path(".headway/spool").iterdir()) == []


def test_nothing_to_resume_is_said_so(mock, contacts):
    with pytest.raises(UsageError):
        resume().start()
    report = Sync(contacts(10), "hubspot:contacts", key="email", base_url=mock.url).start()
    with pytest.raises(UsageError, match="no run is unfinished"):
        resume().start()
    with pytest.raises(UsageError, match=f"run {report.run} is done: there is nothing to resume"):
        resume(report.run).start()


def test_leaving_at_once_keeps_what_was_sent_apart_from_what_was_not(contacts):
    with serve(MockConfig(latency=0.2)) as mock:
        run = Sync(contacts(3000), "hubspot:contacts", key="email", base_url=mock.url)

        async def main():
            task = asyncio.ensure_future(run.astart())
            while mock.mock.write_calls < 5:  # noqa: ASYNC110  # another thread counts
                await asyncio.sleep(0.01)
            run.abort()
            await task

        with pytest.raises(asyncio.CancelledError):
            asyncio.run(main())
        assert books(run.run).pending > 0
        events = []
        report = resume(observer=events.append).start()
        assert report.delivered == 3000
        assert mock.stats()["objects"]["contacts"] == 3000
        assert any(isinstance(event, Note) and "outcome of" in event.text for event in events)


def test_an_insert_whose_outcome_is_unknown_is_not_made_twice(contacts):
    with serve(MockConfig()) as mock:
        mock.mock.faults.add(Fault("reset_after", path="*/batch/create", skip=1, times=1))
        report = Sync(contacts(300), "hubspot:contacts", key="email", mode="insert", base_url=mock.url,
                      max_dead=1).start()  # fmt: skip
        assert (report.delivered, report.dead) == (200, 100)
        assert mock.stats()["objects"]["contacts"] == 300
        assert mock.stats()["written_more_than_once"]["contacts"] == 0


KILLED = """
import sys
from headway.runs.sync import Sync
Sync("contacts.csv", "hubspot:contacts", key="email", base_url=sys.argv[1]).start()
"""


@pytest.mark.parametrize("calls", [1, 7])
def test_a_killed_process_loses_nothing(contacts, calls, monkeypatch):
    contacts(2000)
    with serve(MockConfig(latency=0.1)) as mock:
        process = subprocess.Popen([sys.executable, "-c", KILLED, mock.url], env=dict(os.environ))
        until = time.monotonic() + 20
        while mock.mock.write_calls < calls and time.monotonic() < until:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        before = mock.stats()["writes"]["contacts"]
        monkeypatch.setenv("HEADWAY_STATE", "other.db")  # the dead holder's places would cool for 40 s
        report = resume().start()
        assert (report.state, report.delivered) == ("done", 2000)
        stats = mock.stats()
        assert stats["objects"]["contacts"] == 2000
        assert stats["writes"]["contacts"] - 2000 <= 16 * 100
        assert before <= 2000
        assert books(report.run).balanced
