"""From an address to a place where something of ours is kept: one door for state, records, pools and identities.

Rules:
* What has no scheme is a path, and so is sqlite:///path; nothing else ever is. A path is not made from a URL by guess:
  a folder named after a password would be the least of it, every working directory would have limits of its own.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from headway.errors import UsageError

__all__ = ["Place", "open_url"]

_SCHEME = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]+):(//)?")
_KINDS = "a path, sqlite:///relative.db or sqlite:////absolute.db"


@dataclass(frozen=True, slots=True)
class Place:
    """A backend's `kind` ("sqlite") and the `path` of its file, as it was given."""

    kind: str
    path: Path


def open_url(url: str | os.PathLike[str], door: str) -> Place:
    """Where `url` leads: a path or sqlite:///path is a file; touches nothing.

    `door` names the setting in messages ("state", "--store"). Raises UsageError for every other scheme, without the
    secrets in the URL, and for an address without a file.
    """
    text = os.fspath(url)
    if not isinstance(text, str):
        raise UsageError(f"{door}: a path must be text, not {type(text).__name__}")
    found = _SCHEME.match(text)
    if found is None or (found[2] is None and not _is_url(text, found[1])):
        path = text
    elif found[1].lower() == "sqlite":
        rest = text[found.end() :]
        if found[2] is None or not rest.startswith("/"):
            raise UsageError(f"{door}: {_shown(text)!r} names no file: write {_KINDS}")
        path = rest[1:]
    else:
        raise UsageError(
            f"{door}: {_shown(text)!r} is of a kind that is not supported ({found[1].lower()}): give {_KINDS}"
        )
    if not path.strip() or "\0" in path:
        raise UsageError(f"{door}: a file is missing in {_shown(text)!r}: write {_KINDS}")
    return Place("sqlite", Path(path))


def _is_url(text: str, scheme: str) -> bool:
    """Whether `scheme:` without slashes is meant as a URL: a drive's letter or an existing file's name is not."""
    known = {"sqlite", "redis", "rediss", "postgres", "postgresql", "mysql", "file", "http", "https", "memory"}
    return scheme.lower().partition("+")[0] in known and not Path(text).exists()


def _shown(text: str) -> str:
    """The URL without user, password and parameters."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        return re.sub(r"[^\s:]*:[^\s@]*@.*", "…", text)
    # A password may hold any character, "/" and "?" too: everything before the last @ goes.
    head, at, tail = rest.rpartition("@")
    rest = f"…@{tail}" if at else head or tail
    return scheme + separator + rest.partition("?")[0]
