"""What several commands share: options, the store, output as JSON and as tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from headway.stores.interface import Store

__all__ = ["DEFAULT_STORE", "SEATS", "STORE", "as_json", "emit", "opened_store", "table"]

DEFAULT_STORE = ".headway/records.db"

STORE = click.option(
    "--store", metavar="URL", help=f"Where the records are: a path or sqlite:///path (default: {DEFAULT_STORE})."
)
SEATS = click.option(
    "--seats", type=click.IntRange(0), metavar="N", help="Licensed users, for a tier that grows with them."
)


def as_json(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --json."""
    return click.option("--json", "json_", is_flag=True, help="Print one JSON value on standard output.")(command)


def emit(value: Any) -> None:
    """One JSON value on standard output."""
    click.echo(json.dumps(value, default=_plain, ensure_ascii=False))


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, frozenset | set):
        return sorted(value)
    return str(value)


@contextmanager
def opened_store(url: str | None, *, create: bool = False) -> Iterator[Store]:
    """The store for a command, closed at its end; a missing one is refused unless `create`."""
    from headway.stores.opening import open_store

    store = open_store(url or DEFAULT_STORE, create=create)
    try:
        yield store
    finally:
        store.close()


def table(head: Sequence[str], lines: Sequence[Sequence[object]], indent: str = "") -> None:
    """Columns that fit their contents; numbers to the right."""
    cells = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in line] for line in lines]
    widths = [max(len(row[i]) for row in [list(head), *cells]) for i in range(len(head))]
    right = [all(isinstance(line[i], int) for line in lines) for i in range(len(head))]
    for row in [list(head), *cells]:
        text = "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        )
        click.echo(indent + text.rstrip())
