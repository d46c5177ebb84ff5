"""Who a process is, so that a dead one is recognised at once even when its number was given to another.

Rules:
* A process is its number and its start: two lives of one number never have the same `start`.
* `alive` errs on one side only: what cannot be told counts as alive, for a lease or heartbeat decides later.
* A holder's word for itself, `pid:start:random@machine`, says where it runs: what a number means is known only there.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import subprocess
import sys
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from socket import gethostname
from typing import NamedTuple

__all__ = ["Process", "alive", "holder_alive", "holder_id", "host", "identity", "machine"]

_GONE = frozenset("ZXx")  # states of /proc: a zombie does nothing more, though its parent did not ask for it yet


class Process(NamedTuple):
    """A process of this machine. `start` is opaque: compare it, store it, never read it."""

    pid: int
    start: str


def host() -> str:
    """This machine's name, as it stands in messages and beside a `Process` in storage."""
    return gethostname()


@lru_cache(maxsize=1)
def machine() -> str:
    """This machine, in a word that another one is most unlikely to have; without colons."""
    known = ""
    for place in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        with suppress(OSError, ValueError):
            known = known or Path(place).read_text(encoding="ascii").strip()
    return hashlib.sha256(f"{gethostname()}|{known}".encode()).hexdigest()[:12]


def holder_id() -> str:
    """A new word for something that this process holds; see `holder_alive`."""
    pid, start = identity()
    return f"{pid}:{start}:{secrets.token_hex(4)}@{machine()}"


def holder_alive(holder: str) -> bool:
    """Whether the process that made this word with `holder_id` may still run; True where nobody can tell.

    Also reads those without a machine, as Headway up to e222d7f made them: they are of this one.
    """
    number, _, rest = holder.partition(":")
    start, _, made = rest.rpartition(":")
    _, at, where = made.partition("@")
    if not number.isdecimal() or (at and where != machine()):
        return True
    return alive(int(number), start)


def identity() -> Process:
    """The present process, also right after a fork."""
    pid = os.getpid()
    return Process(pid, _own_start(pid))


def alive(pid: int, start: str) -> bool:
    """Whether the process that once had this `identity()` on this machine still runs; True when nobody can tell."""
    if pid <= 0:
        return False
    if start:
        world, _, began = start.rpartition("/")
        if world.partition("/")[0] != _boot():
            return False  # the machine was started anew since
        if world != _world():
            return True  # another container's numbers mean nothing here
        now = _began(pid)
        if now is not None:
            return now == began
    return _number_in_use(pid)


@lru_cache(maxsize=1)
def _own_start(pid: int) -> str:
    began = _began(pid)
    return f"{_world()}/{began}" if began else ""


def _world() -> str:
    """The boot and the name space in which process numbers are unique."""
    return f"{_boot()}/{_name_space()}"


@lru_cache(maxsize=1)
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _name_space() -> str:
    try:
        return str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:
        return ""


def _began(pid: int) -> str | None:
    """When a process began, in a form that is only compared; '' when there is none, None when nobody can tell."""
    if sys.platform == "win32":
        return None
    if Path("/proc/self/stat").exists():
        return _began_by_proc(pid)
    return _began_by_ps(pid)


def _began_by_proc(pid: int) -> str | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
    except OSError:
        return None
    fields = text[text.rindex(")") + 2 :].split()  # the name before it may hold anything, parentheses too
    return "" if fields[0] in _GONE else fields[19]  # field 22 of proc(5): clock ticks since the boot


def _began_by_ps(pid: int) -> str | None:
    """For macOS and the BSDs, to the second; in zone and language of nobody, so that all processes see the same."""
    try:
        done = subprocess.run(
            ["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
            env={"LC_ALL": "C", "TZ": "UTC"},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    state, _, began = done.stdout.strip().partition(" ")
    return "" if state[:1] in {"Z", ""} else " ".join(began.split())


def _number_in_use(pid: int) -> bool:
    if sys.platform == "win32":
        return True  # os.kill would end it, or press its Ctrl-C
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
