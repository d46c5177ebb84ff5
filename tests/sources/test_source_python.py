"""Rows of Python, standard input, pipes and files that are none: the same contract."""

import datetime as dt
import io
import os
import stat
import threading
import uuid
from decimal import Decimal
from pathlib import Path

import pytest

from headway import sources
from headway.errors import SourceError, UsageError
from headway.sources.model import BAD_VALUE, UNKNOWN_COLUMN


def flat(batches):
    every = list(batches)
    return [row for each in every for row in each.rows], [bad for each in every for bad in each.bad]


def write(tmp_path, content, name):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# Python rows


def test_rows_of_python_become_values_that_json_has():
    row = {
        "s": "x", "d": dt.date(2024, 2, 29), "t": dt.datetime(2024, 2, 29, 12, tzinfo=dt.UTC), "n": Decimal("1.50"),
        "u": uuid.UUID(int=1), "b": b"\x00", "l": (1, Decimal(2)), "nan": float("nan"), "big": 2**80,
        "delta": dt.timedelta(minutes=1, milliseconds=500),
    }  # fmt: skip
    rows, bad = flat(sources.open([row]).batches())
    assert bad == []
    assert rows == [(1, {
        "s": "x", "d": "2024-02-29", "t": "2024-02-29T12:00:00+00:00", "n": "1.50",
        "u": "00000000-0000-0000-0000-000000000001", "b": "AA==", "l": [1, "2"], "nan": None, "big": 2**80,
        "delta": "PT60.5S",
    })]  # fmt: skip


def test_the_columns_of_a_list_are_those_of_all_rows_and_it_can_be_read_on():
    source = sources.open([{"a": number} for number in range(5000)] + [{"b": 1}])
    whole = list(source.batches())
    assert (source.columns, source.resumable) == (("a", "b"), False)
    assert flat(source.batches(whole[0].position)) == flat(whole[1:])


def test_a_generator_is_read_once_and_not_collected():
    alive = []

    def rows():
        for number in range(10_000):
            alive.append(number)
            yield {"a": number} if number != 9_000 else {"a": number, "late": 1}

    source = sources.open(rows())
    assert len(alive) <= 2_001
    found, bad = flat(source.batches())
    assert len(found) == 9_999
    assert [(each.line, each.code) for each in bad] == [(9_001, UNKNOWN_COLUMN)]
    assert "the key 'late'" in bad[0].message
    with pytest.raises(SourceError, match="read only once"):
        next(source.batches())


def test_rows_that_json_cannot_carry_are_bad_lines():
    good = {"a": 1}
    rows, bad = flat(sources.open([good, "x", {"a": object()}, {1: 2}, {"a": float("inf")}, good]).batches())
    assert [row.line for row in rows] == [1, 6]
    assert [(each.line, each.code) for each in bad] == [(line, BAD_VALUE) for line in (2, 3, 4, 5)]
    assert "column 'a': a value of type object" in bad[1].message


@pytest.mark.parametrize(
    ("spec", "message"), [(5, "not int"), ({"a": 1}, "not dicts but str"), ([1, 2], "not dicts but int")]
)
def test_what_is_no_iterable_of_dicts_is_refused(spec, message):
    with pytest.raises(UsageError, match=message):
        sources.open(spec)


def test_an_asynchronous_iterable_is_refused():
    async def rows():
        yield {"a": 1}

    with pytest.raises(UsageError, match="asynchronous"):
        sources.open(rows())


def test_no_rows_at_all_are_said():
    source = sources.open([])
    assert (source.notes, list(source.batches())) == (("the source has no rows: there is nothing to send",), [])


# Files, standard input, pipes


def test_standard_input_is_kept_so_that_it_can_be_read_again(tmp_path):
    spool = tmp_path / "new" / "spool"
    source = sources.open("-", spool=spool, stdin=io.BytesIO(b"a,b\n1,2\n3,4\n"))
    assert source.describe == "standard input (CSV, utf-8, delimiter ',')"
    again = sources.open(source.reopen)
    assert again.fingerprint == source.fingerprint
    assert flat(again.batches()) == flat(source.batches())
    assert stat.S_IMODE(Path(source.reopen).stat().st_mode) == 0o600
    assert sources.open("-", spool=spool, stdin=io.BytesIO(b'{"a": 1}\n')).columns == ("a",)


def test_standard_input_that_is_no_source_leaves_nothing_behind(tmp_path):
    with pytest.raises(SourceError, match="standard input: is empty"):
        sources.open("-", spool=tmp_path, stdin=io.BytesIO(b""))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageError, match="can be read only once"):
        sources.open("-", stdin=io.BytesIO(b"a,b\n"))


def test_a_pipe_is_kept_as_well(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"a,b\n1,2\n",))
    writer.start()
    source = sources.open(pipe, spool=tmp_path / "spool")
    writer.join()
    assert flat(source.batches())[0] == [(2, {"a": "1", "b": "2"})]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04rest", "an Excel workbook or a zip archive: save the sheet as CSV"),
        (b"SQLite format 3\0rest", "name it as sqlite:///file.db"),
        (b"\x28\xb5\x2f\xfdrest", "packed with zstd"),
        (b"\x1f\x8brest of a gzip file", "is damaged|ends in the middle"),
    ],
)
def test_files_of_other_programs_are_named(tmp_path, content, message):
    with pytest.raises(SourceError, match=message):
        sources.open(write(tmp_path, content, "c.csv"))


def test_what_cannot_be_opened_is_said(tmp_path):
    with pytest.raises(SourceError, match=r"none.csv: no such file"):
        sources.open(tmp_path / "none.csv")
    with pytest.raises(SourceError, match="is a directory"):
        sources.open(tmp_path)
    with pytest.raises(UsageError, match="--query does not apply to a file"):
        sources.open(write(tmp_path, "a,b\n", "c.csv"), query="SELECT 1")
    with pytest.raises(UsageError, match="--encoding does not apply to Python rows"):
        sources.open([], encoding="utf-8")
