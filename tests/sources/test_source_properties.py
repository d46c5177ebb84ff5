"""Whatever a csv.writer writes is read back exactly, in any dialect and encoding, from any position."""

import csv
import io
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from headway import sources
from headway.sources import blocks

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
CP1252 = st.text(st.characters(codec="cp1252", exclude_characters="\0"), max_size=12)
AWKWARD = st.text(st.sampled_from(list("ab,;\t|\"'\\\r\n é€\u2028\x85\x0c=")), max_size=8)
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"]


@contextmanager
def small_blocks(lines, chunk):
    """Few lines a block and few bytes a read, so that small files have many seams."""
    with (
        mock.patch.object(blocks, "LINES", lines),
        mock.patch.object(blocks, "CHUNK", chunk),
        mock.patch("headway.sources.delimited.LINES", lines),
    ):
        yield


def flat(batches):
    """All rows and all bad lines."""
    every = list(batches)
    return [row for each in every for row in each.rows], [bad for each in every for bad in each.bad]


@st.composite
def tables(draw, encoding):
    width = draw(st.integers(2, 4))
    cell = AWKWARD.filter(lambda text: encoding != "cp1252" or text.isascii()) | (
        CP1252 if encoding == "cp1252" else TEXT
    )
    return draw(st.lists(st.lists(cell, min_size=width, max_size=width), max_size=10)), width


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_what_csv_writer_writes_is_read_back_exactly_from_any_position(data):
    encoding = data.draw(st.sampled_from(ENCODINGS))
    delimiter = data.draw(st.sampled_from([",", ";", "\t", "|"]))
    # Python 3.11 does not quote a lone \r when lines end with \n: such a file would be wrong, not its reading.
    end, quoting = data.draw(st.sampled_from([("\r\n", csv.QUOTE_MINIMAL), ("\n", csv.QUOTE_ALL)]))
    table, width = data.draw(tables(encoding))
    names = [f"col{number}" for number in range(width)]
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter=delimiter, lineterminator=end, quoting=quoting)
    writer.writerows([names, *table])
    named = None if encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32") else encoding
    with TemporaryDirectory() as folder, small_blocks(data.draw(st.integers(1, 5)), data.draw(st.integers(4, 64))):
        path = Path(folder) / "t.csv"
        path.write_bytes(buffer.getvalue().encode(encoding))
        source = sources.open(path, encoding=named, delimiter=delimiter)
        batches = list(source.batches())
        assert [list(row.values.values()) for batch in batches for row in batch.rows] == table
        assert [bad for batch in batches for bad in batch.bad] == []
        lines = buffer.getvalue().replace("\r\n", "\n").replace("\r", "\n").split("\n")
        for row in (row for batch in batches for row in batch.rows):
            first = next(iter(row.values.values())).replace("\r\n", "\n").replace("\r", "\n").split("\n")[0]
            assert first.replace('"', '""') in lines[row.line - 1]
        for index, batch in enumerate(batches):
            rest = list(sources.open(path, encoding=named, delimiter=delimiter).batches(batch.position))
            assert flat(rest) == flat(batches[index + 1 :])


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_any_bytes_below_a_header_give_every_line_once_and_resume_exactly(data):
    line = st.binary(max_size=12) | st.sampled_from(
        [b'a,"b', b'"a",b', b'a"b,c', b"a,b", b'"a', b'a,"b"', b'"', b"\xff,1", b"a,b,c"]
    )
    body = b"\n".join(data.draw(st.lists(line, max_size=9)))
    with TemporaryDirectory() as folder, small_blocks(data.draw(st.integers(1, 5)), data.draw(st.integers(4, 64))):
        path = Path(folder) / "t.csv"
        # Enough sound rows that neither dialect nor encoding is in doubt: what follows is the rows' own fault.
        path.write_bytes(b"left,right\n" + "é,2\n".encode() * 40 + body)
        source = sources.open(path)
        batches = list(source.batches())
        seen = [
            each.line for batch in batches for each in sorted([*batch.rows, *batch.bad], key=lambda each: each.line)
        ]
        assert seen == sorted(set(seen))
        assert len([1 for batch in batches for row in batch.rows if row.line <= 41]) == 40
        for index, batch in list(enumerate(batches))[-8:]:
            assert flat(source.batches(batch.position)) == flat(batches[index + 1 :])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.dictionaries(TEXT, JSON, min_size=1, max_size=4), min_size=1, max_size=20), st.integers(1, 5))
def test_json_lines_come_back_as_they_were_from_any_position(rows, lines):
    with TemporaryDirectory() as folder, small_blocks(lines, 32):
        path = Path(folder) / "t.jsonl"
        path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
        source = sources.open(path)
        assert set(source.columns) == {name for row in rows for name in row}
        batches = list(source.batches())
        assert [row for batch in batches for row in batch.rows] == list(enumerate(rows, 1))
        for index, batch in enumerate(batches):
            assert flat(source.batches(batch.position)) == flat(batches[index + 1 :])


NAMES = st.sampled_from(["email", "E-Mail", "first name", 'odd "one"', "Order", "größe"])


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_the_fast_way_and_duckdb_map_alike(data):
    columns = data.draw(st.lists(NAMES, min_size=1, max_size=5, unique=True))
    table = data.draw(st.lists(st.lists(TEXT, min_size=len(columns), max_size=len(columns)), max_size=6))
    rows = [sources.SourceRow(number, dict(zip(columns, cells, strict=True))) for number, cells in enumerate(table, 2)]
    batch = sources.Batch(rows, [], "", None)
    identifiers = ['"' + name.replace('"', '""') + '"' for name in columns] + [
        name for name in columns if name.isidentifier() and name != "Order"
    ]
    literals = ["'lead'", "'it''s, \"so\"'", "''", "0", "-17", "2024", "true", "FALSE", "Null"]
    terms = data.draw(st.lists(st.sampled_from(identifiers + literals), min_size=1, max_size=5))
    items = [f"{name} = {term}" for name, term in zip("pqrst", terms, strict=False)]
    if data.draw(st.booleans()):
        items.insert(data.draw(st.integers(0, len(items))), " * ")
    text = ",".join(items)
    with (
        sources.Mapping.parse(text, columns) as fast,
        sources.Mapping.parse(text, columns, fast=False) as slow,
    ):
        assert fast.columns == slow.columns
        assert fast.apply(batch) == slow.apply(batch)
        assert [list(row.values) for row in fast.apply(batch)[0]] == [list(fast.columns) for _ in rows]
