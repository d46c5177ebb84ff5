"""Standard input, and whatever else can be read only once, copied to a file that can be read again."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path
from typing import BinaryIO

from headway.errors import SourceError

__all__ = ["spooled"]


def spooled(stream: BinaryIO, directory: Path, name: str) -> Path:
    """Copy a stream to a new file (mode 0600) in the directory, made if need be; raises SourceError.

    The caller removes the file when its run is over. A copy that was broken off is removed here.
    """
    path = directory / f"spool-{secrets.token_hex(8)}"
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as copy:
            shutil.copyfileobj(stream, copy, 1 << 20)
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise SourceError(f"{name}: cannot be copied to {directory}: {error.strerror or error}") from error
        raise
    return path
