"""From the source's columns to the destination's properties: `email=lower(trim("E-Mail")), firstname=first_name, *`.

Rules:
* Without a map every column travels under its own name; with one, only what it names; `*` adds the columns that no
  other item uses.
* A column, a text, a whole number, true, false or null is taken over in Python; everything else is an expression
  that DuckDB evaluates. What both can do, both do alike.
* A column is found by its exact name, else without regard to case if only one fits, as in SQL.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from headway.errors import MappingError
from headway.sources.expressions import Expressions, Fault
from headway.sources.mapping_text import Item, Star, items, literal, plain_name
from headway.sources.model import EXPRESSION_FAILED, BadLine, Batch, MappedRow, SourceRow
from headway.sources.nearest import did_you_mean

__all__ = ["Mapping"]

_FIRST = 200


class Mapping:
    """A compiled map; `columns` are the destination's names, in order. `close` it, or use it in a `with` block."""

    def __init__(
        self,
        columns: tuple[str, ...],
        plain: Sequence[tuple[str, str]],
        fixed: dict[str, object],
        expressions: Expressions | None,
        computed: tuple[str, ...],
    ) -> None:
        """`plain`: destination and source; `fixed`: values by destination; `computed`: what `expressions` give."""
        self.columns = columns
        self._plain = plain
        self._fixed = fixed
        self._expressions = expressions
        self._computed = computed
        self._identity = False
        self._applied = False
        self._in_order = (*(name for name, _ in plain), *fixed, *computed) == columns

    @classmethod
    def parse(cls, text: str | None, columns: Sequence[str], *, fast: bool = True) -> Mapping:
        """Compile the text of `--map` (None: all columns as they are) for a source with these columns.

        `fast=False` leaves everything to DuckDB, which shows in tests that both ways are one. Raises MappingError
        for what cannot be read, unknown columns (with the nearest name), double names and expressions that DuckDB
        refuses.
        """
        if text is None:
            whole = cls(tuple(columns), [(name, name) for name in columns], {}, None, ())
            whole._identity = True
            return whole
        plain: dict[str, str] = {}
        fixed: dict[str, object] = {}
        computed: dict[str, str] = {}
        given = items(text)
        for item in given:
            if isinstance(item, Star):
                continue
            value = literal(item.expression)
            name = plain_name(item.expression)
            column = _column(item, name, columns) if name is not None else None
            if column is not None and fast:
                plain[item.name] = column
            elif value is not None and fast:
                fixed[item.name] = value[0]
            else:
                computed[item.name] = item.expression
        if computed:
            _refuse_alike(columns)
        expressions = Expressions(computed, columns) if computed else None
        used = {*plain.values(), *(expressions.uses if expressions else ())}
        rest = [name for name in columns if name not in used]
        order = _order(given, rest)
        plain |= {name: name for name in order if name not in plain and name not in fixed and name not in computed}
        return cls(tuple(order), tuple(plain.items()), fixed, expressions, tuple(computed))

    def apply(self, batch: Batch) -> tuple[list[MappedRow], list[BadLine]]:
        """The batch's rows under the destination's names, and the rows whose expression failed.

        Order is kept. `batch.bad` is not repeated. A column that a row lacks is left out. Raises MappingError when
        an expression fails for most of the first rows: then it, not they, is at fault.
        """
        if self._identity:
            return [MappedRow(line, values, None) for line, values in batch.rows], []
        if self._expressions is None:
            return [MappedRow(line, self._mapped(values), values) for line, values in batch.rows], []
        mapped: list[MappedRow] = []
        bad: list[BadLine] = []
        found = self._expressions.evaluate([row.values for row in batch.rows])
        for row, result in zip(batch.rows, found, strict=True):
            if isinstance(result, Fault):
                bad.append(_failed(row, result))
                continue
            mapped.append(MappedRow(row.line, self._mapped(row.values, result), row.values))
        if not self._applied:
            self._refuse_hopeless(bad, len(batch.rows))
        self._applied = True
        return mapped, bad

    def close(self) -> None:
        """Give back what expressions hold; idempotent."""
        if self._expressions is not None:
            self._expressions.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _mapped(self, values: dict[str, object], computed: Sequence[object] = ()) -> dict[str, object]:
        """One row's values under the destination's names, in the order of the map."""
        taken = {name: values[column] for name, column in self._plain if column in values}
        taken.update(self._fixed)
        taken.update(zip(self._computed, computed, strict=True))
        return taken if self._in_order else {name: taken[name] for name in self.columns if name in taken}

    def _refuse_hopeless(self, bad: Sequence[BadLine], total: int) -> None:
        if total >= _FIRST and len(bad) * 2 > total:
            raise MappingError(f"--map: an expression fails in {len(bad)} of the first {total} rows; the first: "
                               f"{bad[0].message}")  # fmt: skip


def _order(given: Sequence[Item | Star], rest: Sequence[str]) -> list[str]:
    """The destination's names as the map has them, with the rest where its star stands."""
    taken = {each.name for each in given if isinstance(each, Item)}
    order: list[str] = []
    for each in given:
        order += [each.name] if isinstance(each, Item) else [name for name in rest if name not in taken]
    return order


def _column(item: Item, name: str, columns: Sequence[str]) -> str | None:
    """The column that an item names; None for words like current_date that DuckDB may know."""
    if name in columns:
        return name
    alike = [column for column in columns if column.lower() == name.lower()]
    if len(alike) == 1:
        return alike[0]
    if alike:
        raise MappingError(f"--map: {item.name}={item.expression}: {' and '.join(map(repr, alike))} differ only in "
                           f"case: write the one that is meant")  # fmt: skip
    if not item.expression.startswith('"') and name.lower().startswith(("current_", "local")):
        return None
    raise MappingError(f"--map: {item.name}={item.expression}: the source has no column {name!r}"
                       f"{did_you_mean(name, columns)}")  # fmt: skip


def _refuse_alike(columns: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for column in columns:
        other = seen.setdefault(column.lower(), column)
        if other != column:
            raise MappingError(f"--map: expressions cannot tell the columns {other!r} and {column!r} apart, which "
                               f"differ only in case: rename one")  # fmt: skip


def _failed(row: SourceRow, fault: Fault) -> BadLine:
    message = f"line {row.line}: --map: {fault}: correct the value, or use try_cast in the expression"
    return BadLine(row.line, EXPRESSION_FAILED, message, row.values)
