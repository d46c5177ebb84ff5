"""What only a SQLite store must do: its files, its plans of queries, its processes, a full disk."""

import multiprocessing
import os
import shutil
import signal
import sqlite3
import stat
import time
from contextlib import closing
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest

from headway.errors import LedgerError, RunLocked, StateVersionError, UsageError
from headway.sqlite.opening import open_database
from headway.stores.model import Done, Ledger, Loaded, RunConfig
from headway.stores.opening import open_store
from headway.stores.sqlite import database
from headway.stores.sqlite.store import SqliteStore
from tests.stores.acting import CONTACTS, bad, die, keys, loaded, rows, settle
from tests.stores.contract import StoreContract

FORK = multiprocessing.get_context("fork")
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*fork.*:DeprecationWarning"
)  # Python 3.12 warns of threads of other tests


class TestSqliteStore(StoreContract):
    pass


# Opening


@pytest.mark.parametrize("form", ["{}", "sqlite:///{}", Path])
def test_a_store_is_named_by_path_or_url(tmp_path, form):
    file = tmp_path / ".headway" / "records.db"
    url = form(file) if form is Path else form.format(file)
    with closing(open_store(url, durability="full")) as store:
        loaded(store, "a")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_a_relative_url_is_relative_to_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    open_store("sqlite:///here.db").close()
    assert (tmp_path / "here.db").exists()


@pytest.mark.parametrize("url", ["mysql://host/db", "sqlite://", "sqlite:///", "sqlite://records.db", ""])
def test_a_store_of_no_known_kind_is_a_usage_error(url):
    with pytest.raises(UsageError, match="sqlite:///"):
        open_store(url)


def test_closing_twice_is_harmless(tmp_path):
    store = open_store(tmp_path / "r.db")
    store.close()
    store.close()


def future(tmp_path, *more):
    """The schema of a Headway that has more migrations than this one."""
    directory = tmp_path / "migrations"
    shutil.copytree(str(database.SCHEMA.migrations), directory)
    number = len(database.SCHEMA.steps())
    for sql in more:
        number += 1
        (directory / f"{number:04}_later.sql").write_text(sql)
    return replace(database.SCHEMA, migrations=directory)


def test_a_file_of_this_version_survives_a_later_migration(tmp_path, monkeypatch):
    file = tmp_path / "r.db"
    with closing(open_store(file)) as store:
        run = loaded(store, "a", "b")
        settle(store, run, store.claim(run, limit=1), die)
    monkeypatch.setattr(database, "SCHEMA", future(tmp_path, "ALTER TABLE record ADD COLUMN colour TEXT;"))
    with closing(open_store(file)) as store:
        assert store.audit(run) == Ledger(read=2, dead=1, pending=1)
        assert keys(store.claim(run)) == ["b"]
        assert [letter.key for letter in store.dead()] == ["a"]


def test_a_file_of_a_newer_version_is_refused_by_name_and_version(tmp_path):
    file = tmp_path / "r.db"
    number = len(database.SCHEMA.steps())
    open_database(file, future(tmp_path, "CREATE TABLE later (x);")).close()
    with pytest.raises(StateVersionError, match=rf"r\.db .*records of version {number + 1}, this one knows {number}"):
        open_store(file)


# Plans

MAY_SORT = {
    "loading.key_first": "the keys of a run, once",
    "loading.key_last": "the keys of a run, once",
    "letters.attempts": "the attempts of one page of letters",
}
MAY_SCAN = {
    "run": "there are few runs",
    "r USING INDEX record_letter": "the index holds nothing but open dead letters",
    "json_each": "the ids of one batch",
    "each": "the ids of one batch",
    "lineage": "the ids of one page and what they are replays of",
}


def every_query():
    for file in sorted((resources.files("headway.stores.sqlite") / "sql").iterdir(), key=lambda f: f.name):
        stem = file.name.removesuffix(".sql")
        for name, sql in database.queries(stem).items():
            yield f"{stem}.{name}", sql


EVERY_QUERY = list(every_query())


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    with closing(open_database(tmp_path_factory.mktemp("plan") / "r.db", database.SCHEMA)) as conn:
        yield conn


def plan(conn, sql):
    try:
        count = sql.count("?")
        rows_ = conn.execute(f"EXPLAIN QUERY PLAN {sql}", [None] * count if count else Names()).fetchall()
    finally:
        conn.rollback()
    return [row[3] for row in rows_]


class Names(dict):
    def __missing__(self, key):
        return None


@pytest.mark.parametrize(("name", "sql"), EVERY_QUERY, ids=[name for name, _ in EVERY_QUERY])
def test_no_query_sorts_or_reads_a_whole_table(planned, name, sql):
    steps = plan(planned, sql)
    sorts = [step for step in steps if "TEMP B-TREE" in step]
    scans = [step.removeprefix("SCAN ") for step in steps if step.startswith("SCAN ")]
    assert not sorts or name in MAY_SORT
    assert [scan for scan in scans if not any(scan == s or scan.startswith(f"{s} ") for s in MAY_SCAN)] == []


def test_claims_walk_the_index_that_was_made_for_them(planned):
    queries = database.queries("claims")
    for name, index in [
        ("due_head", "record_due (run=? AND not_before>? AND not_before<?)"),
        ("next_due", "record_due (run=? AND not_before>?)"),
        ("fresh_head", "record_fresh (run=?)"),
        ("due", "record_due_together (run=? AND grp=? AND part=? AND not_before>? AND not_before<?)"),
        ("fresh", "record_fresh (run=? AND grp=?)"),
    ]:
        assert any(index in step for step in plan(planned, queries[name])), plan(planned, queries[name])


# Trouble


def test_a_full_disk_is_one_clear_line_and_loses_nothing(tmp_path):
    with closing(open_store(tmp_path / "r.db")) as store:
        run = store.create_run(CONTACTS)
        store.load(run, rows("a", "b"), [], "p1")
        limit = store._conn.execute("PRAGMA page_count").fetchone()[0] + 4
        store._conn.execute(f"PRAGMA max_page_count={limit}")
        with pytest.raises(UsageError, match=r"r\.db cannot grow, the disk is full: nothing was lost"):
            store.load(run, [Loaded(str(n), b"x" * 1000, n) for n in range(1000)], [], "p2")
        assert store.run(run).position == "p1"
        assert store.audit(run) == Ledger(read=2, pending=2)
        store._conn.execute("PRAGMA max_page_count=1000000")
        store.load(run, [Loaded(str(n), b"x" * 1000, n) for n in range(1000)], [bad(1002)], "p2")
        store.finish_load(run)
        assert store.audit(run) == Ledger(read=1003, dead=1, pending=1002)


def test_books_that_do_not_agree_with_the_records_are_an_internal_error(tmp_path):
    with closing(open_store(tmp_path / "r.db")) as store:
        run = loaded(store, "a", "b")
        store._conn.execute("UPDATE record SET state = 2 WHERE id = 1")
        with pytest.raises(LedgerError, match=f"books of run {run} .* do not balance"):
            store.audit(run)
        with pytest.raises(sqlite3.IntegrityError):
            store._conn.execute("UPDATE run SET delivered = 1")


# Processes


def test_a_holder_on_another_machine_is_believed_until_it_is_silent(world):
    here, there = world.open(1), world.open(2)
    there._host = "elsewhere"
    run = loaded(here, "a")
    lock = there.lock_run(run)
    there.claim(run, lease=600)
    world.kill(2)  # a number of another machine means nothing here
    world.now += 50
    lock.heartbeat()
    world.now += 60
    with pytest.raises(RunLocked, match="process 2 on elsewhere"):
        here.lock_run(run)
    assert here.recover(run, unknown_is_dead=False).count == 0
    world.now += 1
    here.lock_run(run)
    with pytest.raises(RunLocked, match="taken over"):
        lock.heartbeat()


def deliver_all(file, run, barrier, results):
    with closing(open_store(file)) as store:
        barrier.wait(20)
        sent = []
        while claim := store.claim(run, limit=7):
            if not sent:
                barrier.wait(20)  # nobody goes on before the other has claimed as well
            sent += keys(claim)
            store.finish(run, claim, [Done(record.id) for record in claim.records])
        results.put(sent)


def test_two_processes_that_claim_at_once_never_get_the_same_record(tmp_path):
    file = tmp_path / "r.db"
    with closing(open_store(file)) as store:
        run = loaded(store, *(f"k{n}" for n in range(3000)))
    barrier, results = FORK.Barrier(2), FORK.SimpleQueue()
    workers = [FORK.Process(target=deliver_all, args=(file, run, barrier, results)) for _ in range(2)]
    for worker in workers:
        worker.start()
    shares = [results.get() for _ in workers]
    for worker in workers:
        worker.join(20)
    results.close()
    assert all(shares)
    assert sorted(shares[0] + shares[1]) == sorted(f"k{n}" for n in range(3000))
    with closing(open_store(file)) as store:
        assert store.audit(run) == Ledger(read=3000, delivered=3000)


def work_until_killed(file, run, journal):
    """Send (write into a journal that survives) and finish, for as long as there is time."""
    with closing(open_store(file)) as store, journal.open("ab", buffering=0) as sent:
        while claim := store.claim(run, limit=10):
            sent.write("".join(f"{record.key}\n" for record in claim.records).encode())
            store.finish(run, claim, [Done(record.id) for record in claim.records])
        time.sleep(60)


def test_kill_9_loses_nothing_and_repeats_what_was_in_flight_at_most(tmp_path):
    file, journal = tmp_path / "r.db", tmp_path / "journal"
    journal.touch()
    total = 20_000
    with closing(open_store(file)) as store:
        run = loaded(store, *(f"k{n}" for n in range(total)))
    kills = 8
    for round_ in range(1, kills + 1):
        worker = FORK.Process(target=work_until_killed, args=(file, run, journal))
        worker.start()
        while journal.stat().st_size < round_ * 9_000 and worker.is_alive():
            time.sleep(0.0007)
        os.kill(worker.pid, signal.SIGKILL)
        worker.join(20)
        with closing(open_store(file)) as store:
            assert store.recover(run, unknown_is_dead=False).count <= 10
            assert store.audit(run).read == total
    with closing(open_store(file)) as store:
        assert 0 < store.ledger(run).delivered < total
        again = []
        while claim := store.claim(run):
            again += keys(claim)
            store.finish(run, claim, [Done(record.id) for record in claim.records])
        assert store.audit(run) == Ledger(read=total, delivered=total)
    sent = journal.read_text().split() + again
    assert set(sent) == {f"k{n}" for n in range(total)}
    assert len(sent) - total <= kills * 10


def load_until_killed(file, run, start, began):
    with closing(open_store(file)) as store:
        for line in range(start, 10_000_000, 50):
            store.load(run, rows(*(f"k{n}" for n in range(line, line + 50)), first=line), [], str(line + 50))
            if line - start > 300:
                began.set()


def test_kill_9_while_loading_leaves_rows_and_position_in_step(tmp_path):
    file = tmp_path / "r.db"
    with closing(open_store(file)) as store:
        run = store.create_run(RunConfig("contacts.csv", "hubspot:contacts"))
    start = 0
    for _ in range(4):
        began = FORK.Event()
        worker = FORK.Process(target=load_until_killed, args=(file, run, start, began))
        worker.start()
        assert began.wait(20)
        os.kill(worker.pid, signal.SIGKILL)
        worker.join(20)
        with closing(SqliteStore(file)) as store:
            assert store.ledger(run).read == int(store.run(run).position)
            start = int(store.run(run).position)
    with closing(open_store(file)) as store:
        assert store.finish_load(run).skipped == 0
        assert store.audit(run) == Ledger(read=start, pending=start)
