"""Real files that nobody shaped for us, against the csv module reading them in its simplest way."""

import csv
from pathlib import Path

import pytest

from headway import sources

DATA = Path(__file__).parents[2] / "src" / "headway" / "examples"


@pytest.mark.parametrize(
    ("name", "count"), [("universities", 10_575), ("legislators", 537), ("district_offices", 1_312)]
)
def test_every_row_arrives_as_the_csv_module_reads_it(name, count):
    path = DATA / f"{name}.csv"
    with path.open(encoding="utf-8", newline="") as file:
        expected = list(csv.DictReader(file))
    source = sources.open(path)
    batches = list(source.batches())
    assert [row.values for batch in batches for row in batch.rows] == expected
    assert len(expected) == count
    assert [bad for batch in batches for bad in batch.bad] == []
    assert source.notes == ()


def test_postal_codes_keep_their_zeros():
    rows = [row.values for batch in sources.open(DATA / "district_offices.csv").batches() for row in batch.rows]
    assert "02458" in {row["zip"] for row in rows}


def test_the_map_of_the_demo():
    source = sources.open(DATA / "universities.csv")
    text = "university_domain=domain, name=name, website=website, country=country"
    mapping = sources.Mapping.parse(text, source.columns)
    slow = sources.Mapping.parse(text.replace("=domain", "=lower(trim(domain))"), source.columns)
    assert mapping.columns == slow.columns == ("university_domain", "name", "website", "country")
    for batch in source.batches():
        fast, bad = mapping.apply(batch)
        assert bad == []
        for row, other in zip(fast, slow.apply(batch)[0], strict=True):
            assert {**row.values, "university_domain": row.values["university_domain"].strip().lower()} == other.values
    slow.close()
