"""Which delimiter and quote a CSV file uses: candidates are tried on the first lines and must prove themselves.

A dialect is believed only when the header splits into two columns or more and at least half of the first rows have
as many cells; of several such, the one with which most rows agree. A tie, a contradiction or a header that is data
is the caller's to settle with --delimiter: a sniffed dialect that is wrong would send nonsense a million times.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from headway.errors import SourceError, UsageError

__all__ = ["Dialect", "detect", "header_names", "named_delimiter", "reader"]

_DELIMITERS = (",", ";", "\t", "|")
_ROWS = 200
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[a-zA-Z]{2,}")
_SHOWN = {"\t": "tab"}


@dataclass(frozen=True, slots=True)
class Dialect:
    """How cells are parted and quoted.

    `quote` None: quotes mean nothing; `escape` may stand before a quote that is part of the text, as well as a second
    quote.
    """

    delimiter: str
    quote: str | None = '"'
    escape: str | None = None

    def __str__(self) -> str:
        quote = "" if self.quote == '"' else f", quote {self.quote!r}" if self.quote else ", no quotes"
        return f"delimiter {_shown(self.delimiter)}{quote}{', escape ' + repr(self.escape) if self.escape else ''}"


@dataclass(frozen=True, slots=True)
class _Look:
    """What the first lines are in one dialect: header, rows, rows with as many cells, rows that cannot be parsed."""

    dialect: Dialect
    header: tuple[str, ...]
    rows: int
    agree: int
    broken: int
    usual: int

    @property
    def valid(self) -> bool:
        return len(self.header) > 1 and self.agree * 2 >= self.rows


def reader(dialect: Dialect, lines: Iterable[str]) -> Iterator[list[str]]:
    """A strict csv.reader (it also has `line_num`)."""
    return csv.reader(
        lines,
        delimiter=dialect.delimiter,
        quotechar=dialect.quote or '"',
        quoting=csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE,
        escapechar=dialect.escape,
        strict=True,
    )


def named_delimiter(text: str) -> str:
    """The delimiter that an option names: one character, or `tab`; raises UsageError."""
    delimiter = {"tab": "\t", "\\t": "\t", "TAB": "\t"}.get(text, text)
    if len(delimiter) != 1 or delimiter in "\"'\r\n\0":
        raise UsageError(f"--delimiter takes one character, or 'tab', not {text!r}")
    return delimiter


def detect(lines: Sequence[str], asked: str | None, path: str) -> Dialect:
    """The dialect of a file that begins with these (whole) lines; raises SourceError where none proves itself."""
    plain = [_look(lines, Dialect(delimiter)) for delimiter in ([asked] if asked else _DELIMITERS)]
    found = _best([look for look in plain if look.valid], path)
    if found is not None:
        return _with_quotes(lines, found)
    others = [_look(lines, dialect) for look in plain for dialect in _other_quotes(lines, look)]
    found = _best([look for look in others if look.valid and not look.broken], path)
    if found is not None:
        return found.dialect
    return _single(lines, plain, asked, path)


def _look(lines: Sequence[str], dialect: Dialect) -> _Look:
    header: tuple[str, ...] = ()
    widths: list[int] = []
    broken = 0
    rows = reader(dialect, lines)
    while len(widths) + broken < _ROWS:
        try:
            cells = next(rows)
        except StopIteration:
            break
        except csv.Error as error:
            broken += "unexpected end of data" not in str(error)  # the sample may end inside a quoted cell
            continue
        if cells and not header:
            header = tuple(cells)
        elif cells:
            widths.append(len(cells))
    usual = max(set(widths), key=widths.count, default=len(header))
    return _Look(dialect, header, len(widths) + broken, widths.count(len(header)), broken, usual)


def _best(looks: list[_Look], path: str) -> _Look | None:
    """The look with which most rows agree; a tie is an error."""
    looks.sort(key=lambda look: look.agree, reverse=True)
    tied = {_shown(look.dialect.delimiter): None for look in looks if look.agree == looks[0].agree}
    if len(tied) > 1:
        raise SourceError(f"{path}: the delimiter may be {' or '.join(tied)}: say which with --delimiter")
    return looks[0] if looks else None


def _with_quotes(lines: Sequence[str], found: _Look) -> Dialect:
    """The same delimiter with the quoting that the lines show: another one must part every row without a fault."""
    for other in (_look(lines, dialect) for dialect in _other_quotes(lines, found)):
        if other.valid and not other.broken and other.agree == other.rows:
            return other.dialect
    return found.dialect


def _other_quotes(lines: Sequence[str], look: _Look) -> Iterator[Dialect]:
    """Ways of quoting that the lines give reason to try, each for a sign of its own."""
    delimiter = look.dialect.delimiter
    if look.header and all(len(cell) > 1 and cell[0] == cell[-1] == "'" for cell in look.header):
        yield Dialect(delimiter, "'")
    if look.broken and any('\\"' in line for line in lines):
        yield Dialect(delimiter, '"', "\\")
    # Databases write tabs or bars without any quoting; with commas a lone quote is a fault.
    if look.broken and delimiter in "\t|" and not any(_soundly_quoted(line, delimiter) for line in lines):
        yield Dialect(delimiter, None)


def _soundly_quoted(line: str, delimiter: str) -> bool:
    return any(len(cell) > 1 and cell[0] == cell[-1] == '"' for cell in line.rstrip("\r\n").split(delimiter))


def _single(lines: Sequence[str], plain: Sequence[_Look], asked: str | None, path: str) -> Dialect:
    """A file of one column, or the error that says why no dialect was found."""
    look = plain[0]
    if asked is not None:
        others = [
            other for other in (_look(lines, Dialect(each)) for each in _DELIMITERS if each != asked) if other.valid
        ]
        if len(look.header) == 1 and others:
            raise SourceError(f"{path}: {_shown(asked)} does not part its header; "
                              f"{_shown(others[0].dialect.delimiter)} does: correct --delimiter")  # fmt: skip
    if all(len(each.header) <= 1 for each in plain) and look.agree * 2 >= look.rows:
        return look.dialect
    look = max(plain, key=lambda each: len(each.header))
    raise SourceError(
        f"{path}: parted by {_shown(look.dialect.delimiter)} the header has {len(look.header)} "
        f"column{'s' * (len(look.header) != 1)} but most of the first {look.rows} rows have {look.usual}"
        f"{f' and {look.broken} have misplaced quotes' if look.broken else ''}: "
        f"{'repair the header' if asked else 'say the delimiter with --delimiter, or repair the header'}"
    )


def header_names(cells: Sequence[str], line: int, path: str) -> tuple[str, ...]:
    """The columns' names, without spaces around them; raises SourceError for empty and double ones, and for data."""
    names = tuple(cell.strip() for cell in cells)
    seen: dict[str, int] = {}
    for number, name in enumerate(names, 1):
        if not name:
            raise SourceError(f"{path}, line {line}: column {number} of the header has no name: name it or remove it")
        if name in seen:
            raise SourceError(f"{path}, line {line}: columns {seen[name]} and {number} of the header are both named "
                              f"{name!r}: rename one")  # fmt: skip
        if _EMAIL.fullmatch(name):
            raise SourceError(f"{path}, line {line}: {name!r} is no column name but data: the file needs a header line")
        seen[name] = number
    return names


def _shown(delimiter: str) -> str:
    return _SHOWN.get(delimiter, f"'{delimiter}'")
