"""Under aiohttp: a client middleware. It sits inside the client's redirect and reconnect loop: one permit per hop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from headway.adapters.attempts import Attempt, Conduct, begin_async

__all__ = ["Handler", "middleware"]

Handler = Callable[[aiohttp.ClientRequest], Awaitable[aiohttp.ClientResponse]]
_NOT_SENT = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ServerFingerprintMismatch,
    aiohttp.ClientHttpProxyError,
)


def middleware(
    conduct: Conduct,
) -> Callable[[aiohttp.ClientRequest, Handler], Awaitable[aiohttp.ClientResponse]]:
    """For `aiohttp.ClientSession(middlewares=(…,))`."""

    async def limited(request: aiohttp.ClientRequest, handler: Handler) -> aiohttp.ClientResponse:
        number = 0
        while True:
            number += 1
            attempt = await begin_async(conduct.admission, request.method, request.url.raw_path_qs, _body(request))
            try:
                response = await _send(request, handler, attempt)
            except Exception:
                wait = conduct.again(attempt, number, status=None) if _repeatable(request) else None
                if wait is None:
                    raise
            else:
                wait = conduct.again(attempt, number, status=response.status) if _repeatable(request) else None
                if wait is None:
                    return response
                response.release()
                attempt.done()
            await asyncio.sleep(wait)

    return limited


def _repeatable(request: aiohttp.ClientRequest) -> bool:
    """Whether the body can be sent a second time."""
    body: Any = request.body
    return isinstance(body, bytes | aiohttp.BytesPayload | aiohttp.StringPayload) or not body


def _body(request: aiohttp.ClientRequest) -> object:
    """The body where it is there already."""
    body: Any = request.body
    return getattr(body, "_value", b"") if isinstance(body, aiohttp.BytesPayload) else body


async def _send(request: aiohttp.ClientRequest, handler: Handler, attempt: Attempt) -> aiohttp.ClientResponse:
    try:
        response = await handler(request)
        body = await response.read() if attempt.body_tells(response.status, response.headers) else b""
    except BaseException as error:
        attempt.failed(error, sent=not isinstance(error, _NOT_SENT))
        raise
    attempt.replied(response.status, response.headers, body)
    _end_with(response, attempt)
    return response


def _end_with(response: aiohttp.ClientResponse, attempt: Attempt) -> None:
    """End the attempt when the body was read, or the response released or closed before."""
    if response.content.is_eof() or response.closed:
        attempt.done()
        return
    response.content.on_eof(attempt.done)
    release, close = response.release, response.close

    def released() -> Any:
        attempt.done()
        return release()

    def closed() -> None:
        attempt.done()
        close()

    response.release = released  # type: ignore[method-assign]
    response.close = closed  # type: ignore[method-assign]
