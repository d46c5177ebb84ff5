"""Any iterable of dicts. A row's number is its line.

The columns of a list or tuple are the union of all its rows' keys; of anything else, of the first 2,000, since the
rest may not fit into memory: a later row with a further key is a bad line that says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice

from headway.errors import SourceError, UsageError
from headway.sources.blocks import LINES
from headway.sources.model import BAD_VALUE, UNKNOWN_COLUMN, BadLine, Batch, SourceRow
from headway.sources.positions import read_rows_position, rows_position
from headway.sources.values import plain_row

__all__ = ["Rows", "open_rows"]


class Rows:
    """Rows in this process; a Source. `batches` from a position needs a list or tuple, whose rows are still there."""

    fingerprint = "rows"
    resumable = False
    reopen = ""

    def __init__(self, columns: tuple[str, ...], rows: Iterable[object], total: int | None, kind: str) -> None:
        self.columns = columns
        self.describe = f"{f'{total:,} rows' if total is not None else 'rows'} (Python {kind})"
        self.notes: tuple[str, ...] = () if columns else ("the source has no rows: there is nothing to send",)
        self._rows: Iterable[object] | None = rows
        self._total = total
        self._known = frozenset(columns)

    def batches(self, position: str | None = None) -> Iterator[Batch]:
        """The rows after `position`; raises SourceError when an iterator is read for the second time."""
        done = 0 if position is None else read_rows_position(position)[0]
        if self._rows is None or (done and self._total is None):
            raise SourceError(f"{self.describe}: can be read only once, from its beginning: give a list instead")
        rows = iter(self._rows)
        if self._total is None:
            self._rows = None
        next(islice(rows, done, done), None)
        while found := list(islice(rows, LINES)):
            batch = self._batch(found, done)
            done += len(found)
            yield batch

    def _batch(self, found: Sequence[object], done: int) -> Batch:
        rows: list[SourceRow] = []
        bad: list[BadLine] = []
        for number, row in enumerate(found, done + 1):
            problem = self._problem(row)
            if problem is None and isinstance(row, Mapping):
                try:
                    rows.append(SourceRow(number, plain_row(dict(row))))
                    continue
                except ValueError as error:
                    problem = (BAD_VALUE, str(error))
            code, why = problem or (BAD_VALUE, "no row")
            bad.append(BadLine(number, code, f"row {number}: {why}", _shown(row)))
        end = done + len(found)
        return Batch(rows, bad, rows_position(end), end / self._total if self._total else None)

    def _problem(self, row: object) -> tuple[str, str] | None:
        if not isinstance(row, Mapping):
            return BAD_VALUE, f"is not a dict but {type(row).__name__}"
        if self._known.issuperset(row):
            return None
        name = next(name for name in row if name not in self._known)
        if not isinstance(name, str):
            return BAD_VALUE, f"the key {name!r} is not text"
        advice = f"put it into the first {LINES:,} rows (None where it is empty), or give a list"
        return UNKNOWN_COLUMN, f"the key {name!r} is not among those of the first {LINES:,} rows: {advice}"


def open_rows(rows: Iterable[object]) -> Rows:
    """Rows to be read from an iterable of dicts; raises UsageError for what is none."""
    kind = type(rows).__name__
    if not hasattr(rows, "__iter__"):
        how = ": asynchronous ones are not read here: collect the rows first" if hasattr(rows, "__aiter__") else ""
        raise UsageError(f"a source is a path, a URL or an iterable of dicts, not {kind}{how}")
    whole = isinstance(rows, list | tuple)
    iterator = iter(rows)
    first = list(islice(iterator, LINES))
    if first and not any(isinstance(row, Mapping) for row in first):
        hint = ": a DataFrame is given as frame.to_dict('records')" if hasattr(rows, "to_dict") else ""
        raise UsageError(f"the rows of {kind} are not dicts but {type(first[0]).__name__}{hint}")
    names: dict[str, None] = {}
    for row in chain(first, iterator if whole else ()):
        if isinstance(row, Mapping) and not row.keys() <= names.keys():
            names |= dict.fromkeys(name for name in row if isinstance(name, str))
    total = len(rows) if isinstance(rows, list | tuple) else None
    return Rows(tuple(names), rows if whole else chain(first, iterator), total, kind)


def _shown(row: object) -> dict[str, object]:
    if not isinstance(row, Mapping):
        return {"(value)": repr(row)[:200]}
    shown: dict[str, object] = {}
    for name, value in row.items():
        try:
            shown |= plain_row({str(name): value})
        except ValueError:
            shown[str(name)] = repr(value)[:200]
    return shown
