"""The one HTTP seam: a call goes out once, its whole reply comes back, or a TransportError says whether it was sent.

Rules:
* One permit, one wire attempt: no redirect is followed and nothing is sent again here. aiohttp repeats idempotent
  calls by itself when a kept connection turns out to be stale; that is switched off.
* `sent=False` only where no byte of the call was written: name lookup, connecting, TLS, the proxy's refusal.
* A reply is read to its last byte before it counts. A body that ends early, or is too long, is no reply.
* Errors carry no header and no body of ours, hence no credential.
"""

from __future__ import annotations

import asyncio
import io
import urllib.request
from collections.abc import Mapping
from time import perf_counter, time_ns
from typing import Protocol, Self
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from headway import redact
from headway.delivery.records import Call, Reply
from headway.errors import TransportError
from headway.version import __version__

__all__ = ["Stamp", "Transport"]

# Common servers drop idle connections after 5 s (uvicorn, node); whoever drops first must be us, or a call is lost.
_KEEP_IDLE = 4.0
_RAW_BODY = 1 << 20  # aiohttp warns about larger bodies given as bytes
_NOT_SENT = (
    aiohttp.ClientConnectorError,  # name lookup, connect, TLS, proxy unreachable
    aiohttp.ConnectionTimeoutError,
    aiohttp.ServerFingerprintMismatch,
    aiohttp.ClientHttpProxyError,  # the proxy refused to connect us
    aiohttp.InvalidURL,
    aiohttp.NonHttpUrlClientError,
)


class Stamp(Protocol):
    """What the transport may tell a permit."""

    def sent(self) -> None:
        """The last byte was written on an open connection."""


class Transport:
    """An HTTP client for one account, in one event loop; `aclose` it, or use it in an `async with` block.

    `base_url` precedes every call's path; `headers` go with every call; `auth`, which may be changed at any time, and
    `query` carry the credential, and go with none that has a whole address of its own. `timeout` is for
    the whole call, `connect_timeout` for opening a connection, in seconds; `max_body` in bytes. Proxies come from the
    environment (HTTPS_PROXY, NO_PROXY), looked up once.
    """

    def __init__(
        self,
        base_url: str,
        *,
        headers: Mapping[str, str] | None = None,
        auth: Mapping[str, str] | None = None,
        query: str = "",
        timeout: float = 30.0,
        connect_timeout: float = 10.0,
        max_body: int = 64 << 20,
    ) -> None:
        self._base = base_url.rstrip("/")
        self._headers = {"user-agent": f"headway/{__version__}", **(headers or {})}
        self.auth: Mapping[str, str] = auth or {}
        self._query = query
        self._timeout = timeout
        self._connect = min(connect_timeout, timeout)
        self._max_body = max_body
        self._timeouts: dict[float, aiohttp.ClientTimeout] = {}
        self._session: aiohttp.ClientSession | None = None

    def _open(self) -> aiohttp.ClientSession:
        session = aiohttp.ClientSession(
            # The engine bounds what is in flight; a pool that makes granted calls wait would only age their permits.
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_IDLE, ttl_dns_cache=300),
            headers=self._headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            proxy=_proxy_for(self._base),
            read_bufsize=1 << 18,
        )
        session._retry_connection = False
        return session

    async def send(self, call: Call, *, permit: Stamp | None = None) -> Reply:
        """Send one call and read its whole reply, whatever its status; raises TransportError.

        `permit` is not told of the write: a call may open a connection, and then nobody knows when it arrived.
        """
        del permit
        session = self._session
        if session is None:
            session = self._session = self._open()
        body = call.body
        data = io.BytesIO(body) if body is not None and len(body) > _RAW_BODY else body
        started = perf_counter()
        try:
            async with session.request(
                call.method, self._address(call), data=data, headers=self._fields_of(call),
                allow_redirects=False, timeout=self._limits(call.timeout or self._timeout),
            ) as response:  # fmt: skip
                content = await self._read(response, call.max_body or self._max_body)
                return Reply(response.status, _fields(response), content, perf_counter() - started, time_ns())
        except _NOT_SENT as error:
            raise TransportError(self._told(error), sent=False) from error
        except TimeoutError as error:
            waited = call.timeout or self._timeout
            raise TransportError(f"{self._host()}: no whole reply within {waited:g} s", sent=True) from error
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError, ValueError) as error:
            raise TransportError(self._told(error), sent=True) from error

    async def aclose(self) -> None:
        """Close the connections; idempotent."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _address(self, call: Call) -> str | URL:
        if call.url:
            return URL(call.url, encoded=True)
        path = call.path
        if self._query:
            path += ("&" if "?" in path else "?") + self._query
        return self._base + path

    def _fields_of(self, call: Call) -> Mapping[str, str]:
        return call.headers if call.url or not self.auth else {**self.auth, **call.headers}

    async def _read(self, response: aiohttp.ClientResponse, limit: int) -> bytes:
        first = b""
        parts: list[bytes] = []
        size = 0
        async for part in response.content.iter_any():
            size += len(part)
            if size > limit:
                raise TransportError(f"{self._host()}: the reply is longer than {limit >> 20} MB: not read", sent=True)
            if not first:
                first = part
            else:
                parts.append(part)
        return first if not parts else b"".join((first, *parts))

    def _limits(self, total: float) -> aiohttp.ClientTimeout:
        found = self._timeouts.get(total)
        if found is None:
            found = aiohttp.ClientTimeout(total=total, connect=self._connect, ceil_threshold=float("inf"))
            self._timeouts[total] = found
        return found

    def _host(self) -> str:
        return urlsplit(self._base).netloc.rpartition("@")[2] or self._base

    def _told(self, error: BaseException) -> str:
        what = redact.text(error).strip() or "the connection ended"
        return f"{self._host()}: {what} ({type(error).__name__})"


def _fields(response: aiohttp.ClientResponse) -> dict[str, str]:
    """Header fields by lower-case name; those that came several times joined as RFC 9110 (5.3) says."""
    raw = response.headers
    fields = {name.lower(): value for name, value in raw.items()}
    if len(fields) != len(raw):
        fields = {name: ", ".join(raw.getall(name)) for name in fields}
    return fields


def _proxy_for(base_url: str) -> str | None:
    """The proxy that the environment names for this address.

    Looked up here because aiohttp's trust_env asks two threads per call, and refuses an Authorization header of ours
    beside an entry in ~/.netrc.
    """
    parts = urlsplit(base_url)
    if not parts.hostname or urllib.request.proxy_bypass(parts.hostname):
        return None
    proxies = urllib.request.getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")
