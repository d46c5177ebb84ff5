"""Which encoding a file has: its byte order mark, then what the caller says, then utf-8; and when that is wrong.

A few bad bytes are faults of their rows. A file that was written in another encoding is the caller's to name: the
verdict is `another encoding` when more than a fifth of the first lines are not utf-8, or when ten lines are not,
their bytes are letters in cp1252, and no line proves utf-8.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass

from headway.errors import SourceError, UsageError
from headway.sources.blocks import Block, is_wide

__all__ = ["Doubt", "Encoding", "choose"]

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before utf-16-le, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_PUNCTUATION = frozenset(
    b"\x80\x82\x84\x85\x91\x92\x93\x94\x96\x97\x99\xa1\xa7\xa9\xab\xae\xb0\xb7\xbb\xbf".decode("cp1252")
)
_RARE = frozenset("ÿþðÐÞ")
_PROOF = 10
_LETTERS = 3
_MOSTLY_NUL = 0.2


@dataclass(frozen=True, slots=True)
class Encoding:
    """A codec that expects no byte order mark, and the number of bytes of the mark to pass over."""

    name: str
    mark: int = 0


def choose(head: bytes, asked: str | None, path: str) -> Encoding:
    """The encoding of a file that begins with `head`; `asked` is what the caller said.

    Raises UsageError for a name that no codec has, SourceError where the file's beginning contradicts it.
    """
    wanted = _codec(asked) if asked else None
    for mark, name in _MARKS:
        if head.startswith(mark):
            if wanted is not None and not name.startswith(wanted.removesuffix("-sig")):
                raise SourceError(f"{path}: begins with the byte order mark of {name}, so it is not {wanted}: "
                                  f"leave --encoding out")  # fmt: skip
            return Encoding(name, len(mark))
    guess = _guess_wide(head)
    if wanted in ("utf-16", "utf-32"):
        return Encoding(guess if guess and guess.startswith(wanted) else f"{wanted}-le")
    if guess is not None and (wanted is None or not is_wide(wanted)):
        raise SourceError(f"{path}: byte {head.index(0)} is NUL, which no text in {wanted or 'utf-8'} holds; it looks "
                          f"like {guess} without a byte order mark: try --encoding {guess}")  # fmt: skip
    if wanted is None or wanted.startswith("utf-8"):
        return Encoding("utf-8")
    if not is_wide(wanted) and _is_utf8(head):
        raise SourceError(
            f"{path}: reads as utf-8 throughout its beginning, so it is not {wanted}: leave --encoding out"
        )
    return Encoding(wanted)


def _codec(name: str) -> str:
    try:
        known = codecs.lookup(name)
        plain = "\n,a".encode(name)
    except (LookupError, ValueError, TypeError) as error:
        raise UsageError(f"unknown encoding {name!r}: try utf-8, utf-16, cp1252 or latin-1") from error
    if plain.replace(b"\0", b"").lstrip(b"\xff\xfe") not in (b"\n,a", b"\xef\xbb\xbf\n,a"):
        raise UsageError(f"encoding {name!r} cannot be read here: write the file as utf-8")
    return {"iso8859-1": "latin-1"}.get(known.name, known.name)


def _is_utf8(head: bytes) -> bool:
    """Whether the bytes prove utf-8: several letters of more than one byte, and no fault."""
    try:
        text = head[: head.rfind(b"\n") + 1].decode()
    except UnicodeDecodeError:
        return False
    return sum(1 for character in text if not character.isascii()) >= _LETTERS


def _guess_wide(head: bytes) -> str | None:
    """utf-16 (or -32) by the NULs that Latin text has in it."""
    sample = head[:4096]
    if len(sample) < 2 or sample.count(0) < _MOSTLY_NUL * len(sample):
        return None
    bits = 32 if sample.count(0) > 0.6 * len(sample) else 16
    little = sample[1::2].count(0) >= sample[0::2].count(0) if bits == 16 else sample[0] != 0
    return f"utf-{bits}-{'le' if little else 'be'}"


class Doubt:
    """Counts the lines that are not in the encoding; `check` raises when the file, not the lines, must be wrong."""

    def __init__(self, encoding: Encoding, path: str) -> None:
        self._encoding = encoding
        self._path = path
        self._latin = 0
        self._proven = 0

    def check_head(self, found: Sequence[Block]) -> None:
        """Judge the first lines of the file; raises SourceError."""
        offset = damaged = total = 0
        first = ""
        for block in found:
            total += len(block.lines)
            damaged += len(block.damaged)
            if block.damaged and not first:
                at = min(block.damaged)
                line = total - len(block.lines) + at + 1
                begins = self._encoding.mark + offset + sum(block.sizes[:at])
                first = f"line {line}, which begins at byte {begins}: {block.damaged[at]}"
            offset += sum(block.sizes)
            self.check(block, total - len(block.lines))
        if damaged > total / 5:
            raise SourceError(f"{self._path}: {damaged} of the first {total} lines are not {self._encoding.name}; "
                              f"{first}; name the file's encoding, for example --encoding cp1252")  # fmt: skip

    def check(self, block: Block, lines_before: int) -> None:
        """Judge one more block; raises SourceError when ten lines are letters of cp1252 and none proves utf-8."""
        if not block.damaged or self._encoding.name != "utf-8":
            return
        self._latin += sum(1 for at in block.damaged if _is_latin(block.lines[at]))
        self._proven += sum(1 for at, line in enumerate(block.lines) if at not in block.damaged and not line.isascii())
        if self._latin >= _PROOF and not self._proven:
            at = min(block.damaged)
            raise SourceError(f"{self._path}, line {lines_before + at + 1}: {block.damaged[at]}; {self._latin} lines "
                              f"so far read like cp1252 and none like utf-8: try --encoding cp1252")  # fmt: skip


def _is_latin(line: str) -> bool:
    r"""Whether all bytes that are not utf-8 are letters or usual marks in cp1252; the line shows them as `\xNN`."""
    parts = line.split("\\x")[1:]
    try:
        text = bytes(int(part[:2], 16) for part in parts).decode("cp1252")
    except ValueError:
        return False
    strange = [character for character in text if not character.isascii()]
    return bool(strange) and all(
        character in _PUNCTUATION or (character.isalpha() and character not in _RARE) for character in strange
    )
