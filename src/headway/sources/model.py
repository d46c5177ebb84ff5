"""What every source gives: batches of rows with their line numbers, and the rows that could not be read.

Rules:
* Every record of a source comes out exactly once, as a row or as a bad line, in the order of the source.
* A value is what the source holds: text stays the text it is, never a guess at a number or date.
* `line` is where a person finds the record: the line it begins on (CSV, JSONL; the header is line 1), else its number.
* Reading from a batch's `position` gives exactly what followed that batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

__all__ = [
    "BAD_BYTES",
    "BAD_JSON",
    "BAD_QUOTE",
    "BAD_VALUE",
    "EXPRESSION_FAILED",
    "RAGGED_ROW",
    "UNKNOWN_COLUMN",
    "BadLine",
    "Batch",
    "MappedRow",
    "Source",
    "SourceRow",
]

BAD_BYTES = "BAD_BYTES"
BAD_JSON = "BAD_JSON"
BAD_QUOTE = "BAD_QUOTE"
BAD_VALUE = "BAD_VALUE"
EXPRESSION_FAILED = "EXPRESSION_FAILED"
RAGGED_ROW = "RAGGED_ROW"
UNKNOWN_COLUMN = "UNKNOWN_COLUMN"

# Rows are named tuples, not dataclasses: a frozen dataclass takes three times as long to make, a million times a run.


class SourceRow(NamedTuple):
    """One record of the source: the line it begins on, and its values by column. A column may be absent (JSONL)."""

    line: int
    values: dict[str, object]


class MappedRow(NamedTuple):
    """One record under the destination's names; `original` is the source's row, None where `values` is just that."""

    line: int
    values: dict[str, object]
    original: dict[str, object] | None


@dataclass(frozen=True, slots=True)
class BadLine:
    r"""A record that cannot travel: where, why (a code, and a sentence that says what to do), what was read of it.

    `cells` holds what could be told apart, by column; text that did not fit any column stands under `(cell N)`, a
    line that could not be taken apart at all under `(line)`. Bytes that are no text are shown as `\xNN`.
    """

    line: int
    code: str
    message: str
    cells: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Batch:
    """About 2,000 records: rows and bad lines, each in the order of their lines.

    `position` is where the next batch begins, to be given to `batches` unchanged; `share` of the source read so far,
    0 to 1, None where it cannot be known.
    """

    rows: list[SourceRow]
    bad: list[BadLine]
    position: str
    share: float | None


class Source(Protocol):
    """Records to be read, in batches, from any position that an earlier batch named."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, in order."""

    @property
    def fingerprint(self) -> str:
        """What must be the same for a position to be valid (`refuse_changed` compares); holds no secret."""

    @property
    def describe(self) -> str:
        """The source in a few words, without secrets: `contacts.csv (CSV, utf-8, delimiter ';')`."""

    @property
    def resumable(self) -> bool:
        """Whether `open` can find the same records again from `reopen` in another process."""

    @property
    def reopen(self) -> str:
        """What to give to `open` to read the same source again: an absolute path or a URL; '' if not resumable.

        May hold a password (a database's URL): never to be shown.
        """

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences that the user should read before anything is sent (a header without rows); usually none."""

    def batches(self, position: str | None = None) -> Iterator[Batch]:
        """The records after `position`, or all; raises SourceError where the source as a whole cannot be read on."""
