"""JSON Lines: one object per line, values kept as JSON has them, nested ones too.

The columns are the union of the keys of all lines, read through once beforehand: a key that first appears in line
900,000 is known, and checked against the destination, before the first call goes out. (About 3 µs a line.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from headway.errors import SourceError
from headway.sources.blocks import Block, blocks
from headway.sources.encodings import Doubt, Encoding, choose
from headway.sources.files import File
from headway.sources.model import BAD_BYTES, BAD_JSON, BadLine, Batch, SourceRow
from headway.sources.positions import lines_position, read_lines_position

__all__ = ["JsonLines", "open_json_lines"]

_DECODER = msgspec.json.Decoder(dict[str, object])
_FIRST = 100


@dataclass(frozen=True, slots=True)
class JsonLines:
    """A file of JSON objects, one a line; a Source. A row holds the keys that its line has."""

    file: File
    encoding: Encoding
    columns: tuple[str, ...]
    notes: tuple[str, ...] = ()
    resumable: bool = True

    @property
    def fingerprint(self) -> str:
        """The file's, with the encoding."""
        return f"{self.file.fingerprint}:{self.encoding.name}"

    @property
    def describe(self) -> str:
        """Name and encoding."""
        return f"{self.file.name} (JSON Lines, {self.encoding.name}{', gzip' if self.file.packed else ''})"

    @property
    def reopen(self) -> str:
        """The absolute path."""
        return str(self.file.path)

    def batches(self, position: str | None = None) -> Iterator[Batch]:
        """The records after `position`; raises SourceError where the file cannot be read on or has changed."""
        start = (self.encoding.mark, 0, False) if position is None else read_lines_position(position)
        offset, lines, _ = start
        doubt = Doubt(self.encoding, self.file.name)
        with self.file.open(offset) as (stream, below):
            for block in blocks(stream, self.encoding.name, self.file.name):
                doubt.check(block, lines)
                rows, bad = _records(block, lines + 1)
                offset += sum(block.sizes)
                lines += len(block.lines)
                yield Batch(rows, bad, lines_position(offset, lines), self.file.share(below))
        self.file.refuse_changed()


def open_json_lines(file: File, encoding: str | None) -> JsonLines:
    """Read the file through for its columns; raises SourceError where it is not JSON Lines, or empty."""
    coded = choose(file.head, encoding, file.name)
    columns: dict[str, None] = {}
    total = wrong = lines = 0
    first: BadLine | None = None
    with file.open(coded.mark) as (stream, _):
        for block in blocks(stream, coded.name, file.name):
            if not lines:
                Doubt(coded, file.name).check_head([block])
            rows, bad = _records(block, lines + 1)
            for row in rows:
                if not row.values.keys() <= columns.keys():
                    columns |= dict.fromkeys(row.values)
            if not lines:
                total, wrong = len(rows[:_FIRST]) + len(bad[:_FIRST]), len(bad[:_FIRST])
            first = first or next(iter(bad), None)
            lines += len(block.lines)
    _refuse_foreign(file, first, wrong, total)
    if not columns and first is None:
        raise SourceError(f"{file.name}: is empty: it has no records")
    return JsonLines(file, coded, tuple(columns))


def _refuse_foreign(file: File, first: BadLine | None, wrong: int, total: int) -> None:
    if first is None or wrong * 2 <= total:
        return
    if file.head.lstrip().startswith(b"["):
        raise SourceError(f"{file.name}: is a JSON array: write one object per line (jq -c '.[]' {file.name})")
    raise SourceError(f"{file.name}: is not JSON Lines, one object per line: {first.message}")


def _records(block: Block, line: int) -> tuple[list[SourceRow], list[BadLine]]:
    rows: list[SourceRow] = []
    bad: list[BadLine] = []
    decode = _DECODER.decode
    damaged = block.damaged
    for number, text in enumerate(block.lines, line):
        try:
            if damaged and number - line in damaged:
                bad.append(_damaged(number, damaged[number - line], text))
            else:
                rows.append(SourceRow(number, decode(text)))
        except (msgspec.DecodeError, UnicodeError) as error:
            if text.strip():
                advice = "write one JSON object per line"
                bad.append(BadLine(number, BAD_JSON, f"line {number}: {error}: {advice}", _shown(text)))
    return rows, bad


def _damaged(number: int, why: str, text: str) -> BadLine:
    return BadLine(number, BAD_BYTES, f"line {number}: {why}: repair the line", _shown(text))


def _shown(text: str) -> dict[str, object]:
    return {"(line)": text.rstrip("\r\n")[:2000]}
