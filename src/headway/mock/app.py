"""The mock as an ASGI application: delays, faults, bytes."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from headway.mock.admin import administer
from headway.mock.config import MockConfig
from headway.mock.faults import Fault
from headway.mock.platform import HubSpotMock
from headway.mock.replies import MockReply, refuse

__all__ = ["TRANSPORT", "MockApp"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

TRANSPORT = "headway.transport"  # the key under which server.py leaves the connection, so that it can be reset
_encode = msgspec.json.Encoder().encode


class MockApp:
    """An ASGI application over one mock platform."""

    def __init__(self, config: MockConfig | None = None) -> None:
        self.mock = HubSpotMock(config)
        self._rng = random.Random(self.mock.config.seed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        body = await _body(receive)
        if body is None:
            return  # the client went away
        path, method = scope["path"], scope["method"]
        if path.startswith("/_mock/"):
            await _reply(send, administer(self.mock, method, path, scope["query_string"].decode("latin-1"), body))
            return
        await self._serve(scope, send, method, path, body)

    async def _serve(self, scope: Scope, send: Send, method: str, path: str, body: bytes) -> None:
        config = self.mock.config
        fault = self.mock.faults.pick(method, path)
        if config.jitter:
            await asyncio.sleep(self._rng.uniform(0, config.jitter))
        if fault is not None and fault.kind == "reset":
            _reset(scope)
            return
        authorization = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        if fault is not None and fault.kind == "status":
            reply = self._fault_reply(fault, method, path, authorization.decode("latin-1"))
        else:
            reply = self.mock.answer(method, path, authorization.decode("latin-1"), body)
        wait = config.latency + (self._rng.uniform(0, config.jitter) if config.jitter else 0.0)
        if fault is not None and fault.kind in {"slow", "hang"}:
            wait += fault.seconds
        if wait:
            await asyncio.sleep(wait)
        if fault is not None and fault.kind in {"reset_after", "hang"}:
            _reset(scope)
            return
        await _reply(send, reply, scope if fault is not None and fault.kind == "truncate" else None)

    def _fault_reply(self, fault: Fault, method: str, path: str, authorization: str) -> MockReply:
        """A made-up refusal: the call is counted against the limits, but nothing is written."""
        refused = self.mock.answer(method, "/_refused" + path, authorization, b"")
        if refused.status == 429:
            return refused
        self.mock.by_status[refused.status] -= 1
        self.mock.by_status[fault.status] += 1
        reply = refuse(fault.status, "injected fault", "INJECTED")
        if fault.body is not None:
            reply.body = fault.body
        if fault.retry_after is not None:
            reply.headers["retry-after"] = fault.retry_after
        return reply


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _body(receive: Receive) -> bytes | None:
    message = await receive()
    if message["type"] == "http.disconnect":
        return None
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        return body
    parts = [body]
    while message.get("more_body"):
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
    return b"".join(parts)


async def _reply(send: Send, reply: MockReply, cut: Scope | None = None) -> None:
    data = b"" if reply.body is None else _encode(reply.body)
    headers = [(name.encode(), value.encode()) for name, value in reply.headers.items()]
    headers += [(b"content-type", b"application/json"), (b"content-length", str(len(data)).encode())]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    if cut is not None:
        await send({"type": "http.response.body", "body": data[: len(data) // 2], "more_body": True})
        await asyncio.sleep(0.01)
        transport = cut.get(TRANSPORT)
        if transport is not None:
            transport.close()
        return
    await send({"type": "http.response.body", "body": data})


def _reset(scope: Scope) -> None:
    """End the connection with a TCP reset, not an orderly close."""
    transport = scope.get(TRANSPORT)
    if transport is None:
        return
    raw = transport.get_extra_info("socket")
    if raw is not None:
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
