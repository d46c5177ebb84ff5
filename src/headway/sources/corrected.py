"""Exported dead letters: how they are written so that a spreadsheet may open them, and read back unharmed.

Rules:
* Columns that begin with `_headway_` are ours (line, code, error) and never travel.
* A cell that a spreadsheet could take for a formula gets an apostrophe in front. So does one that already has
  apostrophes before such a beginning, so that taking one away is always right.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from headway.sources.model import Batch, Source, SourceRow

__all__ = ["MARK", "Corrected", "corrected", "escape", "unescape"]

MARK = "_headway_"
_RISKY = re.compile(r"'*[=+\-@\t\r]")
_ESCAPED = re.compile(r"'+[=+\-@\t\r]")


def escape(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula (OWASP, CSV injection)."""
    return f"'{cell}" if _RISKY.match(cell) else cell


def unescape(cell: str) -> str:
    """The cell as it was before `escape`."""
    return cell[1:] if _ESCAPED.match(cell) else cell


def corrected(source: Source) -> Source:
    """The source itself, or, if it is an export of dead letters, the rows that it holds without our columns."""
    return Corrected(source) if any(name.startswith(MARK) for name in source.columns) else source


class Corrected:
    """An export of dead letters as a source."""

    def __init__(self, inner: Source) -> None:
        self._inner = inner
        self.columns = tuple(name for name in inner.columns if not name.startswith(MARK))

    @property
    def fingerprint(self) -> str:
        """The file's own."""
        return self._inner.fingerprint

    @property
    def describe(self) -> str:
        """The file's own."""
        return self._inner.describe

    @property
    def resumable(self) -> bool:
        """The file's own."""
        return self._inner.resumable

    @property
    def reopen(self) -> str:
        """The file's own."""
        return self._inner.reopen

    @property
    def notes(self) -> tuple[str, ...]:
        """The file's own."""
        return self._inner.notes

    def batches(self, position: str | None = None) -> Iterator[Batch]:
        """The rows without our columns, cells as they were before the export."""
        for batch in self._inner.batches(position):
            rows = [
                SourceRow(
                    row.line,
                    {
                        name: unescape(value) if isinstance(value, str) else value
                        for name, value in row.values.items()
                        if not name.startswith(MARK)
                    },
                )
                for row in batch.rows
            ]
            yield Batch(rows, batch.bad, batch.position, batch.share)
