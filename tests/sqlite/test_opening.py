import multiprocessing
import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing

import pytest

from headway.errors import StateVersionError, UsageError
from headway.sqlite import process
from headway.sqlite.opening import Schema, immediate, open_database
from headway.sqlite.queries import read_queries

FIRST = "-- one\nCREATE TABLE colour (name TEXT NOT NULL);\nINSERT INTO colour VALUES ('red; green');\n"
SECOND = "ALTER TABLE colour ADD COLUMN shade TEXT NOT NULL DEFAULT 'dark';\n-- the end\n"


@pytest.fixture
def schema(tmp_path):
    return make_schema(tmp_path / "migrations", FIRST)


def make_schema(directory, *steps, name="colours", application_id=0x11223344):
    directory.mkdir(exist_ok=True)
    for number, sql in enumerate(steps, 1):
        (directory / f"{number:04}_step.sql").write_text(sql)
    return Schema(name, directory, application_id)


def test_a_new_file_and_its_log_are_readable_by_the_owner_only(tmp_path, schema):
    file = tmp_path / "deep" / "down" / "colours.db"
    old = os.umask(0)
    try:
        with closing(open_database(file, schema)) as conn:
            conn.execute("INSERT INTO colour VALUES ('blue')")
            modes = {f.name: stat.S_IMODE(f.stat().st_mode) for f in file.parent.iterdir()}
    finally:
        os.umask(old)
    assert modes == {"colours.db": 0o600, "colours.db-wal": 0o600, "colours.db-shm": 0o600}
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_a_file_that_others_could_read_is_tightened(tmp_path, schema):
    file = tmp_path / "colours.db"
    open_database(file, schema).close()
    file.chmod(0o644)
    open_database(file, schema).close()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(("durability", "level"), [("normal", 1), ("full", 2)])
def test_durability_is_sqlites_synchronous_and_the_log_is_written_ahead(tmp_path, schema, durability, level):
    with closing(open_database(tmp_path / "c.db", schema, durability=durability)) as conn:
        assert conn.execute("PRAGMA synchronous").fetchone() == (level,)
        assert conn.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert conn.execute("PRAGMA foreign_keys").fetchone() == (1,)


def test_a_missing_file_is_refused_where_one_only_looks(tmp_path, schema):
    with pytest.raises(UsageError, match=r"there is no file .*c\.db with colours"):
        open_database(tmp_path / "c.db", schema, create=False)
    assert not (tmp_path / "c.db").exists()
    open_database(tmp_path / "c.db", schema).close()
    open_database(tmp_path / "c.db", schema, create=False).close()


def test_a_file_that_cannot_be_written_is_one_clear_line(tmp_path, schema):
    with closing(open_database(tmp_path / "c.db", schema)) as conn:
        conn.execute("PRAGMA query_only=ON")
        with pytest.raises(UsageError, match=r"c\.db cannot be written"):
            insert_within_a_transaction(conn, 1)


def test_an_old_sqlite_is_refused(tmp_path, schema, monkeypatch):
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 31, 1))
    with pytest.raises(UsageError, match=r"needs 3\.37"):
        open_database(tmp_path / "c.db", schema)


def test_an_unknown_durability_is_refused(tmp_path, schema):
    with pytest.raises(UsageError, match="choose normal or full"):
        open_database(tmp_path / "c.db", schema, durability="maximal")


def test_a_file_of_an_older_version_is_brought_forward(tmp_path, schema):
    file = tmp_path / "c.db"
    open_database(file, schema).close()
    newer = make_schema(tmp_path / "migrations", FIRST, SECOND)
    with closing(open_database(file, newer)) as conn:
        assert conn.execute("SELECT * FROM colour").fetchall() == [("red; green", "dark")]
        assert conn.execute("PRAGMA user_version").fetchone() == (2,)


def test_a_migration_that_fails_leaves_the_file_as_it_was(tmp_path, schema):
    file = tmp_path / "c.db"
    open_database(file, schema).close()
    broken = make_schema(tmp_path / "broken", FIRST, "CREATE TABLE shape (name);\nCREATE TABLE colour (name);")
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        open_database(file, broken)
    with closing(open_database(file, schema)) as conn:
        assert conn.execute("PRAGMA user_version").fetchone() == (1,)
        assert conn.execute("SELECT name FROM sqlite_master").fetchall() == [("colour",)]


def test_a_file_of_a_newer_version_is_refused_and_left_alone(tmp_path, schema):
    file = tmp_path / "c.db"
    open_database(file, make_schema(tmp_path / "newer", FIRST, SECOND)).close()
    before = file.read_bytes()
    with pytest.raises(StateVersionError, match=r"c\.db was written by a newer Headway .*version 2, this one knows 1"):
        open_database(file, schema)
    assert file.read_bytes() == before


def test_a_file_of_another_kind_is_refused_and_left_alone(tmp_path, schema):
    text = tmp_path / "contacts.csv"
    text.write_text("email\n" * 1000)
    text.chmod(0o644)
    with pytest.raises(UsageError, match=r"contacts\.csv is not an SQLite database"):
        open_database(text, schema)
    assert stat.S_IMODE(text.stat().st_mode) == 0o644

    plain = tmp_path / "plain.db"
    with closing(sqlite3.connect(plain)) as conn:
        conn.execute("CREATE TABLE x (y)")
    with pytest.raises(UsageError, match="tables of its own"):
        open_database(plain, schema)

    other = tmp_path / "other.db"
    open_database(other, make_schema(tmp_path / "other", FIRST, application_id=7)).close()
    with pytest.raises(UsageError, match="another program's"):
        open_database(other, schema)


def test_a_directory_and_a_path_below_a_file_are_refused(tmp_path, schema):
    with pytest.raises(UsageError, match="is a directory"):
        open_database(tmp_path, schema)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot create"):
        open_database(tmp_path / "file" / "c.db", schema)


def test_a_damaged_file_is_named(tmp_path, schema):
    file = tmp_path / "c.db"
    with closing(open_database(file, schema)) as conn:
        conn.executemany("INSERT INTO colour VALUES (?)", [("x" * 500,) for _ in range(500)])
    raw = bytearray(file.read_bytes())
    raw[4096:] = b"\xff" * (len(raw) - 4096)
    file.write_bytes(raw)
    with closing(open_database(file, schema)) as conn, pytest.raises(UsageError, match=r"c\.db is damaged"):
        count_within_a_transaction(conn)


def count_within_a_transaction(conn):
    with immediate(conn):
        conn.execute("SELECT count(*) FROM colour WHERE name > ''").fetchall()


def test_a_full_disk_is_one_clear_line_and_rolls_back(tmp_path, schema):
    with closing(open_database(tmp_path / "c.db", schema)) as conn:
        conn.execute("PRAGMA max_page_count=10")
        with pytest.raises(UsageError, match=r"c\.db cannot grow, the disk is full"):
            insert_within_a_transaction(conn, 1000)
        assert conn.execute("SELECT count(*) FROM colour").fetchone() == (1,)


def insert_within_a_transaction(conn, rows):
    with immediate(conn):
        for _ in range(rows):
            conn.execute("INSERT INTO colour VALUES (?)", ("x" * 1000,))


def test_a_body_that_raises_rolls_back(tmp_path, schema):
    with closing(open_database(tmp_path / "c.db", schema)) as conn:
        with pytest.raises(KeyError):
            delete_and_raise(conn)
        assert conn.execute("SELECT count(*) FROM colour").fetchone() == (1,)
        assert not conn.in_transaction


def delete_and_raise(conn):
    with immediate(conn):
        conn.execute("DELETE FROM colour")
        raise KeyError


def test_a_lock_that_does_not_go_away_is_one_clear_line(tmp_path, schema):
    file = tmp_path / "c.db"
    with closing(open_database(file, schema)) as one, closing(open_database(file, schema, busy_timeout=0.01)) as two:
        one.execute("BEGIN IMMEDIATE")
        with pytest.raises(UsageError, match="locked by another process"):
            insert_within_a_transaction(two, 1)
        one.execute("ROLLBACK")


def _open(file, directory, results):
    with closing(open_database(file, Schema("colours", directory, 0x11223344))) as conn:
        results.put(conn.execute("SELECT count(*) FROM colour").fetchone()[0])


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # Python 3.12 warns of threads of other tests
def test_processes_that_open_a_new_file_at_once_migrate_it_once(tmp_path, schema):
    make_schema(tmp_path / "migrations", FIRST, SECOND)
    spawn = multiprocessing.get_context("fork")
    for attempt in range(5):
        results = spawn.SimpleQueue()
        file = tmp_path / f"{attempt}.db"
        workers = [spawn.Process(target=_open, args=(file, schema.migrations, results)) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(20)
        assert [worker.exitcode for worker in workers] == [0] * 4
        assert [results.get() for _ in workers] == [1] * 4
        results.close()


def test_a_process_is_alive_until_it_ends_even_as_a_zombie():
    me = process.identity()
    assert me.pid == os.getpid()
    assert process.alive(*me)
    code = "from headway.sqlite.process import identity; print(*identity(), flush=True); input()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with child:
        pid, start = child.stdout.readline().split()
        assert process.alive(int(pid), start)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, and not yet reaped
        assert not process.alive(int(pid), start)
    assert not process.alive(int(pid), start)


def test_a_number_that_was_given_to_another_process_is_not_the_old_one():
    pid, start = process.identity()
    world, _, began = start.rpartition("/")
    assert not process.alive(pid, f"{world}/{int(began) - 1}")
    assert not process.alive(pid, "another-boot/1/2")
    assert not process.alive(0, "")


def test_without_proc_a_process_is_known_by_ps(monkeypatch):
    began = process._began_by_ps(os.getpid())
    if began is None:
        pytest.skip("no /bin/ps here")
    assert began == process._began_by_ps(os.getpid())
    assert process._began_by_ps(2**22 + 1) == ""


def test_queries_have_names_and_descriptions(tmp_path):
    file = tmp_path / "q.sql"
    file.write_text(
        "-- About.\n\n-- name: one\n-- The first.\nSELECT 1;\n\n-- name: two\n-- More.\n-- Lines.\nSELECT 2\n"
    )
    assert read_queries(file) == {"one": "SELECT 1", "two": "SELECT 2"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("-- name: one\nSELECT 1;", "no description"),
        ("-- name: one\n-- x\nSELECT 1;\n-- name: one\n-- x\nSELECT 2;", "two queries"),
        ("SELECT 1;", "before the first name"),
        ("-- name: one\n-- x\n", "is empty"),
    ],
)
def test_a_query_file_that_says_too_little_is_refused(tmp_path, text, complaint):
    file = tmp_path / "q.sql"
    file.write_text(text)
    with pytest.raises(ValueError, match=complaint):
        read_queries(file)
