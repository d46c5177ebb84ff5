"""Under urllib3: connection pools that take a permit per wire attempt, and a reversible hook for every pool.

Rules:
* `urlopen` takes the permit, before a connection is taken out of the pool; `_make_request`, called once per attempt,
  sees its reply. urllib3's retries and redirects re-enter `urlopen` with the first frame still open: there the
  attempt before is settled first, so that it never waits for itself.
* The hook routes by host; hosts that nobody named pass untouched. When the last hook is undone, urllib3 is as it was.
* The methods are replaced on the classes; requests, and the SDKs built on it or on urllib3, need no change.
"""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import urlsplit

import urllib3
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, EmptyPoolError, NewConnectionError, ProxyError

from headway.adapters.attempts import Admission, Attempt, Conduct, admission, begin
from headway.delivery.retry import RetryPolicy
from headway.errors import UsageError
from headway.limiter.limiter import Limiter

__all__ = ["Patch", "gate_pools", "patch_urllib3"]

_UNSENT = (ConnectTimeoutError, EmptyPoolError, NewConnectionError, ProxyError)
_frames = threading.local()
_lock = threading.Lock()
_patches: list[Patch] = []
_originals: dict[str, Callable[..., Any]] = {}


class _Frame:
    """One `urlopen` on this thread's stack: its pool's conduct and the attempt that is open in it."""

    __slots__ = ("attempt", "reentered", "sent")

    def __init__(self, attempt: Attempt) -> None:
        self.attempt = attempt
        self.sent = False
        self.reentered = False

    def reenter(self) -> None:
        """urllib3 sends again from within: this attempt is over."""
        self.reentered = True
        if self.sent:
            self.attempt.done()
        else:
            self.attempt.failed(_UnsentError(), sent=False)


def _stack() -> list[_Frame]:
    found: list[_Frame] | None = getattr(_frames, "stack", None)
    if found is None:
        found = _frames.stack = []
    return found


class _UnsentError(Exception):
    """No byte was written: an attempt that urllib3 gave up before it had a connection."""


def _urlopen(
    original: Callable[..., Any], conduct: Conduct, pool: Any, method: str, url: str, *args: Any, **named: Any
) -> Any:
    """One `urlopen` under permits; again where the policy says so and the body can be repeated."""
    body = args[0] if args else named.get("body")
    stack = _stack()
    number = 0
    while True:
        number += 1
        for outer in stack:
            outer.reenter()
        frame = _Frame(begin(conduct.admission, method, _path(url), body))
        stack.append(frame)
        try:
            response = original(pool, method, url, *args, **named)
        except Exception as error:
            frame.attempt.failed(error, sent=frame.sent)
            wait = _again(conduct, frame, number, body, None)
            if wait is None:
                raise
        except BaseException as error:
            frame.attempt.failed(error, sent=frame.sent)
            raise
        else:
            wait = _again(conduct, frame, number, body, response.status)
            if wait is None:
                return response
            response.drain_conn()
            frame.attempt.done()
        finally:
            stack.remove(frame)
        time.sleep(wait)


def _path(url: str) -> str:
    """Path and query of what `urlopen` is given, which behind a proxy is a whole address."""
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _again(conduct: Conduct, frame: _Frame, number: int, body: Any, status: int | None) -> float | None:
    """Seconds until we send again; None where urllib3 did so by itself, or the body is a stream that was read."""
    if frame.reentered or not (body is None or isinstance(body, bytes | str)):
        return None
    return conduct.again(frame.attempt, number, status=status)


def _make_request(original: Callable[..., Any], pool: Any, *args: Any, **named: Any) -> Any:
    """The attempt itself: what its reply says, and when it ends."""
    stack = _stack()
    if not stack:
        return original(pool, *args, **named)
    frame = stack[-1]
    frame.sent = True
    try:
        response = original(pool, *args, **named)
    except BaseException as error:
        frame.attempt.failed(error, sent=not isinstance(error, _UNSENT))
        raise
    _replied(frame.attempt, response)
    return response


def _replied(attempt: Attempt, response: Any) -> None:
    body = b""
    if attempt.body_tells(response.status, response.headers):
        body = _peeked(response)
    attempt.replied(response.status, dict(response.headers), body)
    original = getattr(response, "_original_response", None)
    if original is None or original.isclosed():
        attempt.done()
        return
    release, close = response.release_conn, response.close

    def released() -> Any:
        if original.isclosed():
            attempt.done()
        return release()

    def closed() -> Any:
        attempt.done()
        return close()

    response.release_conn = released
    response.close = closed


def _peeked(response: Any) -> bytes:
    """The body, decoded, and put back so that whoever reads it next, decoded or not, gets it whole."""
    if getattr(response, "_body", None) is not None:
        return bytes(response.data)
    raw = response.read(decode_content=False)
    response._fp = io.BytesIO(raw)
    response.length_remaining = len(raw)
    response._fp_bytes_read = 0
    copy = urllib3.HTTPResponse(io.BytesIO(raw), headers=response.headers, preload_content=False)
    try:
        return bytes(copy.read(decode_content=True))
    except urllib3.exceptions.HTTPError:
        return b""


# -- pools of one's own: what the requests adapter uses


def gate_pools(manager: Any, conduct: Conduct) -> None:
    """Let every pool that this manager makes take permits."""

    def gated(kind: type) -> type:
        class Gated(kind):  # type: ignore[misc]
            def urlopen(self, method: str, url: str, *args: Any, **named: Any) -> Any:
                return _urlopen(kind.urlopen, conduct, self, method, url, *args, **named)  # type: ignore[attr-defined]

            def _make_request(self, *args: Any, **named: Any) -> Any:
                return _make_request(kind._make_request, self, *args, **named)  # type: ignore[attr-defined]

        Gated.__name__ = Gated.__qualname__ = kind.__name__
        return Gated

    manager.pool_classes_by_scheme = {scheme: gated(kind) for scheme, kind in manager.pool_classes_by_scheme.items()}


# -- the hook for all pools


class Patch:
    """What `patch_urllib3` returns: in force until `undo` or the end of its `with` block."""

    def __init__(self, routes: Mapping[str, Conduct]) -> None:
        self.routes = {host.lower(): conduct for host, conduct in routes.items()}

    def find(self, host: str, port: int | None) -> Conduct | None:
        """Whose limits a call to this host counts against; None for nobody's."""
        host = host.strip("[]").lower()
        for pattern, conduct in self.routes.items():
            if fnmatchcase(host, pattern) or (port and fnmatchcase(f"{host}:{port}", pattern)):
                return conduct
        return None

    def undo(self) -> None:
        """Take the hook off again. May be called twice."""
        with _lock:
            if self in _patches:
                _patches.remove(self)
            if not _patches:
                _restore()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        self.undo()
        return False


def patch_urllib3(
    routes: Mapping[str, Limiter | Admission],
    *,
    retry: RetryPolicy | None = None,
    methods: frozenset[str] | None = None,
) -> Patch:
    """Hold every call that urllib3 sends to these hosts, through whatever SDK, to these limits.

    `routes`: host, "host:port" or pattern ("*.salesforce.com") to a Limiter or an account. In force at once, until
    `undo()` or the end of the `with` block. Raises UsageError for a route that is a URL or names no limiter.
    """
    if not routes:
        raise UsageError("patch_urllib3: name the hosts: patch_urllib3({'api.hubapi.com': account})")
    conducts = {}
    for host, whose in routes.items():
        if "/" in host or not host:
            raise UsageError(f"patch_urllib3: {host!r} is not a host name: leave out scheme and path")
        conduct = Conduct(admission(whose), retry)
        conducts[host] = conduct if methods is None else Conduct(conduct.admission, retry, methods)
    patch = Patch(conducts)
    with _lock:
        _patches.append(patch)
        _install()
    return patch


def _route(pool: Any) -> Conduct | None:
    for patch in reversed(_patches):
        found = patch.find(pool.host or "", pool.port)
        if found is not None:
            return found
    return None


def _install() -> None:
    if _originals:
        return
    urlopen, make_request = HTTPConnectionPool.urlopen, HTTPConnectionPool._make_request
    _originals.update(urlopen=urlopen, _make_request=make_request)

    def patched_urlopen(pool: Any, method: str, url: str, *args: Any, **named: Any) -> Any:
        conduct = _route(pool)
        if conduct is None or type(pool).urlopen not in {patched_urlopen, HTTPSConnectionPool.urlopen}:
            return urlopen(pool, method, url, *args, **named)
        return _urlopen(urlopen, conduct, pool, method, url, *args, **named)

    def patched_make_request(pool: Any, *args: Any, **named: Any) -> Any:
        if _route(pool) is None or type(pool)._make_request is not patched_make_request:
            return make_request(pool, *args, **named)
        return _make_request(make_request, pool, *args, **named)

    _originals.update(patched_urlopen=patched_urlopen, patched_make_request=patched_make_request)
    HTTPConnectionPool.urlopen = patched_urlopen  # type: ignore[method-assign, assignment]
    HTTPConnectionPool._make_request = patched_make_request  # type: ignore[method-assign, assignment]


def _restore() -> None:
    """Put urllib3's methods back, unless somebody else replaced ours meanwhile: then ours pass everything through."""
    if _originals and HTTPConnectionPool.urlopen is _originals["patched_urlopen"]:
        HTTPConnectionPool.urlopen = _originals["urlopen"]  # type: ignore[method-assign]
        HTTPConnectionPool._make_request = _originals["_make_request"]  # type: ignore[method-assign]
        _originals.clear()
