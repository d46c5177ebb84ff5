"""A file on disk: opened plainly or through gzip, recognised by its first bytes, known again by its fingerprint."""

from __future__ import annotations

import gzip
import hashlib
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from headway.errors import SourceError
from headway.sources.model import Source

__all__ = ["HEAD", "File", "inspect", "refuse_changed"]

HEAD = 1 << 20
"""Bytes of a file (unpacked) that are looked at before anything else is."""

_ENDS = 1 << 16
_GZIP = b"\x1f\x8b"
_FOREIGN = {
    b"PK\x03\x04": "an Excel workbook or a zip archive: save the sheet as CSV (UTF-8)",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook: save the sheet as CSV (UTF-8)",
    b"%PDF": "a PDF document",
    b"SQLite format 3\0": "an SQLite database: name it as sqlite:///file.db and add --query 'SELECT …'",
    b"<?xml": "an XML document: write it as CSV or JSON Lines",
    b"<!DOCTYPE": "an HTML page: write it as CSV or JSON Lines",
    b"<html": "an HTML page: write it as CSV or JSON Lines",
    b"BZh": "packed with bzip2: unpack it first",
    b"\x28\xb5\x2f\xfd": "packed with zstd: unpack it first",
    b"\xfd7zXZ\0": "packed with xz: unpack it first",
}


@dataclass(frozen=True, slots=True)
class File:
    """A regular file: `head` are its first bytes, unpacked; `whole` when there are no more; `size` in bytes on disk."""

    path: Path
    name: str
    packed: bool
    head: bytes = field(repr=False, compare=False)
    whole: bool
    size: int
    fingerprint: str

    @contextmanager
    def open(self, offset: int = 0) -> Iterator[tuple[BinaryIO, BufferedReader]]:
        """The unpacked bytes from `offset`, and the file below them, whose place says how far the reading is.

        Raises SourceError for whatever the disk or gzip says, also from within the block.
        """
        with _reading(self.name), self.path.open("rb") as below:
            if not self.packed:
                below.seek(offset)
                yield below, below
                return
            with gzip.GzipFile(fileobj=below) as unpacked:
                unpacked.seek(offset)
                yield unpacked, below  # type: ignore[misc]  # GzipFile reads like any binary file

    def share(self, below: BufferedReader) -> float:
        """How much of the file was read, 0 to 1."""
        return min(1.0, below.tell() / self.size) if self.size else 1.0

    def refuse_changed(self) -> None:
        """Raise SourceError if the file is no longer what it was when it was opened: rows may be torn."""
        with _reading(self.name):
            if _fingerprint(self.path) != self.fingerprint:
                raise SourceError(f"{self.name}: changed while it was read: start again when nobody writes to it")


def inspect(path: Path, name: str) -> File:
    """Look at a file without reading more than its ends; raises SourceError if it cannot be a source."""
    with _reading(name):
        if not stat.S_ISREG(path.stat().st_mode):
            raise SourceError(f"{name}: not a file")
        fingerprint = _fingerprint(path)
        with path.open("rb") as below:
            packed = below.read(2) == _GZIP
            below.seek(0)
            if packed:
                with gzip.GzipFile(fileobj=below) as unpacked:
                    head = unpacked.read(HEAD + 1)
            else:
                head = below.read(HEAD + 1)
        size = path.stat().st_size
    if not head:
        raise SourceError(f"{name}: is empty: it has no header and no rows")
    for magic, what in _FOREIGN.items():
        if head.startswith(magic):
            raise SourceError(f"{name}: is {what}")
    return File(path.absolute(), name, packed, head[:HEAD], len(head) <= HEAD, size, fingerprint)


def refuse_changed(source: Source, fingerprint: str) -> None:
    """Raise SourceError unless the source is the one with this fingerprint: its positions would mean other rows."""
    if source.fingerprint == fingerprint:
        return
    was, now = fingerprint.split(":"), source.fingerprint.split(":")
    how = "is not the source the run began with"
    if was[0] == now[0] == "file":
        how = "was touched or rewritten since the run began"
        if was[1] != now[1]:
            how = f"has changed since the run began: it had {was[1]} bytes and has {now[1]}"
    elif was[0] == now[0] == "query":
        how = "is another database or another query than the run began with"
    raise SourceError(f"{source.describe} {how}: start a new run with headway sync")


def _fingerprint(path: Path) -> str:
    """Size, time of change, and a hash of both ends: cheap for any size, and a row appended or put in changes it."""
    with path.open("rb") as below:
        known = os.fstat(below.fileno())
        digest = hashlib.blake2b(below.read(_ENDS), digest_size=16)
        below.seek(max(0, known.st_size - _ENDS))
        digest.update(below.read(_ENDS))
    return f"file:{known.st_size}:{known.st_mtime_ns}:{digest.hexdigest()}"


@contextmanager
def _reading(name: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise SourceError(f"{name}: no such file") from error
    except PermissionError as error:
        raise SourceError(f"{name}: may not be read by this user") from error
    except EOFError as error:
        raise SourceError(f"{name}: ends in the middle of its packed data: copy it again") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise SourceError(f"{name}: is damaged: {error}") from error
    except OSError as error:
        raise SourceError(f"{name}: cannot be read: {error.strerror or error}") from error
