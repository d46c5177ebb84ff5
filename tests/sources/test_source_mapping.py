"""`--map`: names, expressions, what it refuses, and rows whose expression fails."""

import pytest

from headway import sources
from headway.errors import MappingError
from headway.sources.model import EXPRESSION_FAILED

COLUMNS = ("E-Mail", "first_name", "zip", "amount", "note")


def batch(*rows, columns=COLUMNS):
    return sources.Batch(
        [sources.SourceRow(number, dict(zip(columns, row, strict=True))) for number, row in enumerate(rows, 2)],
        [],
        "",
        None,
    )


ADA = (" Ada@X.de ", "Ada", "02458", "1.50", "")
BOB = ("bob@x.de", None, "1", "x", "it's")


def mapped(text, *rows, columns=COLUMNS):
    with sources.Mapping.parse(text, columns) as mapping:
        good, bad = mapping.apply(batch(*rows, columns=columns))
    assert bad == []
    return [row.values for row in good]


def test_without_a_map_columns_travel_under_their_own_names():
    mapping = sources.Mapping.parse(None, COLUMNS)
    rows, bad = mapping.apply(batch(ADA))
    assert (mapping.columns, bad) == (COLUMNS, [])
    assert rows == [(2, dict(zip(COLUMNS, ADA, strict=True)), None)]


def test_names_literals_and_expressions():
    text = "email=lower(trim(\"E-Mail\")), firstname=first_name, lifecyclestage='lead', score=5, zip=zip"
    assert mapped(text, ADA, BOB) == [
        {"email": "ada@x.de", "firstname": "Ada", "lifecyclestage": "lead", "score": 5, "zip": "02458"},
        {"email": "bob@x.de", "firstname": None, "lifecyclestage": "lead", "score": 5, "zip": "1"},
    ]


def test_the_original_row_goes_with_a_mapped_one():
    with sources.Mapping.parse("email=upper(note)", COLUMNS) as mapping:
        rows, _ = mapping.apply(batch(ADA))
    assert rows == [(2, {"email": ""}, dict(zip(COLUMNS, ADA, strict=True)))]


def test_a_star_adds_the_columns_that_nothing_else_uses_where_it_stands():
    for text in ('email=lower("E-Mail"), *, note=first_name', 'email="E-Mail", *, note=first_name'):
        mapping = sources.Mapping.parse(text, COLUMNS)
        assert mapping.columns == ("email", "zip", "amount", "note")
        rows, _ = mapping.apply(batch(ADA))
        assert list(rows[0].values) == ["email", "zip", "amount", "note"]
        mapping.close()


def test_a_name_alone_is_that_column_under_that_name():
    assert mapped('zip, "E-Mail"', ADA) == [{"zip": "02458", "E-Mail": " Ada@X.de "}]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("concat(first_name, ', ', zip)", "Ada, 02458"),
        ("'a, b = ''c'' (' || zip", "a, b = 'c' (02458"),
        ("[1, 2][2]", 2),
        ("case when zip = '02458' then 'yes, it is' else 'no' end", "yes, it is"),
        ("split_part(\"E-Mail\", '@', 2)", "X.de "),
        ("amount::DOUBLE * 2", 3.0),
        ("amount::DECIMAL(9,2) * 2", "3.00"),
        ("zip::INTEGER", 2458),
        ("first_name = 'Ada'", True),
        ("nullif(note, '')", None),
        ("DATE '2024-02-29'", "2024-02-29"),
        ("TIMESTAMP '2024-02-29 12:30:00'", "2024-02-29T12:30:00"),
        ("TIMESTAMPTZ '2024-02-29 12:30:00+02:00'", "2024-02-29T10:30:00Z"),
        ("{'a': zip, 'b': [1, 2]}", {"a": "02458", "b": [1, 2]}),
        ("'nan'::DOUBLE", None),
        ("0.1::FLOAT", 0.1),
        ("list_transform(split(zip, '4'), lambda part: part || '!')", ["02!", "58!"]),
        ("ZIP || First_Name", "02458Ada"),
        ('"ZIP"', "02458"),
        ("'a\nb'", "a\nb"),
        ("zip -- the postal code", "02458"),
        ("1.5", "1.5"),
    ],
)
def test_expressions_give_values_that_json_has(expression, value):
    assert mapped(f"p={expression}", ADA) == [{"p": value}]


def test_nested_and_typed_values_are_text_in_an_expression_and_themselves_outside():
    row = ({"city": "Köln", "n": [1, None]}, 5, True, 1.5, None)
    columns = ("address", "n", "b", "f", "nothing")
    text = "a=address, b=b, city=address->>'$.city', five=n || '!', yes=b || '', f=f || '', x=nothing || ''"
    assert mapped(text, row, columns=columns) == [
        {"a": row[0], "b": True, "city": "Köln", "five": "5!", "yes": "true", "f": "1.5", "x": None}
    ]


def test_a_column_that_a_row_lacks_is_left_out():
    rows = sources.Batch([sources.SourceRow(1, {"a": 1}), sources.SourceRow(2, {"b": None})], [], "", None)
    found, _ = sources.Mapping.parse("x=a, y=b", ("a", "b")).apply(rows)
    assert [row.values for row in found] == [{"x": 1}, {"y": None}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "an item is empty"),
        ("a=zip,,b=note", "an item is empty"),
        ("a=zip, a=note", "'a' occurs twice"),
        ("*, *", r"'\*' occurs twice"),
        ("a=", "'a' has no expression"),
        ("a==zip", "put = after the property's name 'a'"),
        ("lower(zip)", "not name=expression"),
        ("a=lower(zip", r"'\)' is missing"),
        ("a=zip)", r"'\)' at character 6 .* closes nothing"),
        ("a='zip", "quote at character 3 .* is not closed"),
        ("a=firstname", "the source has no column 'firstname': did you mean first_name?"),
        ("a=email", "the source has no column 'email': did you mean \"E-Mail\"?"),
        ("a=lower(frist_name)", "the source has no column 'frist_name': did you mean first_name?"),
        ('a="qqq"', "the source has no column 'qqq': it has E-Mail, first_name, zip, amount, note"),
        ("a=E-Mail", "the source has no column 'E': did you mean \"E-Mail\"?"),
        ("a=lowre(zip)", "lowre does not exist"),
        ("a=zip + 1 +", "syntax error"),
        ("a=zip from note", "not one expression"),
        ("a=zip; select 1", "not one expression"),
        ("a=zip as b", "leave AS out"),
        ("a=(select 1)", "a sub-select cannot be used"),
        ("a=(select content from read_text('/etc/passwd'))", "a sub-select cannot be used"),
        ("a=exists(from range(3))", "a sub-select cannot be used"),
        ("a=row_number() over ()", "a window function cannot be used"),
        ("a=count(*)", "an aggregate cannot be used"),
        ("a=max(zip)", "an aggregate cannot be used"),
        ("a=unnest([1,2])", "unnest, which makes rows"),
        ("a=$1", "a parameter cannot be used"),
        ("a=upper(columns('z.*'))", "a star cannot be used"),
        ("a=zip::KLINGON", "KLINGON"),
        ("a=#1", "cannot be used|column"),
    ],
)
def test_what_is_wrong_with_a_map_is_said_before_the_first_row(text, message):
    with pytest.raises(MappingError, match=message):
        sources.Mapping.parse(text, COLUMNS)


def test_columns_that_differ_only_in_case_are_told_apart_outside_expressions_only():
    columns = ("Name", "name")
    assert mapped("a=Name, b=name", ("X", "y"), columns=columns) == [{"a": "X", "b": "y"}]
    with pytest.raises(MappingError, match="'Name' and 'name' differ only in case"):
        sources.Mapping.parse("a=NAME", columns)
    with pytest.raises(MappingError, match="cannot tell the columns 'Name' and 'name' apart"):
        sources.Mapping.parse("a=lower(name)", columns)


@pytest.mark.parametrize("more", ["", ", u=random() < 2"])
def test_rows_at_fault_are_told_apart_with_and_without_functions_that_change(more):
    rows = [("a", "b", str(number) if number % 3 else f"x{number}", "1", "") for number in range(300)]
    with sources.Mapping.parse("n=zip::INTEGER, m=nullif(zip, '7')" + more, COLUMNS) as mapping:
        good, bad = mapping.apply(batch(*rows))
    assert [row.values["n"] for row in good] == [number for number in range(300) if number % 3]
    assert [row.values["m"] for row in good if row.values["n"] == 7] == [None]
    assert [f"'x{each.line - 2}'" in each.message for each in bad] == [True] * 100


def test_a_row_whose_expression_fails_is_a_bad_line_and_its_neighbours_are_not():
    rows = [("a", "b", str(number), "1", "") for number in range(500)]
    rows[17], rows[499] = ("a", "b", "zwölf", "1", ""), ("a", "b", "", "1", "")
    with sources.Mapping.parse("n=zip::INTEGER, note", COLUMNS) as mapping:
        good, bad = mapping.apply(batch(*rows))
    assert [row.values["n"] for row in good] == [number for number in range(500) if number not in (17, 499)]
    assert [row.line for row in good] == [line for line in range(2, 502) if line not in (19, 501)]
    assert [(each.line, each.code) for each in bad] == [(19, EXPRESSION_FAILED), (501, EXPRESSION_FAILED)]
    assert "line 19: --map: Conversion Error: Could not convert string 'zwölf' to INT32" in bad[0].message
    assert "LINE" not in bad[0].message
    assert bad[0].cells["zip"] == "zwölf"


def test_a_value_that_is_infinite_is_a_bad_line():
    with sources.Mapping.parse("n=amount::DOUBLE", COLUMNS) as mapping:
        good, bad = mapping.apply(batch(ADA, ("", "", "", "inf", "")))
    assert (len(good), [each.line for each in bad]) == (1, [3])


def test_an_expression_that_fails_for_most_rows_is_the_maps_fault():
    with (
        sources.Mapping.parse("n=first_name::INTEGER", COLUMNS) as mapping,
        pytest.raises(MappingError, match=r"an expression fails in 300 of the first 300 rows; the first: line 2"),
    ):
        mapping.apply(batch(*[ADA] * 300))


def test_expressions_reach_neither_files_nor_the_network_nor_python(tmp_path):
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    with sources.Mapping.parse("a=lower(zip)", COLUMNS) as mapping:
        engine = mapping._expressions._engine
        for query in (
            f"SELECT * FROM read_csv('{secret}')",
            f"COPY (SELECT 1) TO '{tmp_path / 'out.csv'}'",
            "INSTALL httpfs",
            "SET enable_external_access = true",
            "SELECT * FROM COLUMNS",
        ):
            with pytest.raises(Exception, match=r"(?i)permission|locked|disabled|does not exist|cannot"):
                engine.execute(query)


def test_many_columns_and_rows_keep_their_order():
    columns = tuple(f"column {number}" for number in range(60))
    rows = [tuple(f"{row}.{number}" for number in range(60)) for row in range(2500)]
    text = ", ".join(f'"p {number}" = upper("column {number}")' for number in range(60))
    found = mapped(text, *rows, columns=columns)
    assert [tuple(values.values()) for values in found] == rows
