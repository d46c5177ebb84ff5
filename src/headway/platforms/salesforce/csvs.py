"""CSV as Bulk API 2.0 wants it, and its results.

Source: Salesforce Bulk API 2.0 Developer Guide, "Prepare CSV Files" and "Get Job Results". Rules:
* The header holds API names; UTF-8, LF, quotes doubled (RFC 4180), no blank beside a quote.
* An empty cell leaves a field alone, `#N/A` clears it.
* Rows of results come in any order: they are told by the key's column.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from headway.delivery.records import Record

__all__ = ["NULL", "rows_of", "written"]

NULL = "#N/A"
_decode = msgspec.json.Decoder(dict[str, Any]).decode

csv.field_size_limit(1 << 24)


def written(records: Sequence[Record], only: str = "") -> bytes:
    """The records as one CSV file; `only` the column of this name, whose values are the keys."""
    out = io.StringIO(newline="")
    write = csv.writer(out, lineterminator="\n").writerow
    if only:
        write([only])
        for record in records:
            write([record.key])
        return out.getvalue().encode()
    rows = [_flat(_decode(record.payload)) for record in records]
    columns: dict[str, None] = {}
    for row in rows:
        if not row.keys() <= columns.keys():
            columns |= dict.fromkeys(row)
    quoted = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL).writerow
    write(columns)
    for row in rows:
        cells = [row.get(name, "") for name in columns]
        # The module quotes a carriage return only where it ends lines; to Salesforce it would end one.
        (quoted if any("\r" in cell for cell in cells) else write)(cells)
    return out.getvalue().encode("utf-8", "replace")


def _flat(values: Mapping[str, Any]) -> dict[str, str]:
    """Cells by column; what is nested (a relationship's external id) under a dotted name."""
    cells: dict[str, str] = {}
    for name, value in values.items():
        if value.__class__ is str:
            cells[name] = value
        elif isinstance(value, dict):
            cells |= {f"{name}.{inner}": cell for inner, cell in _flat(value).items()}
        else:
            cells[name] = _cell(value)
    return cells


def _cell(value: object) -> str:
    if value is None:
        return NULL
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ";".join(_cell(each) for each in value)  # a multi-select picklist
    return str(value)


def rows_of(body: bytes) -> Iterator[dict[str, str]]:
    """The rows of a result, by column; ends quietly where the file cannot be read on."""
    reader = csv.reader(io.StringIO(body.decode("utf-8-sig", "replace"), newline=""))
    try:
        header = next(reader, None)
        if header is None:
            return
        for row in reader:
            if row:
                yield dict(zip(header, row, strict=False))
    except csv.Error:
        return
