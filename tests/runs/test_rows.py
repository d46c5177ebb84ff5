"""Rows become records: every row once, blanks left out, what cannot travel named by its line."""

import datetime as dt
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.delivery.outcome import Rejected
from headway.runs.rows import Rows, key_text
from headway.sources.mapping import Mapping
from headway.sources.model import BadLine, Batch, SourceRow


def made(rows, *, bad=(), map_text=None, key="email", **options):
    columns = tuple(dict.fromkeys(name for row in rows for name in row)) or (key,)
    batch = Batch([SourceRow(n, row) for n, row in enumerate(rows, 2)], list(bad), "end", None)
    with Mapping.parse(map_text, columns) as mapping:
        return Rows(mapping, key, str.lower, **options).convert(batch)


def test_a_row_becomes_a_record_by_its_normalised_key():
    good, bad = made([{"email": " ADA@x.co ", "n": 1}])
    assert bad == []
    assert (good[0].key, good[0].line, good[0].original) == ("ada@x.co", 2, None)
    assert json.loads(good[0].payload) == {"email": " ADA@x.co ", "n": 1}


def test_blank_cells_are_left_out_and_need_no_second_copy():
    good, _ = made([{"email": "a", "x": "", "y": None, "z": 0}])
    assert json.loads(good[0].payload) == {"email": "a", "z": 0}
    assert good[0].original is None


def test_a_cell_of_white_space_is_left_out_but_kept_for_export():
    good, _ = made([{"email": "a", "x": " \t"}])
    assert json.loads(good[0].payload) == {"email": "a"}
    assert json.loads(good[0].original) == {"email": "a", "x": " \t"}


def test_blank_cells_travel_as_empty_text_if_they_are_to_clear():
    good, _ = made([{"email": "a", "x": " ", "y": None, "z": False}], clear_blanks=True)
    assert json.loads(good[0].payload) == {"email": "a", "x": "", "y": "", "z": False}


def test_a_mapped_row_keeps_its_source():
    good, _ = made([{"Mail": "a", "x": "1"}], map_text='email="Mail"')
    assert json.loads(good[0].payload) == {"email": "a"}
    assert json.loads(good[0].original) == {"Mail": "a", "x": "1"}


def test_a_key_of_the_platforms_own_is_not_written():
    good, _ = made([{"id": "7", "x": "1"}], key="id", key_travels=False)
    assert good[0].key == "7"
    assert json.loads(good[0].payload) == {"x": "1"}
    assert json.loads(good[0].original) == {"id": "7", "x": "1"}


@pytest.mark.parametrize("blank", ["", None, "  ", "\t"])
def test_a_blank_key_is_that_rows_dead_letter(blank):
    good, bad = made([{"email": blank, "x": "1"}, {"x": "2"}])
    assert good == []
    assert [(row.line, row.code) for row in bad] == [(2, "BLANK_KEY"), (3, "BLANK_KEY")]
    assert "line 2: email is blank" in bad[0].message


def test_what_the_checker_refuses_is_dead_with_its_line():
    def check(values):
        return Rejected("INVALID_VALUE", "x: 'b' is not an option") if values.get("x") == "b" else None

    good, bad = made([{"email": "1", "x": "a"}, {"email": "2", "x": "b"}], checker=check)
    assert [row.key for row in good] == ["1"]
    assert (bad[0].key, bad[0].code, bad[0].message) == ("2", "INVALID_VALUE", "line 3: x: 'b' is not an option")


def test_bad_lines_of_the_source_come_along():
    _, bad = made([{"email": "1"}], bad=[BadLine(9, "RAGGED_ROW", "line 9: too long", {"email": "x", "(cell 2)": "y"})])
    assert (bad[0].line, bad[0].code) == (9, "RAGGED_ROW")
    assert json.loads(bad[0].original) == {"email": "x", "(cell 2)": "y"}


def test_a_value_that_json_has_no_form_for_is_that_rows_dead_letter():
    good, bad = made([{"email": "1", "x": object()}, {"email": "2", "x": dt.date(2026, 11, 23)}])
    assert [(row.line, row.code) for row in bad] == [(2, "NOT_JSON")]
    assert json.loads(good[0].payload)["x"] == "2026-11-23"


@pytest.mark.parametrize(
    ("value", "text"), [("a ", "a"), (7, "7"), (7.0, "7"), (7.5, "7.5"), (None, ""), (True, "True")]
)
def test_a_key_is_text(value, text):
    assert key_text(value) == text


cells = st.one_of(
    st.none(),
    st.text(max_size=5),
    st.integers(-(2**53), 2**53),
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False),
)


@given(st.lists(st.fixed_dictionaries({"email": cells, "x": cells, "y": cells}), max_size=20))
def test_every_row_comes_out_exactly_once(rows):
    good, bad = made(rows)
    assert sorted([row.line for row in good] + [row.line for row in bad]) == list(range(2, 2 + len(rows)))
    for row in good:
        source = rows[row.line - 2]
        sent = json.loads(row.payload)
        blank = {
            name for name, value in source.items() if value is None or (isinstance(value, str) and not value.strip())
        }
        assert sent.keys() == source.keys() - blank
        assert all(sent[name] == source[name] for name in sent)
