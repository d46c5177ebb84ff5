"""CSV and its kin: every record with the line it begins on, every fault kept to its own record.

A record whose quoting is broken (a quote never closed, text after a closing quote) costs the line it begins on, and
the next line is a record again: one stray quote must not swallow the rest of a file. What follows is looked at with
suspicion until a line with sound quotes: the second half of a torn record is not a record.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import chain

from headway.errors import SourceError
from headway.sources import dialect as dialects
from headway.sources.blocks import LINES, Block, blocks
from headway.sources.dialect import Dialect
from headway.sources.encodings import Doubt, Encoding, choose
from headway.sources.files import File
from headway.sources.model import BAD_BYTES, BAD_QUOTE, RAGGED_ROW, BadLine, Batch, SourceRow
from headway.sources.positions import lines_position, read_lines_position

__all__ = ["Delimited", "open_delimited"]

_SEP = "sep="


@dataclass(frozen=True, slots=True)
class Delimited:
    """A file of separated values with a header; a Source."""

    file: File
    encoding: Encoding
    dialect: Dialect
    columns: tuple[str, ...]
    header_line: int
    notes: tuple[str, ...]
    resumable: bool = True

    @property
    def fingerprint(self) -> str:
        """The file's, with the encoding and dialect by which its lines were taken apart."""
        return f"{self.file.fingerprint}:{self.encoding.name}:{self.dialect!r}"

    @property
    def describe(self) -> str:
        """Name, encoding and dialect."""
        packed = ", gzip" if self.file.packed else ""
        return f"{self.file.name} (CSV, {self.encoding.name}, {self.dialect}{packed})"

    @property
    def reopen(self) -> str:
        """The absolute path."""
        return str(self.file.path)

    def batches(self, position: str | None = None) -> Iterator[Batch]:
        """The records after `position`; raises SourceError where the file cannot be read on or has changed."""
        start = (self.encoding.mark, 0, False) if position is None else read_lines_position(position)
        offset, lines, torn = start
        doubt = Doubt(self.encoding, self.file.name)
        with self.file.open(offset) as (stream, below):
            records = _Records(
                blocks(stream, self.encoding.name, self.file.name), self.dialect, self.columns, doubt, lines
            )
            records.wary = torn
            while records.read():
                offset += records.size
                rows, bad = records.rows, records.bad
                if records.first <= self.header_line:
                    rows = [row for row in rows if row.line > self.header_line]
                    bad = [line for line in bad if line.line > self.header_line]
                position = lines_position(offset, records.first + records.taken - 1, torn=records.wary)
                yield Batch(rows, bad, position, self.file.share(below))
        self.file.refuse_changed()


def open_delimited(file: File, encoding: str | None, delimiter: str | None) -> Delimited:
    """Find encoding, dialect and header of a CSV file; raises SourceError or UsageError."""
    asked = dialects.named_delimiter(delimiter) if delimiter is not None else None
    coded = choose(file.head, encoding, file.name)
    found = list(blocks(BytesIO(file.head[coded.mark :]), coded.name, file.name))
    if not file.whole and found:  # the last line may be cut in the middle, of a character even
        found[-1] = _without_last(found[-1])
    lines = [line for block in found for line in block.lines]
    if not any(line.strip() for line in lines):
        raise SourceError(f"{file.name}: is empty: it has no header and no rows")
    Doubt(coded, file.name).check_head(found)
    start = next(index for index, line in enumerate(lines) if line.strip("\r\n"))
    if lines[start].lower().startswith(_SEP) and len(lines[start].rstrip("\r\n")) == len(_SEP) + 1:
        asked = asked or lines[start][len(_SEP)]  # how Excel tells itself the delimiter
        start = next((index for index in range(start + 1, len(lines)) if lines[index].strip("\r\n")), start)
    dialect = dialects.detect(lines[start:], asked, file.name)
    if start in _damaged(found):
        raise SourceError(f"{file.name}, line {start + 1}: the header is not {coded.name}: {_damaged(found)[start]}; "
                          f"name the file's encoding, for example --encoding cp1252")  # fmt: skip
    columns, more = _header(lines[start:], dialect, start + 1, file.name)
    notes = () if more or not file.whole else (f"{file.name} has a header and no rows: there is nothing to send",)
    return Delimited(file, coded, dialect, columns, start + 1, notes)


def _without_last(block: Block) -> Block:
    last = len(block.lines) - 1
    return Block(block.lines[:-1], block.sizes[:-1], {at: why for at, why in block.damaged.items() if at != last})


def _damaged(found: list[Block]) -> dict[int, str]:
    every: dict[int, str] = {}
    before = 0
    for block in found:
        every |= {before + at: why for at, why in block.damaged.items()}
        before += len(block.lines)
    return every


def _header(lines: list[str], dialect: Dialect, line: int, path: str) -> tuple[tuple[str, ...], bool]:
    """The columns' names, and whether anything but blank lines follows."""
    try:
        records = dialects.reader(dialect, lines)
        names = dialects.header_names(next(records), line, path)
        return names, any(next(records, ()) for _ in lines)
    except csv.Error as error:
        if "unexpected end" in str(error) or "expected after" in str(error):
            raise SourceError(f"{path}, line {line}: a quote is opened and not closed properly: {error}") from error
        raise SourceError(f"{path}, line {line}: {error}") from error


class _Records:
    """Cuts lines into records. `read` fills `rows` and `bad` with the records of about a block.

    `first` is the number of the line with which they begin; they take up `taken` lines of `size` bytes. Lines beyond
    were read ahead for a quote that nobody closed; they come again.
    """

    def __init__(
        self, found: Iterator[Block], dialect: Dialect, columns: tuple[str, ...], doubt: Doubt, lines: int
    ) -> None:
        self.rows: list[SourceRow] = []
        self.bad: list[BadLine] = []
        self.first = lines + 1
        self.taken = 0
        self.size = 0
        self._dialect = dialect
        self._columns = columns
        self._doubt = doubt
        self._found = found
        self._fed = self._feed()
        self._lines: list[str] = []
        self._sizes: list[int] = []
        self._damaged: dict[int, str] = {}
        self.wary = False

    def _feed(self) -> Iterator[list[str]]:
        for block in self._found:
            before = len(self._lines)
            self._doubt.check(block, self.first - 1 + before)
            self._damaged |= {before + at: why for at, why in block.damaged.items()}
            self._lines += block.lines
            self._sizes += block.sizes
            yield block.lines

    def read(self) -> bool:
        """Read the next records; False at the end of the file."""
        self.first += self.taken
        del self._lines[: self.taken], self._sizes[: self.taken]
        self._damaged = {at - self.taken: why for at, why in self._damaged.items() if at >= self.taken}
        self.rows, self.bad = [], []
        at = 0
        while at < LINES and (not at or at < len(self._lines)):
            at, ended = self._parse(at)
            if ended:
                break
        self.taken = at
        self.size = sum(self._sizes[:at])
        return bool(at)

    def _parse(self, start: int) -> tuple[int, bool]:
        """Parse from this line on: where to go on from, and whether the batch is complete."""
        base = start
        reader = dialects.reader(self._dialect, chain(self._lines[start:], chain.from_iterable(self._fed)))
        rows, columns, width = self.rows, self._columns, len(self._columns)
        line, lines, damaged = self.first, self._lines, self._damaged
        try:
            for cells in reader:
                end = base + reader.line_num  # type: ignore[attr-defined]  # csv.reader has it
                if len(cells) == width and not damaged and not self.wary:
                    rows.append(SourceRow(line + start, dict(zip(columns, cells, strict=True))))
                elif cells:
                    self._doubtful(cells, start, end)
                start = end
                if end >= LINES or end == len(lines):
                    return end, True
        except csv.Error as error:
            self._broken(start, str(error))
            return start + 1, False
        return len(lines), True

    def _doubtful(self, cells: list[str], start: int, end: int) -> None:
        """A record that is ragged, damaged, or in the wake of a broken quote."""
        line = self.first + start
        named = _named(self._columns, cells)
        reason = next((self._damaged[at] for at in range(start, end) if at in self._damaged), None)
        if reason is not None:
            self.wary = False
            advice = "repair the line, or name the file's encoding with --encoding"
            self.bad.append(BadLine(line, BAD_BYTES, f"line {line}: {reason}: {advice}", named))
        elif self._torn(cells, start, end):
            message = f"line {line}: looks like the rest of a record that a quote tore apart: repair the quotes"
            self.bad.append(BadLine(line, BAD_QUOTE, message, named))
        elif len(cells) != len(self._columns):
            message = (
                f"line {line}: {len(cells)} cell{'s' * (len(cells) != 1)} where the header has "
                f"{len(self._columns)}: quote cells that hold the delimiter, or complete the line"
            )
            self.bad.append(BadLine(line, RAGGED_ROW, message, named))
        else:
            self.rows.append(SourceRow(line, named))

    def _torn(self, cells: list[str], start: int, end: int) -> bool:
        """In the wake of a broken quote: whether a quote stands where none can; a sound quote ends the wake."""
        quote = self._dialect.quote
        if not self.wary or quote is None or not any(quote in line for line in self._lines[start:end]):
            return False
        self.wary = False
        return any(quote in cell for cell in cells) and f"{quote}{quote}" not in "".join(self._lines[start:end])

    def _broken(self, start: int, error: str) -> None:
        line = self.first + start
        self.wary = True
        why = "a quote is opened and never closed, or text follows a closing quote"
        if "field larger" in error:
            why = f"a cell of more than {csv.field_size_limit():,} characters, or a quote that is never closed"
        message = f"line {line}: {why}: close it, and double the quotes inside a value"
        text = self._lines[start].rstrip("\r\n")
        self.bad.append(BadLine(line, BAD_QUOTE, message, {"(line)": text[:2000]}))


def _named(columns: tuple[str, ...], cells: list[str]) -> dict[str, object]:
    named: dict[str, object] = dict(zip(columns, cells, strict=False))
    named |= {f"(cell {number})": cell for number, cell in enumerate(cells[len(columns) :], len(columns) + 1)}
    return named
