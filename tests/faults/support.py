"""What the fault tests need: outcomes instead of exceptions, actions that must end, programs, a small platform.

Rules:
* A fault shows as a failed assertion, whatever the code at hand does instead: a raw error, a hang, a silent nonsense.
* Only the public door, the documented modules and the command line are used, so that any version can be tried.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests

import headway
from headway import Limiter, Permit
from headway.testing import VirtualClock, run_virtually
from tests.serving import serving

GRAPHQL = "/admin/api/2026-07/graphql.json"
"""Where Shopify takes queries."""


@dataclass
class Outcome:
    """How a call ended: its value, or what it raised; `ended` False when it did not come back in time."""

    value: Any = None
    error: BaseException | None = None
    ended: bool = True
    seconds: float = 0.0

    @property
    def fine(self) -> bool:
        """Whether it came back with a value."""
        return self.ended and self.error is None

    def __str__(self) -> str:
        if not self.ended:
            return f"still not back after {self.seconds:.1f} s"
        if self.error is not None:
            return f"{type(self.error).__name__}: {self.error}"
        return repr(self.value)


def outcome(action: Callable[[], Any]) -> Outcome:
    """Call it here; what it raises is kept."""
    begin = time.monotonic()
    try:
        return Outcome(action(), seconds=time.monotonic() - begin)
    except Exception as error:  # noqa: BLE001  # whatever it is, the test judges it
        return Outcome(error=error, seconds=time.monotonic() - begin)


def within(seconds: float, action: Callable[[], Any]) -> Outcome:
    """Call it in a thread, which is left behind if it does not come back in time."""
    found: list[Outcome] = []
    thread = threading.Thread(target=lambda: found.append(outcome(action)), daemon=True)
    thread.start()
    thread.join(seconds)
    return found[0] if found else Outcome(ended=False, seconds=seconds)


def got(limiter: Limiter, seconds: float, **how: Any) -> Permit | None:
    """A permit within so many seconds, from a thread of its own; None if there was none, for whatever reason."""
    permit: Permit | None = within(seconds + 5, lambda: limiter.acquire(timeout=seconds, **how)).value
    return permit


def takes(limiter: Limiter, most: int, **how: Any) -> list[Permit]:
    """As many permits as are to be had this instant."""
    found: list[Permit] = []
    while len(found) < most and (permit := limiter.try_acquire(**how)) is not None:
        found.append(permit)
    return found


def virtually(main: Callable[[VirtualClock], Coroutine[Any, Any, Any]], clock: VirtualClock | None = None) -> Any:
    """Run it in virtual time; what it raises is the outcome's error."""
    return run_virtually(main, clock)


async def permitted(limiter: Limiter, seconds: float, **how: Any) -> Permit | None:
    """As `got`, in an event loop and its (virtual) time."""
    try:
        return await limiter.acquire_async(timeout=seconds, **how)
    except TimeoutError:
        return None


def midnight_in(seconds: float) -> VirtualClock:
    """A virtual clock that stands so many seconds before 00:00 UTC."""
    day = datetime(2026, 11, 25, tzinfo=UTC).timestamp()
    clock = VirtualClock()
    return VirtualClock(wall=int((day - seconds) * 1_000_000_000) - clock.monotonic_ns())


def far_reset() -> str:
    """A daily reset that no test run will touch."""
    return f"{(datetime.now(UTC).hour + 12) % 24:02}:00 UTC"


class ExactWindow:
    """A platform's rolling window in virtual time: counts calls at an instant between sending and reply."""

    def __init__(self, amount: int, per: float) -> None:
        self.amount, self.per = amount, per
        self.stamps: list[float] = []
        self.refused = 0

    def arrive(self, now: float) -> int | None:
        """What remains after this call; None if it was refused."""
        self.stamps = [stamp for stamp in self.stamps if stamp > now - self.per]
        if len(self.stamps) >= self.amount:
            self.refused += 1
            return None
        self.stamps.append(now)
        return self.amount - len(self.stamps)


# -- processes


def environment(**more: str) -> dict[str, str]:
    """The environment of a child: that of the test without accounts of whoever runs it."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("HUBSPOT", "HEADWAY", "GA4"))}
    return {**clean, **more}


def start(code: str, folder: Path, *words: str, **more: str) -> subprocess.Popen[str]:
    """A Python program in that folder; it talks over its standard input and output."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *words],
        cwd=folder, env=environment(**more), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def end(process: subprocess.Popen[str], seconds: float) -> tuple[bool, str, str]:
    """Wait for it: whether it ended by itself, its output, its errors."""
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        out, err = process.communicate()
        return False, out, err
    return True, out, err


def said(code: str, folder: Path, *words: str, seconds: float = 25, **more: str) -> dict[str, Any]:
    """The last line of a program's output, as JSON; {"ended": False} and what it wrote if it hung or said nothing."""
    ended, out, err = end(start(code, folder, *words, **more), seconds)
    lines = out.strip().splitlines()
    try:
        found = json.loads(lines[-1])
    except (IndexError, ValueError):
        return {"ended": ended, "said": out[-500:], "wrote": err[-1500:]}
    return {"ended": ended, "wrote": err[-1500:], **found}


def command(folder: Path, *words: str, seconds: float = 40, **more: str) -> subprocess.CompletedProcess[str]:
    """The command line; exit code -9 if it had to be killed."""
    more.setdefault("HEADWAY_STATE", str(folder / "limits.db"))
    more.setdefault("XDG_CONFIG_HOME", str(folder / "config"))
    line = [sys.executable, "-m", "headway", *words]
    process = subprocess.Popen(
        line, cwd=folder, env=environment(**more), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    _, out, err = end(process, seconds)
    return subprocess.CompletedProcess(line, process.returncode, out, err)


def value_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The JSON object on standard output, {} if there is none."""
    try:
        found = json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


@contextlib.contextmanager
def busy(path: Path) -> Iterator[None]:
    """Nobody else gets at a SQLite file, as on a slow disk, as long as the block runs."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=10)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


def forget_state(path: Path) -> None:
    """Delete a state file with what lies beside it."""
    for each in path.parent.glob(path.name + "*"):
        each.unlink()


@contextlib.contextmanager
def sharing(path: Path, *limits: Any, **how: Any) -> Iterator[Limiter]:
    """A limiter on that file, with leases as short as tests need them."""
    with Limiter(*limits, **{"state": path, "name": "x", "ttl": 0.9, "linger": 0.5, "fresh": True, **how}) as limiter:
        yield limiter


def until(seconds: float, true: Callable[[], Any]) -> bool:
    """Whether it came true in time."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        if true():
            return True
        time.sleep(0.02)
    return bool(true())


def daily(amount: int, left: int) -> dict[str, str]:
    """HubSpot's word on the day."""
    return {"X-HubSpot-RateLimit-Daily": str(amount), "X-HubSpot-RateLimit-Daily-Remaining": str(left)}


# -- a platform over a socket


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses."""
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Reply:
    """What the platform answers."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = field(default_factory=dict)


@dataclass
class Asked:
    """A request as it came: `at` in seconds of the monotonic clock, `number` from 1."""

    at: float
    wall: float
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    number: int


class Platform(ThreadingHTTPServer):
    """Answers what `answer` says, keeps what it was asked."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, answer: Callable[[Asked], Reply]) -> None:
        self.answer = answer
        self.asked: list[Asked] = []
        self.statuses: list[int] = []
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are part of the tests."""

    def times(self, status: int) -> int:
        """How many replies had this status."""
        return self.statuses.count(status)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Platform

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        server = self.server
        with server.lock:
            asked = Asked(
                time.monotonic(), time.time(), self.command, self.path, dict(self.headers.items()), body,
                len(server.asked) + 1,
            )  # fmt: skip
            server.asked.append(asked)
            reply = server.answer(asked)
            server.statuses.append(reply.status)
        content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        self.send_response_only(reply.status)
        if "Date" not in reply.headers:
            self.send_header("Date", self.date_time_string())
        for name, value in {"Content-Type": "application/json", **reply.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle  # noqa: N815  # http.server's names

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def platform(answer: Callable[[Asked], Reply]) -> Iterator[Platform]:
    """A platform on a free port of 127.0.0.1."""
    with serving(Platform(answer)) as server:
        yield server


def session_of(doors: Any, **how: Any) -> requests.Session:
    """A requests session under these limits."""
    session = requests.Session()
    session.mount("http://", doors.adapter(**how))
    return session


def account(name: str, server: Platform, folder: Path, **how: Any) -> headway.Account:
    """An account of that platform at this address, with a state of its own."""
    how = {"token": "t", "base_url": server.url, "state": folder / "limits.db", **how}
    if "fresh" not in inspect.signature(headway.account).parameters:  # e222d7f: there every account of a platform was
        how.pop("fresh", None)
    return headway.account(name, **how)
