"""Whether a file is used by a living process: told file by file, whatever else lies in its folder.

Rules:
* Who uses a file holds a shared lock on a file beside it, `<name>.inuse`, that lives as long as the process.
* Headway up to e222d7f held a lock on the whole folder instead. We hold that too, for its sake. A process that has the
  folder locked, but neither this file nor one that was deleted under this name open, does not use it; where that cannot
  be found out, it counts as using it.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

__all__ = ["InUse"]


class InUse:
    """The locks of this process on one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._place = path.with_name(path.name + ".inuse")
        self._handles: list[int] = []

    @property
    def known(self) -> bool:
        """Whether a file of this name was ever used here."""
        return self._place.exists()

    def by_anybody(self) -> bool:
        """Whether a living process, this one included, uses the file; OSError if the folder cannot be used."""
        if self._handles:
            return True
        if sys.platform == "win32":
            return False
        return _locked(self._place) or (_locked(self._path.parent) and self._open_somewhere())

    def hold(self) -> None:
        """This process uses the file from now on. Best effort."""
        if self._handles or sys.platform == "win32":
            return
        import fcntl

        for place, flags in ((self._place, os.O_RDWR | os.O_CREAT), (self._path.parent, os.O_RDONLY)):
            with suppress(OSError):
                handle = os.open(place, flags | os.O_CLOEXEC, 0o600)
                self._handles.append(handle)
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def release(self) -> None:
        """This process uses it no more."""
        while self._handles:
            os.close(self._handles.pop())

    def _open_somewhere(self) -> bool:
        """Whether one of those who hold the folder has this file open, or one deleted under its name."""
        locks = _locks()
        found = locks.get(self._path.parent.stat().st_ino)
        if not found:
            return True  # nobody can tell who it is
        for place in self._path.parent.glob("*.inuse"):
            found = found - locks.get(place.stat().st_ino, set())  # those would hold our file's as well
        names = {str(self._path), f"{self._path} (deleted)"}
        for pid in found:
            try:
                fds = list(Path(f"/proc/{pid}/fd").iterdir())
            except OSError:
                if Path(f"/proc/{pid}").exists():
                    return True  # alive, and not for us to see
                continue
            for fd in fds:
                with suppress(OSError):
                    if str(fd.readlink()) in names:
                        return True
        return False


def _locked(place: Path) -> bool:
    import fcntl

    try:
        handle = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def _locks() -> dict[int, set[int]]:
    """Which processes have which inodes locked, as far as /proc tells."""
    found: dict[int, set[int]] = {}
    with suppress(OSError):
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            fields = line.split()
            if fields[1] == "FLOCK":
                found.setdefault(int(fields[5].rpartition(":")[2]), set()).add(int(fields[4]))
    return found
