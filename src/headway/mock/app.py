"""The mock as an ASGI application: delays, faults, bytes.

A request goes through: its body → the delay before arrival → faults "arrival" → counted → faults "before" → work →
faults "after" → the delay of the reply → the reply. Where nothing delays arrival, it is counted as soon as its headers
are there. What was counted stays counted and what arrived is worked off even if the client goes away meanwhile, as
behind a real platform's load balancer.
"""

from __future__ import annotations

import contextlib
import random
import socket
import struct
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from headway.mock.admin import PREFIX, administer
from headway.mock.clock import SECOND, Clock, Stopped
from headway.mock.config import MockConfig
from headway.mock.faults import Fault
from headway.mock.platform import Arrival, Config, Platform
from headway.mock.replies import MockReply, date_header, refuse

__all__ = ["TRANSPORT", "MockApp"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

TRANSPORT = "headway.transport"  # the key under which server.py leaves the connection, so that it can be reset
_encode = msgspec.json.Encoder().encode
_JSON = (b"content-type", b"application/json;charset=utf-8")
_GONE = 499
_DRIPS = 20


class _Ended(Exception):
    """The connection ends without a reply, because of a fault."""

    def __init__(self, fault: str) -> None:
        super().__init__(fault)
        self.fault = fault


class _TooLarge(Exception):
    """A body beyond what the platform reads."""


class MockApp:
    """An ASGI application over one mock platform, `mock`: HubSpot by MockConfig, any of the catalogue by EntryConfig.

    A test may give it a clock of its own.
    """

    def __init__(self, config: Config | None = None, clock: Clock | None = None) -> None:
        self.mock: Platform = (config or MockConfig()).platform(clock)
        seed = self.mock.config.seed
        self._before = random.Random(f"arrival-{seed}")
        self._after = random.Random(f"reply-{seed}")
        self._dated = -1
        self._date = b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            with contextlib.suppress(Stopped):
                await self._http(scope, receive, send)
                return
            await _reset(scope, receive)  # the mock stops

    def stop(self) -> None:
        """End every request that waits; each gets a reset."""
        self.mock.clock.stop()

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["path"]
        if path.startswith(PREFIX):
            try:
                body = await _body(receive, self.mock.config.max_body)
            except _TooLarge:
                body = b""
            if body is not None:
                query = scope["query_string"].decode("latin-1")
                await self._send(send, administer(self.mock, method, path, query, body))
            return
        faults = self.mock.faults.pick(method, path)
        delay = self.mock.config.arrival_delay
        late = delay[1] > 0 or any(each.at == "arrival" for each in faults)
        authorization = next((value for name, value in scope["headers"] if name == b"authorization"), b"")

        def arrive() -> Arrival:
            query = scope["query_string"].decode("latin-1")
            counted: Arrival = self.mock.arrive(method, path, authorization.decode("latin-1"), query)
            return counted

        arrived = None if late else arrive()
        body, reply = await self._read(receive)
        if arrived is None:
            if body is None:
                return  # it never arrived
            if delay[1] > 0:
                await self.mock.clock.sleep(self._before.uniform(*delay))
            if not await self._held_up(faults, scope, receive, send, authorization):
                return
            arrived = arrive()
        if body is None:
            self.mock.journal.finish(arrived.entry, _GONE, self.mock.clock.monotonic())
            return
        await self._answer(arrived, body, reply, faults, scope, receive, send)

    async def _read(self, receive: Receive) -> tuple[bytes | None, MockReply | None]:
        """The body, None if the client went away before its end; or the refusal of one that is too large."""
        limit = self.mock.config.max_body
        try:
            return await _body(receive, limit), None
        except _TooLarge:
            reply = refuse(413, f"The request body is larger than {limit} bytes", "VALIDATION_ERROR")
            reply.headers["connection"] = "close"
            return b"", reply

    async def _held_up(
        self, faults: tuple[Fault, ...], scope: Scope, receive: Receive, send: Send, authorization: bytes
    ) -> bool:
        """Faults before a call is counted; False if it never will be."""
        for fault in faults:
            if fault.at != "arrival":
                continue
            if fault.kind == "foreign":
                self.mock.visit(authorization.decode("latin-1"), fault.calls)
                continue
            if fault.kind in {"slow", "hang"}:
                await self._wait(fault)
            if fault.kind == "slow":
                continue
            self.mock.journal.by_fault[fault.kind] += 1
            if fault.kind == "status":
                await self._send(send, self._instead(fault))
            else:
                await _reset(scope, receive)
            return False
        return True

    async def _answer(
        self,
        arrived: Arrival,
        body: bytes,
        reply: MockReply | None,
        faults: tuple[Fault, ...],
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        entry, finish = arrived.entry, self.mock.journal.finish
        befallen = "" if arrived.refused is not None else "+".join(each.kind for each in faults)
        try:
            if reply is None:
                reply = await self._work(arrived, body, faults)
            delay = self.mock.config.reply_delay
            if delay[1] > 0:
                await self.mock.clock.sleep(self._after.uniform(*delay))
        except _Ended as ended:
            finish(entry, 0, self.mock.clock.monotonic(), ended.fault)
            await _reset(scope, receive)
            return
        except Stopped:
            finish(entry, 0, self.mock.clock.monotonic(), "stopped")
            raise
        finish(entry, reply.status, self.mock.clock.monotonic(), befallen)
        cut = next((each for each in faults if each.kind == "truncate"), None)
        drip = next((each for each in faults if each.kind == "drip"), None)
        if cut is not None:
            await self._truncated(send, reply, scope, receive)
        elif drip is not None:
            await self._dripping(send, reply, drip)
        else:
            await self._send(send, reply)

    async def _work(self, arrived: Arrival, body: bytes, faults: tuple[Fault, ...]) -> MockReply:
        """The real reply or a fault's, with the faults around it; raises _Ended where there is none."""
        if not faults or arrived.refused is not None:  # a call that is over the limit meets nothing behind it
            return self.mock.perform(arrived, body)
        instead = await self._befall("before", faults)
        if instead is not None:
            arrived.refused = instead
            return self.mock.perform(arrived, body)
        reply = self.mock.perform(arrived, body)
        instead = await self._befall("after", faults)
        if instead is not None:
            instead.headers = reply.headers | instead.headers
            return instead
        return reply

    async def _befall(self, stage: str, faults: tuple[Fault, ...]) -> MockReply | None:
        for fault in faults:
            if fault.at != stage:
                continue
            if fault.kind == "status":
                return self._instead(fault)
            if fault.kind in {"slow", "hang"}:
                await self._wait(fault)
            if fault.kind in {"reset", "reset_after", "hang"}:
                raise _Ended(fault.kind)
        return None

    async def _wait(self, fault: Fault) -> None:
        await self.mock.clock.sleep(fault.seconds + (self._after.uniform(0, fault.jitter) if fault.jitter else 0.0))

    def _instead(self, fault: Fault) -> MockReply:
        """A made-up reply in the platform's words for its status."""
        reply = self.mock.worded(fault.status)
        if fault.body is not None:
            reply.body, reply.raw = fault.body, None
        if fault.retry_after is not None:
            reply.headers["retry-after"] = fault.retry_after
        return reply

    # -- bytes

    def _start(self, reply: MockReply) -> tuple[dict[str, Any], bytes]:
        data = reply.raw or (b"" if reply.body is None else _encode(reply.body))
        second = self.mock.clock.wall() // SECOND
        if second != self._dated:
            self._dated, self._date = second, date_header(second).encode()
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers.items()]
        headers += [(b"date", self._date), (b"content-length", b"%d" % len(data))]
        if reply.body is not None and reply.raw is None:
            headers.append(_JSON)
        return {"type": "http.response.start", "status": reply.status, "headers": headers}, data

    async def _send(self, send: Send, reply: MockReply) -> None:
        start, data = self._start(reply)
        if reply.status == 204:
            start["headers"] = [each for each in start["headers"] if each[0] != b"content-length"]
        await send(start)
        await send({"type": "http.response.body", "body": data})

    async def _truncated(self, send: Send, reply: MockReply, scope: Scope, receive: Receive) -> None:
        start, data = self._start(reply)
        await send(start)
        await send({"type": "http.response.body", "body": data[: len(data) // 2], "more_body": True})
        transport = scope.get(TRANSPORT)
        if transport is not None:
            transport.close()  # in order, after what was written: the client sees an end in the middle
            await _until_gone(receive)

    async def _dripping(self, send: Send, reply: MockReply, fault: Fault) -> None:
        start, data = self._start(reply)
        await send(start)
        size = max(1, -(-len(data) // _DRIPS))
        for at in range(0, len(data), size):
            await self.mock.clock.sleep(fault.seconds / _DRIPS)
            await send({"type": "http.response.body", "body": data[at : at + size], "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _body(receive: Receive, limit: int) -> bytes | None:
    """The whole body; None if the client went away before its end; raises _TooLarge."""
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        only: bytes = message.get("body", b"")
        if len(only) > limit:
            raise _TooLarge
        return only
    parts, size = [], 0
    while message["type"] == "http.request":
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise _TooLarge
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)
        message = await receive()
    return None


async def _reset(scope: Scope, receive: Receive) -> None:
    """End the connection with a TCP reset, not an orderly close."""
    transport = scope.get(TRANSPORT)
    if transport is None:
        raise ConnectionResetError("the mock resets this connection")  # in-process: what a socket would say
    raw = transport.get_extra_info("socket")
    if raw is not None:
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    await _until_gone(receive)


async def _until_gone(receive: Receive) -> None:
    """Until the server has noticed, so that it does not answer for us."""
    while (await receive())["type"] != "http.disconnect":
        pass
