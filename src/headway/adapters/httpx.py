"""Under httpx2 and httpx: transports that take a permit for every request that reaches the wire.

A client follows redirects and authenticates above its transport, so that every hop is an attempt of its own. Which of
the two libraries is meant is told by the first request; no import is needed before.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator
from functools import lru_cache
from types import ModuleType
from typing import Any, Self

from headway.adapters.attempts import Attempt, Conduct, begin, begin_async

__all__ = ["AsyncTransport", "Transport"]

_NOT_SENT = ("ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol")


def _library(request: Any) -> ModuleType:
    """The library that made this request, httpx or httpx2."""
    return sys.modules[type(request).__module__.partition(".")[0]]


def _unsent(error: BaseException) -> bool:
    return any(kind.__name__ in _NOT_SENT for kind in type(error).__mro__)


def _repeatable(request: Any) -> bool:
    """Whether the body can be sent a second time: bytes can, a generator cannot."""
    return isinstance(request.stream, _library(request).ByteStream)


def _told(request: Any) -> tuple[str, bytes]:
    """Path with query, and the body where it is there already."""
    return request.url.raw_path.decode("ascii", "replace"), b"".join(request.stream) if _repeatable(request) else b""


@lru_cache(maxsize=4)
def _streams(library: ModuleType) -> tuple[type, type]:
    """Body streams of this library that end their attempt when they end."""

    class SyncBody(library.SyncByteStream):  # type: ignore[misc, name-defined]
        def __init__(self, inner: Any, attempt: Attempt) -> None:
            self._inner = inner
            self._attempt = attempt

        def __iter__(self) -> Iterator[bytes]:
            yield from self._inner
            self._attempt.done()

        def close(self) -> None:
            try:
                self._inner.close()
            finally:
                self._attempt.done()

    class AsyncBody(library.AsyncByteStream):  # type: ignore[misc, name-defined]
        def __init__(self, inner: Any, attempt: Attempt) -> None:
            self._inner = inner
            self._attempt = attempt

        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for part in self._inner:
                yield part
            self._attempt.done()

        async def aclose(self) -> None:
            try:
                await self._inner.aclose()
            finally:
                self._attempt.done()

    return SyncBody, AsyncBody


class Transport:
    """A transport for `httpx2.Client` or `httpx.Client`; `inner` sends (default: the library's own HTTPTransport)."""

    def __init__(self, conduct: Conduct, inner: Any = None) -> None:
        self._conduct = conduct
        self._inner = inner

    def handle_request(self, request: Any) -> Any:
        """Send one request under a permit, again where the policy says so; what the client calls."""
        number = 0
        while True:
            number += 1
            attempt = begin(self._conduct.admission, request.method, *_told(request))
            try:
                response = self._send(request, attempt)
            except BaseException as error:
                wait = self._again(request, attempt, number, None) if isinstance(error, Exception) else None
                if wait is None:
                    raise
            else:
                wait = self._again(request, attempt, number, response.status_code)
                if wait is None:
                    return response
                response.close()
            time.sleep(wait)

    def _again(self, request: Any, attempt: Attempt, number: int, status: int | None) -> float | None:
        return self._conduct.again(attempt, number, status=status) if _repeatable(request) else None

    def _send(self, request: Any, attempt: Attempt) -> Any:
        if self._inner is None:
            self._inner = _library(request).HTTPTransport()
        try:
            response = self._inner.handle_request(request)
            body = response.read() if attempt.body_tells(response.status_code, response.headers) else b""
        except BaseException as error:
            attempt.failed(error, sent=not _unsent(error))
            raise
        attempt.replied(response.status_code, response.headers, body)
        if response.is_stream_consumed:
            attempt.done()
        else:
            response.stream = _streams(_library(request))[0](response.stream, attempt)
        return response

    def close(self) -> None:
        """Close the connections."""
        if self._inner is not None:
            self._inner.close()

    def __enter__(self) -> Self:
        if self._inner is not None:
            self._inner.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class AsyncTransport:
    """A transport for `httpx2.AsyncClient` or `httpx.AsyncClient`; `inner` sends (default: AsyncHTTPTransport)."""

    def __init__(self, conduct: Conduct, inner: Any = None) -> None:
        self._conduct = conduct
        self._inner = inner

    async def handle_async_request(self, request: Any) -> Any:
        """Send one request under a permit, again where the policy says so; what the client calls."""
        number = 0
        while True:
            number += 1
            attempt = await begin_async(self._conduct.admission, request.method, *_told(request))
            try:
                response = await self._send(request, attempt)
            except BaseException as error:
                wait = self._again(request, attempt, number, None) if isinstance(error, Exception) else None
                if wait is None:
                    raise
            else:
                wait = self._again(request, attempt, number, response.status_code)
                if wait is None:
                    return response
                await response.aclose()
            await asyncio.sleep(wait)

    def _again(self, request: Any, attempt: Attempt, number: int, status: int | None) -> float | None:
        return self._conduct.again(attempt, number, status=status) if _repeatable(request) else None

    async def _send(self, request: Any, attempt: Attempt) -> Any:
        if self._inner is None:
            self._inner = _library(request).AsyncHTTPTransport()
        try:
            response = await self._inner.handle_async_request(request)
            body = await response.aread() if attempt.body_tells(response.status_code, response.headers) else b""
        except BaseException as error:
            attempt.failed(error, sent=not _unsent(error))
            raise
        attempt.replied(response.status_code, response.headers, body)
        if response.is_stream_consumed:
            attempt.done()
        else:
            response.stream = _streams(_library(request))[1](response.stream, attempt)
        return response

    async def aclose(self) -> None:
        """Close the connections."""
        if self._inner is not None:
            await self._inner.aclose()

    async def __aenter__(self) -> Self:
        if self._inner is not None:
            await self._inner.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()
