"""Positions as text: opaque to everybody else, kept in the store beside the rows that lead up to them."""

from __future__ import annotations

import re

from headway.errors import SourceError

__all__ = ["lines_position", "read_lines_position", "read_rows_position", "rows_position"]

_LINES = re.compile(r"byte (\d+) line (\d+)( torn)?")
_ROWS = re.compile(r"row (\d+)(?: after ([0-9a-f]+))?")


def lines_position(offset: int, lines: int, *, torn: bool = False) -> str:
    """After `lines` lines, which are `offset` bytes (unpacked, byte order mark included).

    `torn`: a quote that was never closed stands shortly before.
    """
    return f"byte {offset} line {lines}{' torn' * torn}"


def read_lines_position(position: str) -> tuple[int, int, bool]:
    """Offset in bytes, number of lines before it, `torn`; raises SourceError for a position of another kind."""
    found = _LINES.fullmatch(position)
    if found is None:
        raise SourceError(f"position {position!r} is not one of a file of lines: start a new run")
    return int(found[1]), int(found[2]), bool(found[3])


def rows_position(rows: int, digest: str = "") -> str:
    """After `rows` rows; `digest` tells whether they are the same rows when they are read again."""
    return f"row {rows} after {digest}" if digest else f"row {rows}"


def read_rows_position(position: str) -> tuple[int, str]:
    """Number of rows and their digest ('' without); raises SourceError for a position of another kind."""
    found = _ROWS.fullmatch(position)
    if found is None:
        raise SourceError(f"position {position!r} is not a number of rows: start a new run")
    return int(found[1]), found[2] or ""
