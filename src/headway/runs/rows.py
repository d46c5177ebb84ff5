"""From a source's rows to records: key taken, blanks left out, values checked, payload written.

Rules:
* Every row comes out exactly once: as a record, or as a bad row with its line and a sentence that says what to do.
* A blank cell (none, empty, white space only) is left out, so that it clears nothing; with `clear` it travels as "".
* The source's row is kept beside the payload only where the payload does not tell it: blank cells that were left out
  are blank in an export as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from headway.delivery.outcome import Rejected
from headway.platforms.connector import Shaper
from headway.sources.mapping import Mapping as ColumnMapping
from headway.sources.model import BadLine, Batch, MappedRow
from headway.stores.model import BadRow, Loaded

__all__ = ["BLANK_KEY", "NOT_JSON", "Checker", "Rows", "key_text"]

BLANK_KEY = "BLANK_KEY"
NOT_JSON = "NOT_JSON"

Checker = Callable[[Mapping[str, object]], Rejected | None]
_encode = msgspec.json.Encoder(decimal_format="string").encode


def key_text(value: object) -> str:
    """A key as text; '' for a blank one."""
    if isinstance(value, str):
        return value.strip()
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # a number column of a Parquet file: 7.0 is the key 7
    return str(value).strip()


class Rows:
    """Turns batches of a source into what a store loads."""

    def __init__(
        self,
        mapping: ColumnMapping,
        key: str,
        normalise: Callable[[str], str],
        *,
        clear_blanks: bool = False,
        key_travels: bool = True,
        checker: Checker | None = None,
        group: Callable[[Mapping[str, object]], str] = lambda _: "",
    ) -> None:
        self.checker = checker
        self.shaper: Shaper | None = None
        self._group = group
        self._mapping = mapping
        self._key = key
        self._normalise = normalise
        self._clear = clear_blanks
        self._key_travels = key_travels

    def convert(self, batch: Batch) -> tuple[list[Loaded], list[BadRow]]:
        """Records and bad rows of one batch. Raises MappingError where the map itself is at fault."""
        mapped, failed = self._mapping.apply(batch)
        bad = [_bad_line(line) for line in (*batch.bad, *failed)]
        good: list[Loaded] = []
        for row in mapped:
            found = self._record(row)
            if isinstance(found, BadRow):
                bad.append(found)
            else:
                good.append(found)
        return good, bad

    def _record(self, row: MappedRow) -> Loaded | BadRow:
        line, values, original = row
        # Rows without a key are told apart by their lines: none is a duplicate of another.
        key = self._normalise(key_text(values.get(self._key))) if self._key else f"line {line}"
        if not key:
            return BadRow(
                line, "", BLANK_KEY, f"line {line}: {self._key} is blank: every record needs a key", _original(row)
            )
        if self._clear:
            kept = {name: "" if _blank(value) else value for name, value in values.items()}
        else:
            # Spelled out, for this is done for every cell: a blank one is None or text without anything in it.
            kept = {
                name: value
                for name, value in values.items()
                if value is not None and (value.__class__ is not str or (value and not value.isspace()))
            }
        if self.checker is not None:
            fault = self.checker(kept)
            if fault is not None:
                return BadRow(line, key, fault.code, f"line {line}: {fault.message}", _original(row))
        told = original is None and (len(kept) == len(values) or _told(values))
        if not self._key_travels:
            kept.pop(self._key, None)
            told = False
        group = self._group(kept)
        if self.shaper is not None:
            kept, told = dict(self.shaper(kept)), False
        try:
            payload = _encode(kept)
            return Loaded(key, payload, line, group, None if told else _original(row))
        except (TypeError, ValueError, OverflowError) as error:
            return BadRow(line, key, NOT_JSON, f"line {line}: a value that JSON has no form for: {error}", b"{}")


def _blank(value: object) -> bool:
    return value is None or (isinstance(value, str) and (not value or value.isspace()))


def _told(values: Mapping[str, object]) -> bool:
    """Whether the blanks that were left out were empty, so that nothing of them is to be kept."""
    return not any(isinstance(value, str) and value and value.isspace() for value in values.values())


def _original(row: MappedRow) -> bytes:
    return _safe(row.values if row.original is None else row.original)


def _bad_line(line: BadLine) -> BadRow:
    return BadRow(line.line, "", line.code, line.message, _safe(line.cells))


def _safe(values: Mapping[str, object]) -> bytes:
    """A row as JSON for people to read, whatever it holds."""
    try:
        return _encode(values)
    except (TypeError, ValueError, OverflowError):
        return _encode({str(name): _plain(value) for name, value in values.items()})


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    return str(value).encode("utf-8", "backslashreplace").decode()
