r"""Bytes in, lines of text out, in blocks; with every byte and every line accounted for.

Rules:
* The sizes of the blocks add up to the offset at which the next one begins: positions are exact.
* Lines end with \n, \r\n or \r and keep their ends, so that a quoted field comes out as it was written.
* Bytes that are no text damage their line, never the file: the line is shown with `\xNN` and named in `damaged`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from headway.errors import SourceError

__all__ = ["LINES", "MAX_LINE", "Block", "blocks", "is_wide"]

LINES = 2000
"""Lines of a block at most; a batch is one block, more where a record goes on into the next."""

BYTES = 1 << 22
"""Bytes of a block at most, or a little more: long lines make shorter blocks."""

CHUNK = 1 << 18
MAX_LINE = 1 << 24
"""Bytes of a line at most: what is longer is not a file of lines (and would fill the memory)."""


@dataclass(frozen=True, slots=True)
class Block:
    """Whole lines that follow each other, their sizes in bytes, and by index what is wrong with a damaged one."""

    lines: list[str]
    sizes: list[int]
    damaged: dict[int, str]


def is_wide(encoding: str) -> bool:
    """Whether the encoding writes a line end in more than one byte (utf-16, utf-32)."""
    return len("\n".encode(encoding)) > 1


def blocks(stream: BinaryIO, encoding: str, name: str) -> Iterator[Block]:
    """The lines from the stream's place to its end; `encoding` must not expect a byte order mark.

    Raises SourceError, which says the file's `name`, for a line above `MAX_LINE`; what the stream raises passes.
    """
    return _wide(stream, encoding, name) if is_wide(encoding) else _narrow(stream, encoding, name)


def _narrow(stream: BinaryIO, encoding: str, name: str) -> Iterator[Block]:
    rest = b""
    waiting: list[bytes] = []
    while chunk := stream.read(CHUNK):
        data = rest + chunk
        waiting += data.splitlines(keepends=True)
        # What ends with \r may go on with \n, what has no end goes on: the next chunk tells.
        rest = b"" if data.endswith(b"\n") else waiting.pop()
        _refuse_endless(rest, name)
        while len(waiting) >= LINES or (waiting and sum(map(len, waiting)) >= BYTES):
            yield _decoded(waiting[:LINES], encoding)
            del waiting[:LINES]
    waiting += rest.splitlines(keepends=True)
    for index in range(0, len(waiting), LINES):
        yield _decoded(waiting[index : index + LINES], encoding)


def _decoded(raws: Sequence[bytes], encoding: str) -> Block:
    try:
        lines = [raw.decode(encoding) for raw in raws]
    except UnicodeDecodeError:
        return _mended(raws, encoding)
    return Block(lines, list(map(len, raws)), _nuls(lines))


def _mended(raws: Sequence[bytes], encoding: str) -> Block:
    lines: list[str] = []
    damaged: dict[int, str] = {}
    for index, raw in enumerate(raws):
        try:
            lines.append(raw.decode(encoding))
        except UnicodeDecodeError as error:
            lines.append(raw.decode(encoding, "backslashreplace"))
            damaged[index] = f"byte 0x{raw[error.start]:02X} at byte {error.start + 1} of the line is not {encoding}"
    return Block(lines, list(map(len, raws)), _nuls(lines) | damaged)


def _nuls(lines: Sequence[str]) -> dict[int, str]:
    """Lines with a NUL: no program writes one into a text file on purpose."""
    return {index: "it holds a NUL byte" for index, line in enumerate(lines) if "\0" in line}


def _wide(stream: BinaryIO, encoding: str, name: str) -> Iterator[Block]:
    newline = "\n".encode(encoding)
    unit = len(newline)
    rest = b""
    while chunk := stream.read(8 * CHUNK):  # what a batch needs: blocks of wide text end with their chunk
        data = rest + chunk
        cut = _last_end(data, newline)
        rest = data[cut:]
        _refuse_endless(rest, name)
        if cut:
            yield from _cut(_text(data[:cut], encoding, name), encoding)
    if rest:
        whole = len(rest) - len(rest) % unit
        last = list(_cut(_text(rest[:whole], encoding, name), encoding)) or [Block([""], [0], {})]
        if whole != len(rest):
            end = last[-1]
            end.lines[-1] += "".join(f"\\x{byte:02x}" for byte in rest[whole:])
            end.sizes[-1] += len(rest) - whole
            end.damaged[len(end.lines) - 1] = f"the file ends in the middle of a character of {encoding}"
        yield from last


def _last_end(data: bytes, newline: bytes) -> int:
    """Where the last whole line ends: a newline's bytes count only where a character begins."""
    at = data.rfind(newline)
    while at > 0 and at % len(newline):
        at = data.rfind(newline, 0, at + len(newline) - 1)
    return 0 if at < 0 or at % len(newline) else at + len(newline)


def _text(data: bytes, encoding: str, name: str) -> str:
    try:
        return data.decode(encoding, "surrogatepass")
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{name}: not {encoding}: {error.reason}; name the file's encoding with --encoding"
        ) from error


def _cut(text: str, encoding: str) -> Iterator[Block]:
    every = list(io.StringIO(text, newline=""))
    for index in range(0, len(every), LINES):
        lines = every[index : index + LINES]
        sizes = [len(line.encode(encoding, "surrogatepass")) for line in lines]
        damaged = _nuls(lines)
        for at, line in enumerate(lines):
            if not line.isascii() and any("\ud800" <= character <= "\udfff" for character in line):
                lines[at] = line.encode("utf-8", "backslashreplace").decode()
                damaged[at] = f"it holds half a character of {encoding}"
        yield Block(lines, sizes, damaged)


def _refuse_endless(rest: bytes, name: str) -> None:
    if len(rest) > MAX_LINE:
        raise SourceError(f"{name}: a line of more than {MAX_LINE >> 20} MB: not a file of lines")
