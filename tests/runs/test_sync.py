"""A file into the mock HubSpot over a socket: every record is delivered or accounted for."""

import json
import sqlite3
from pathlib import Path

import pytest

from headway.accounts.making import account
from headway.errors import CredentialsError, MappingError, RunLocked, SourceError, TransportError, UsageError
from headway.events import LoadFinished, LoadProgress, Note, RecordsFinished, RunFinished, RunStarted
from headway.mock.batches import Poison
from headway.mock.config import MockConfig
from headway.mock.faults import Fault
from headway.mock.server import serve
from headway.runs.resuming import replay_dead, resume
from headway.runs.sync import Sync
from headway.stores.model import DeadFilter
from headway.stores.opening import open_store

STORE = ".headway/records.db"


def sync(source, mock, **options):
    return Sync(source, "hubspot:contacts", **({"key": "email", "base_url": mock.url} | options))


def stored(mock):
    return mock.stats()["objects"].get("contacts", 0)


def letters(run=None):
    store = open_store(STORE)
    try:
        return list(store.dead(DeadFilter(run=run)))
    finally:
        store.close()


def test_every_record_of_a_file_is_delivered(mock, contacts):
    events = []
    run = sync(contacts(1234), mock, observer=events.append)
    report = run.start()
    assert (report.state, report.exit_code) == ("done", 0)
    assert (report.read, report.delivered, report.pending) == (1234, 1234, 0)
    assert report.requests == 13 + 2
    assert report.rate_limited == 0
    assert stored(mock) == 1234
    kinds = [type(event) for event in events]
    assert kinds.index(RunStarted) < kinds.index(LoadProgress) < kinds.index(LoadFinished) < kinds.index(RunFinished)


def test_what_is_known_of_account_and_schema_is_not_asked_again(mock, contacts):
    name = contacts(150)
    plan = sync(name, mock).plan()
    assert (plan.read, plan.records, plan.requests) == (150, 150, 2)
    assert stored(mock) == 0
    assert mock.stats()["requests"] == 2
    report = sync(name, mock).start()
    assert report.requests == 2
    assert mock.stats()["requests"] == 4


def test_a_plan_says_what_the_day_has_left(contacts):
    with serve(MockConfig(daily=40_000)) as mock:
        plan = sync(contacts(20_000), mock).plan()
    assert plan.quota_share == pytest.approx(200 / 40_000)
    assert plan.quota_free is not None
    assert plan.quota_free <= 40_000 - 2
    assert plan.binding_limit == "window"
    assert plan.seconds > 10, "two windows; how near it comes: benchmarks/sync.py"


def test_bad_rows_are_dead_letters_with_their_lines(mock, contacts):
    def spoil(number, row):
        return ["", *row[1:]] if number % 50 == 0 else row

    report = sync(contacts(500, spoil), mock).start()
    assert (report.state, report.exit_code) == ("partial", 3)
    assert (report.delivered, report.dead) == (490, 10)
    found = letters(report.run)
    assert [letter.line for letter in found] == [n + 2 for n in range(0, 500, 50)]
    assert found[0].message == "line 2: email is blank: every record needs a key"
    assert json.loads(found[1].original) == {"email": "", "firstname": "Ada50", "lastname": "Lovelace"}


def test_duplicates_give_way_and_are_counted(mock, contacts):
    def twice(number, row):
        return [f" ADA{number % 100}@example.com", *row[1:]]

    report = sync(contacts(300, twice), mock).start()
    assert (report.delivered, report.skipped) == (100, 200)
    assert stored(mock) == 100
    names = {each["firstname"] for each in objects(mock)}
    assert names == {f"Ada{n}" for n in range(200, 300)}


def objects(mock):
    kind = next(kind for _, kind in mock.mock.objects.all() if kind.name == "contacts")
    return list(kind.by_id.values())


def test_a_blank_cell_clears_nothing_unless_told_to(mock, contacts):
    sync(contacts(1), mock).start()
    name = contacts(1, lambda number, row: [row[0], "  ", "Byron"])
    sync(name, mock).start()
    assert objects(mock)[0]["firstname"] == "Ada0"
    assert objects(mock)[0]["lastname"] == "Byron"
    sync(name, mock, blank="clear").start()
    assert not objects(mock)[0].get("firstname")


def test_a_column_that_no_property_matches_ends_it_before_anything_is_written(mock):
    Path("x.csv").write_text("email,firstnam\n" + "a@b.co,x\n" * 300)
    with pytest.raises(MappingError, match="did you mean 'firstname'"):
        sync("x.csv", mock).start()
    assert mock.stats()["requests"] <= 3
    assert mock.stats()["write_calls"] == 0


def test_without_the_check_a_wrong_column_pauses_after_three_calls(mock):
    Path("x.csv").write_text("email,firstnam\n" + "".join(f"a{n}@b.co,x\n" for n in range(2000)))
    report = sync("x.csv", mock, check=False).start()
    assert (report.state, report.exit_code) == ("paused", 5)
    assert mock.stats()["write_calls"] <= 3
    assert report.pending == 2000
    assert stored(mock) == 0


def test_a_remembered_schema_refuses_nothing(mock, contacts):
    sync(contacts(10), mock).plan()
    before = mock.stats()["requests"]
    Path("x.csv").write_text("email,nonsense\na@b.co,x\n")
    with pytest.raises(MappingError):
        sync("x.csv", mock).plan()
    assert mock.stats()["requests"] == before + 1


def test_values_that_the_property_does_not_take_are_found_before_they_are_sent(mock):
    Path("x.csv").write_text("email,lifecyclestage\na@b.co,lead\nc@d.co,leed\n")
    report = sync("x.csv", mock).start()
    assert (report.delivered, report.dead) == (1, 1)
    assert letters()[0].message == "line 3: lifecyclestage: 'leed' is not an option: did you mean 'lead'?"


def test_too_many_rows_that_cannot_be_sent_pause_before_the_first_call(mock, contacts):
    name = contacts(300, lambda number, row: ["", *row[1:]] if number % 3 == 0 else row)
    report = sync(name, mock).start()
    assert (report.state, report.exit_code) == ("paused", 5)
    assert "100 of 300 rows cannot be sent, more than 20%" in report.reason
    assert mock.stats()["write_calls"] == 0
    report = resume(max_dead=0.5).start()
    assert (report.state, report.delivered, report.dead) == ("partial", 200, 100)


def test_one_poison_record_per_batch_costs_only_itself(mock, contacts):
    mock.mock.batches.poisons.append(Poison("firstname", "poison", names=False))
    report = sync(contacts(400, lambda n, row: [row[0], "poison", row[2]] if n == 150 else row), mock).start()
    assert (report.delivered, report.dead) == (399, 1)
    assert mock.stats()["write_calls"] <= 4 + 15
    assert letters()[0].key == "ada150@example.com"


def test_a_storm_of_faults_loses_nothing(contacts):
    with serve(MockConfig(window=None)) as mock:
        account_ = unlimited(mock)
        for fault in (
            Fault("status", status=503, path="*/batch/*", probability=0.1),
            Fault("reset", path="*/batch/*", probability=0.05),
            Fault("reset_after", path="*/batch/*", probability=0.05),
            Fault("truncate", path="*/batch/*", probability=0.05),
            Fault("status", status=429, retry_after="0", path="*/batch/*", probability=0.05),
        ):
            mock.mock.faults.add(fault)
        report = Sync(contacts(5000), account_["contacts"], key="email").start()
        account_.close()
    assert report.pending == 0
    assert report.delivered + report.dead == 5000
    assert report.dead <= 200
    assert report.retries > 0
    assert stored(mock) >= report.delivered


def unlimited(mock):
    """An account whose limits are in nobody's way."""
    from headway.limits.limits import Window
    from headway.platforms.catalog_reader import LimitEntry, Tier

    made = account("hubspot", base_url=mock.url, token="pat-na1-storm")
    entry = LimitEntry("window", "rolling window", 100_000, "credential", per=1.0)
    made.tier = Tier("none", "none", (entry,), "", "", True)
    assert isinstance(made.limits[0], Window)
    return made


def test_rejected_credentials_end_it_before_the_source_is_burned(contacts):
    with serve(MockConfig(only_known=True)) as mock:
        with pytest.raises(CredentialsError) as caught:
            sync(contacts(1000), mock).start()
        assert caught.value.exit_code == 4
        assert mock.stats()["requests"] == 1


def test_credentials_that_end_in_the_middle_leave_a_run_to_resume(mock, contacts):
    rule = Fault("status", status=401, path="*/batch/*", skip=3)
    mock.mock.faults.add(rule)
    report = sync(contacts(3000), mock).start()
    assert (report.state, report.exit_code) == ("failed", 4)
    assert report.dead == 0
    assert report.delivered == 300
    mock.mock.faults.rules.clear()
    report = resume().start()
    assert (report.state, report.delivered) == ("done", 3000)


def test_the_quota_of_the_day_pauses_the_run_and_it_goes_on_the_next_day(contacts, monkeypatch):
    with serve(MockConfig(daily=12)) as mock:
        report = sync(contacts(2000), mock).start()
        assert (report.state, report.exit_code) == ("paused", 5)
        assert report.until is not None
        assert "daily" in report.reason
        assert report.delivered == 1000
        assert mock.stats()["rate_limited"] <= 1


def test_a_day_that_leaves_no_call_even_for_the_schema_leaves_a_run_to_resume(contacts):
    with serve(MockConfig(daily=1)) as mock:
        report = sync(contacts(200), mock).start()
        assert (report.state, report.exit_code, report.read) == ("paused", 5, 0)
        assert "daily" in report.reason
        assert mock.stats()["rate_limited"] <= 1
        assert resume(report.run).start().state == "paused"
        assert mock.stats()["rate_limited"] <= 1


def test_a_destination_that_cannot_be_reached_is_said_so(contacts):
    with serve(MockConfig()) as mock:
        pass
    with pytest.raises(TransportError, match="Cannot connect") as caught:
        sync(contacts(200), mock).start()
    assert caught.value.exit_code == 5


def test_stop_finishes_what_is_in_flight_and_resume_does_the_rest(contacts):
    with serve(MockConfig(latency=0.1)) as mock:
        run = sync(contacts(5000), mock, observer=lambda event: isinstance(event, RecordsFinished) and run.stop())
        report = run.start()
        assert (report.state, report.exit_code) == ("interrupted", 130)
        assert 0 < report.pending < 5000
        assert stored(mock) == report.delivered
        report = resume(report.run).start()
        assert (report.state, report.delivered) == ("done", 5000)
        assert mock.stats()["written_more_than_once"]["contacts"] == 0


def test_a_run_that_somebody_works_on_is_refused(mock, contacts):
    report = sync(contacts(300), mock, max_dead=0, check=False, limit=100).start()
    store = open_store(STORE)
    other = sqlite3.connect(STORE)
    try:
        other.execute("UPDATE run SET state = 'paused', pending = 1, delivered = delivered - 1")
        other.commit()
        lock = store.lock_run(report.run)
        with pytest.raises(RunLocked, match="is being worked on by process"):
            resume(report.run).start()
        lock.release()
    finally:
        other.close()
        store.close()


def test_dead_letters_are_replayed_in_a_run_of_their_own(mock, contacts):
    mock.mock.batches.poisons.append(Poison("firstname", "poison", names=True))
    report = sync(contacts(300, lambda n, row: [row[0], "poison", row[2]] if n % 100 == 5 else row), mock).start()
    assert (report.delivered, report.dead) == (297, 3)
    mock.mock.batches.poisons.clear()
    again = replay_dead(DeadFilter(run=report.run), rate=100).start()
    assert (again.state, again.delivered) == ("done", 3)
    assert stored(mock) == 300
    assert letters(report.run) == []
    assert replay_dead().start().read == 0


@pytest.mark.parametrize(
    ("content", "options", "error", "message"),
    [
        ("name\nx\n", {}, MappingError, "--key email: .* has no column of that name"),
        ("e_mail\nx\n", {}, MappingError, "did you mean e_mail"),
        ("", {}, SourceError, "empty"),
        ("email\na@b.co\n", {"destination": "hubspot"}, UsageError, "write PLATFORM:OBJECT"),
        ("email\na@b.co\n", {"destination": "hubspto:contacts"}, UsageError, "did you mean 'hubspot'"),
        ("email\na@b.co\n", {"destination": "hubspot/portal-9:contacts"}, UsageError, "portal-9"),
        ("email\na@b.co\n", {"tier": "profesional"}, UsageError, "did you mean 'professional'"),
        ("email\na@b.co\n", {"mode": "merge"}, UsageError, "unknown mode 'merge'"),
        ("email\na@b.co\n", {"max_dead": 3}, UsageError, "--max-dead"),
        ("email\na@b.co\n", {"blank": "skip"}, UsageError, "--blank is keep or clear"),
    ],
)
def test_bad_input_is_one_clear_line_and_nothing_is_sent(mock, content, options, error, message):
    Path("x.csv").write_text(content)
    options = dict(options)
    destination = options.pop("destination", "hubspot:contacts")
    with pytest.raises(error, match=message) as caught:
        Sync("x.csv", destination, **({"key": "email", "base_url": mock.url} | options)).start()
    assert "\n" not in str(caught.value)
    assert mock.stats()["requests"] == 0


def test_missing_credentials_name_the_variable(mock, contacts, monkeypatch):
    monkeypatch.delenv("HUBSPOT_TOKEN")
    with pytest.raises(UsageError, match="set the environment variable HUBSPOT_TOKEN"):
        sync(contacts(1), mock).start()


def test_a_header_without_rows_is_a_run_without_records(mock):
    Path("x.csv").write_text("email,firstname\n")
    events = []
    report = sync("x.csv", mock, observer=events.append).start()
    assert (report.state, report.read, report.exit_code) == ("done", 0, 0)
    assert any(isinstance(event, Note) for event in events)


def test_rows_of_python_travel_as_they_are(mock):
    rows = [{"email": f"ada{n}@example.com", "firstname": None, "lastname": "L"} for n in range(250)]
    report = sync(rows, mock, limit=120).start()
    assert (report.read, report.delivered) == (120, 120)


def test_a_token_never_stands_in_a_store_or_an_error(mock, contacts, monkeypatch):
    monkeypatch.setenv("HUBSPOT_TOKEN", "pat-na1-verysecret")
    sync(contacts(10), mock).start()
    for file in Path().rglob("*"):
        if file.is_file():
            assert b"verysecret" not in file.read_bytes(), file


def test_runs_in_the_callers_own_event_loop(mock, contacts):
    import asyncio

    async def main():
        run = sync(contacts(200), mock)
        assert (await run.aplan()).requests == 2
        return await run.astart()

    assert asyncio.run(main()).delivered == 200


def test_an_account_may_be_given_instead_of_a_name(mock, contacts):
    portal = account("hubspot", base_url=mock.url, token="pat-na1-other", share="50%")
    report = Sync(contacts(100), portal["contacts"], key="email").start()
    assert report.delivered == 100
    assert portal.identity is not None
    assert portal.limiter.snapshot()[0].amount == 50
    portal.close()
