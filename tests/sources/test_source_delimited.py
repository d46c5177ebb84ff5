"""CSV: values as they are, line numbers, faults kept to their rows, wrong dialects and encodings refused."""

import csv
import gzip
import io

import pytest

from headway import sources
from headway.errors import SourceError, UsageError
from headway.sources.model import BAD_BYTES, BAD_QUOTE, RAGGED_ROW

GOOD = "email,name,zip\na@x.de,Ada,02458\nb@x.de,Bob,00001\nc@x.de,Cid,3\nd@x.de,Dee,4\n"


def write(tmp_path, content, name="contacts.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(source, position=None):
    batches = list(source.batches(position))
    return [row for batch in batches for row in batch.rows], [bad for batch in batches for bad in batch.bad]


def load(tmp_path, content, **options):
    return read(sources.open(write(tmp_path, content), **options))


def test_cells_stay_the_text_they_are_and_rows_know_their_lines(tmp_path):
    rows, bad = load(tmp_path, 'id,zip,note\n1,02458, spaced \n2,1e5,""\n3,TRUE,"a ""quoted"" word"\n')
    assert bad == []
    assert rows == [
        (2, {"id": "1", "zip": "02458", "note": " spaced "}),
        (3, {"id": "2", "zip": "1e5", "note": ""}),
        (4, {"id": "3", "zip": "TRUE", "note": 'a "quoted" word'}),
    ]


def test_a_quoted_cell_of_several_lines_keeps_its_line_ends_and_later_rows_their_line_numbers(tmp_path):
    rows, bad = load(tmp_path, b'id,note\r\n1,"one\r\ntwo\nthree"\r\n2,x\r\n')
    assert bad == []
    assert rows == [(2, {"id": "1", "note": "one\r\ntwo\nthree"}), (5, {"id": "2", "note": "x"})]


def test_blank_lines_are_no_records(tmp_path):
    rows, bad = load(tmp_path, "\n\nid,note\n\n1,a\n\n\n2,b\n\n")
    assert (rows, bad) == ([(5, {"id": "1", "note": "a"}), (8, {"id": "2", "note": "b"})], [])


def test_old_macintosh_line_ends_are_line_ends(tmp_path):
    rows, bad = load(tmp_path, "id,note\r1,a\r2,b")
    assert (rows, bad) == ([(2, {"id": "1", "note": "a"}), (3, {"id": "2", "note": "b"})], [])


def test_ragged_rows_are_bad_lines_that_say_what_to_do_and_keep_their_cells(tmp_path):
    rows, bad = load(tmp_path, GOOD + "e@x.de,Eve\nf@x.de,Fay,6,7,8\ng@x.de,Gus,7\n")
    assert [row.line for row in rows] == [2, 3, 4, 5, 8]
    assert [(each.line, each.code) for each in bad] == [(6, RAGGED_ROW), (7, RAGGED_ROW)]
    assert bad[0].cells == {"email": "e@x.de", "name": "Eve"}
    assert bad[1].cells == {"email": "f@x.de", "name": "Fay", "zip": "6", "(cell 4)": "7", "(cell 5)": "8"}
    assert "line 6: 2 cells where the header has 3" in bad[0].message
    assert "quote cells that hold the delimiter" in bad[0].message


def test_bad_bytes_cost_their_row_and_no_other(tmp_path):
    body = GOOD.encode() + "e@x.de,Zoë,5\n".encode() + b"f@x.de,F\xffy,6\n" + b"g@x.de,Gus,7\n"
    rows, bad = load(tmp_path, body)
    assert [row.line for row in rows] == [2, 3, 4, 5, 6, 8]
    assert [(each.line, each.code) for each in bad] == [(7, BAD_BYTES)]
    assert bad[0].cells["name"] == "F\\xffy"
    assert "byte 0xFF at byte 9 of the line is not utf-8" in bad[0].message
    assert "--encoding" in bad[0].message


def test_a_nul_byte_costs_its_row(tmp_path):
    rows, bad = load(tmp_path, GOOD.encode() + b"e@x.de,E\0e,5\n")
    assert (len(rows), [(each.line, each.code) for each in bad]) == (4, [(6, BAD_BYTES)])


def test_a_quote_that_is_never_closed_costs_one_line_not_the_rest_of_the_file(tmp_path):
    more = "".join(f"u{number}@x.de,Name {number},{number}\n" for number in range(5000))
    rows, bad = load(tmp_path, GOOD + 'e@x.de,"Eve,5\n' + more)
    assert [(each.line, each.code) for each in bad] == [(6, BAD_QUOTE)]
    assert len(rows) == 4 + 5000
    assert rows[4] == (7, {"email": "u0@x.de", "name": "Name 0", "zip": "0"})
    assert bad[0].cells == {"(line)": 'e@x.de,"Eve,5'}


def test_the_second_half_of_a_torn_record_is_no_record(tmp_path):
    rows, bad = load(tmp_path, 'id,note\n1,a\n2,"b"\n3,"he said "hi"\nand left, quickly"\n4,"fine, really"\n5,c\n')
    assert [row.values["id"] for row in rows] == ["1", "2", "4", "5"]
    assert [(each.line, each.code) for each in bad] == [(4, BAD_QUOTE), (5, BAD_QUOTE)]


def test_many_stray_quotes_far_apart_do_not_pile_up(tmp_path):
    lines = [f"k{number},{chr(34) if number % 500 == 7 else ''}v{number},x\n" for number in range(20_000)]
    source = sources.open(write(tmp_path, "id,note,more\n" + "".join(lines)))
    batches = list(source.batches())
    assert sum(len(batch.rows) for batch in batches) == 20_000 - 40
    assert [bad.line for batch in batches for bad in batch.bad] == [number + 2 for number in range(7, 20_000, 500)]
    assert max(len(batch.rows) for batch in batches) <= 2000


def test_a_quote_inside_an_unquoted_cell_is_a_character(tmp_path):
    rows, bad = load(tmp_path, 'id,size\n1,5" pipe\n2,6" pipe\n')
    assert (rows[0].values, bad) == ({"id": "1", "size": '5" pipe'}, [])


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(tmp_path, delimiter):
    rows, bad = load(tmp_path, "email,first name,n\na@x.de,Ada,1\nb@x.de,Bob,2\n".replace(",", delimiter))
    assert (rows[0].values, bad) == ({"email": "a@x.de", "first name": "Ada", "n": "1"}, [])


def test_decimal_commas_do_not_pass_for_a_delimiter(tmp_path):
    rows, _ = load(tmp_path, "name;price;tax\na;1,5;2,0\nb;2,5;3,5\n")
    assert rows[0].values == {"name": "a", "price": "1,5", "tax": "2,0"}


def test_a_tie_between_delimiters_is_the_callers_to_settle(tmp_path):
    content = "a,b;c,d\n1,2;3,4\n5,6;7,8\n"
    with pytest.raises(SourceError, match=r"contacts.csv: the delimiter .*--delimiter"):
        load(tmp_path, "a;b,c\n1;2,3\n4;5,6\n")
    rows, _ = load(tmp_path, content, delimiter=";")
    assert rows[0].values == {"a,b": "1,2", "c,d": "3,4"}


def test_a_header_that_contradicts_the_rows_ends_the_run(tmp_path):
    with pytest.raises(SourceError, match=r"the header has 2 columns but most of the first 3 rows have 4.*--delimiter"):
        load(tmp_path, "a,b\n1,2,3,4\n1,2,3,4\n1,2,3,4\n")


def test_a_delimiter_that_does_not_part_the_header_is_refused(tmp_path):
    with pytest.raises(SourceError, match=r"';' does not part its header; ',' does"):
        load(tmp_path, GOOD, delimiter=";")


@pytest.mark.parametrize("delimiter", ["", "::", '"', "\n"])
def test_a_delimiter_is_one_character(tmp_path, delimiter):
    with pytest.raises(UsageError, match="--delimiter takes one character"):
        load(tmp_path, GOOD, delimiter=delimiter)


def test_tab_can_be_named(tmp_path):
    rows, _ = load(tmp_path, "a\tb\n1\t2\n", delimiter="tab")
    assert rows[0].values == {"a": "1", "b": "2"}


def test_the_line_with_which_excel_names_the_delimiter_is_no_header(tmp_path):
    rows, bad = load(tmp_path, "sep=;\r\nid;note\r\n1;a,b\r\n")
    assert (rows, bad) == ([(3, {"id": "1", "note": "a,b"})], [])


def test_single_quotes_and_backslash_escapes_are_found(tmp_path):
    rows, bad = load(tmp_path, "'id','note'\n'1','a, b'\n'2','c'\n")
    assert (rows[0].values, bad) == ({"id": "1", "note": "a, b"}, [])
    rows, bad = load(tmp_path, 'id,note\n1,"say \\"hi\\", now"\n2,"x"\n')
    assert (rows[0].values, bad) == ({"id": "1", "note": 'say "hi", now'}, [])


def test_tabs_without_quoting_are_found_where_no_cell_is_quoted(tmp_path):
    rows, bad = load(tmp_path, 'id\tnote\n1\t"To be" he said\n2\tb\n3\tc\n')
    assert (rows[0].values, bad) == ({"id": "1", "note": '"To be" he said'}, [])


def test_a_file_of_one_column_is_one(tmp_path):
    rows, bad = load(tmp_path, 'email\na@x.de\n""\nb@x.de\n')
    assert [row.values["email"] for row in rows] == ["a@x.de", "", "b@x.de"]
    assert bad == []


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("email,email,name", "columns 1 and 2 of the header are both named 'email'"),
        ("email,,name", "column 2 of the header has no name"),
        ("ada@example.com,Ada,1", "is no column name but data: the file needs a header"),
    ],
)
def test_a_header_must_name_every_column_once(tmp_path, header, message):
    with pytest.raises(SourceError, match=f"contacts.csv, line 1: .*{message}"):
        load(tmp_path, f"{header}\na@x.de,b@x.de,Ada\n")


@pytest.mark.parametrize("content", [b"", b"\n\n \r\n", b"\xef\xbb\xbf"])
def test_an_empty_file_ends_the_run(tmp_path, content):
    with pytest.raises(SourceError, match=r"contacts.csv: is empty: it has no header and no rows"):
        load(tmp_path, content)


def test_a_header_alone_is_a_source_without_rows_that_says_so(tmp_path):
    source = sources.open(write(tmp_path, "email,name\n\n"))
    assert source.columns == ("email", "name")
    assert source.notes == ("contacts.csv has a header and no rows: there is nothing to send",)
    assert read(source) == ([], [])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_tells_the_encoding(tmp_path, encoding):
    rows, bad = load(tmp_path, "name,city\nMüller 😀,Köln\n学校,東京\n".encode(encoding))
    assert (rows[0].values, rows[1].values["city"], bad) == ({"name": "Müller 😀", "city": "Köln"}, "東京", [])


def test_a_big_endian_mark_tells_too(tmp_path):
    rows, _ = load(tmp_path, b"\xfe\xff" + "a,b\nä,ö\n".encode("utf-16-be"))
    assert rows == [(2, {"a": "ä", "b": "ö"})]


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "utf-16-le", "utf-16", "shift_jis", "UTF-8"])
def test_the_encoding_can_be_named(tmp_path, encoding):
    text = "name,city\nAnna,K\u30c6ln\n" if encoding == "shift_jis" else "name,city\nMüller,Köln\n"
    codec = "utf-16-le" if encoding == "utf-16" else encoding  # without a mark: the NULs tell which
    rows, bad = load(tmp_path, text.encode(codec), encoding=encoding)
    assert (rows[0].values["city"], bad) == (text.rpartition(",")[2].strip(), [])


def test_a_file_in_another_encoding_ends_the_run_and_names_the_line_and_the_option(tmp_path):
    lines = ["name,city\n", *(f"Name {number},Stadt\n" for number in range(20))]
    lines[5:15] = [f"Müller {number},Köln\n" for number in range(10)]
    content = "".join(lines).encode("cp1252")
    with pytest.raises(SourceError, match=r"contacts.csv, line 6: byte 0xFC .* --encoding cp1252"):
        load(tmp_path, content)
    rows, bad = load(tmp_path, content, encoding="cp1252")
    assert (len(rows), bad) == (20, [])


def test_a_share_of_bad_lines_ends_the_run_and_names_the_byte(tmp_path):
    with pytest.raises(
        SourceError, match=r"2 of the first 4 lines are not utf-8; line 2, which begins at byte 10: byte"
    ):
        load(tmp_path, b"name,city\nM\xffller,x\ny,K\xfeln\na,b\n")


def test_another_encoding_far_down_the_file_ends_the_run_too(tmp_path):
    plain = "".join(f"name {number},{'x' * 100}\n" for number in range(15_000))
    source = sources.open(write(tmp_path, ("name,city\n" + plain + "Müller,Köln\n" * 12).encode("cp1252")))
    with pytest.raises(SourceError, match=r"line 15002: byte 0xFC .* try --encoding cp1252"):
        read(source)


def test_utf_16_without_a_mark_is_recognised_and_refused(tmp_path):
    with pytest.raises(SourceError, match=r"byte 1 is NUL.*try --encoding utf-16-le"):
        load(tmp_path, GOOD.encode("utf-16-le"))


def test_a_mark_that_contradicts_the_named_encoding_is_refused(tmp_path):
    with pytest.raises(SourceError, match="byte order mark of utf-8, so it is not cp1252: leave --encoding out"):
        load(tmp_path, GOOD.encode("utf-8-sig"), encoding="cp1252")


def test_a_utf_8_file_is_not_read_as_anything_else(tmp_path):
    with pytest.raises(SourceError, match="reads as utf-8 throughout its beginning, so it is not cp1252"):
        load(tmp_path, "name,city\nMüller,Köln\nJosé,Málaga\n", encoding="cp1252")


@pytest.mark.parametrize("encoding", ["klingon", "base64", "utf-8\0"])
def test_an_unknown_encoding_is_a_wrong_option(tmp_path, encoding):
    with pytest.raises(UsageError, match="unknown encoding"):
        load(tmp_path, GOOD, encoding=encoding)


def test_a_file_of_half_characters_costs_its_last_row(tmp_path):
    rows, bad = load(tmp_path, b"\xff\xfe" + GOOD.encode("utf-16-le") + b"x")
    assert len(rows) == 4
    assert [(each.line, each.code) for each in bad] == [(6, BAD_BYTES)]


def test_gzip_is_read_through(tmp_path):
    path = write(tmp_path, gzip.compress(GOOD.encode()), "contacts.csv.gz")
    rows, bad = read(sources.open(path))
    assert (len(rows), bad) == (4, [])


def test_a_torn_gzip_file_ends_the_run(tmp_path):
    packed = gzip.compress((GOOD * 2000).encode())
    with pytest.raises(SourceError, match=r"contacts.csv.gz: ends in the middle of its packed data"):
        read(sources.open(write(tmp_path, packed[:-50], "contacts.csv.gz")))


@pytest.mark.parametrize("packed", [False, True])
def test_reading_goes_on_exactly_where_any_batch_ended(tmp_path, packed):
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(["id", "note"])
    writer.writerows([str(number), "multi\nline, é" if number % 7 == 0 else f"n{number}"] for number in range(9000))
    content = buffer.getvalue().encode()
    path = write(tmp_path, gzip.compress(content) if packed else content)
    whole = list(sources.open(path).batches())
    assert len(whole) > 4
    for index, batch in enumerate(whole):
        rest = list(sources.open(path).batches(batch.position))
        assert [row for each in rest for row in each.rows] == [row for each in whole[index + 1 :] for row in each.rows]
    assert whole[-1].share == 1.0


def test_a_position_of_another_kind_is_refused(tmp_path):
    with pytest.raises(SourceError, match="start a new run"):
        read(sources.open(write(tmp_path, GOOD)), "row 12")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.write_text(GOOD + "z@x.de,Zed,9\n"), r"it had 75 bytes and has 88"),
        (lambda path: path.write_text(GOOD.replace("Ada", "Eva")), r"was touched or rewritten"),
    ],
)
def test_a_changed_or_appended_file_is_refused_at_resume(tmp_path, change, message):
    path = write(tmp_path, GOOD)
    before = sources.open(path).fingerprint
    sources.refuse_changed(sources.open(path), before)
    change(path)
    with pytest.raises(SourceError, match=message + ".*start a new run"):
        sources.refuse_changed(sources.open(path), before)


def test_a_file_that_changes_while_it_is_read_ends_the_run(tmp_path):
    path = write(tmp_path, GOOD)
    batches = sources.open(path).batches()
    next(batches)
    path.write_text(GOOD + "z@x.de,Zed,9\n")
    with pytest.raises(SourceError, match="changed while it was read"):
        list(batches)


def test_a_line_without_end_is_no_file_of_lines(tmp_path):
    source = sources.open(write(tmp_path, b"a,b\n" + b"1,2\n" * 300_000 + b"x" * (17 << 20)))
    with pytest.raises(SourceError, match=r"contacts.csv: a line of more than 16 MB"):
        read(source)


def test_the_source_describes_itself(tmp_path):
    source = sources.open(write(tmp_path, "a;b\n1;2\n"))
    assert source.describe == "contacts.csv (CSV, utf-8, delimiter ';')"
    assert source.reopen == str(tmp_path / "contacts.csv")
    assert source.resumable
