"""gRPC over a real channel: a permit per call, RESOURCE_EXHAUSTED is a refusal, a lost call lingers."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent import futures

import grpc
import grpc.aio
import pytest

import headway
from headway import Concurrency, Limiter, Window


class _Service(grpc.GenericRpcHandler):
    def service(self, details):
        name = details.method.rpartition("/")[2]
        return {
            "Echo": grpc.unary_unary_rpc_method_handler(lambda request, _: request),
            "Full": grpc.unary_unary_rpc_method_handler(
                lambda _, context: context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "tokens per day")
            ),
            "Gone": grpc.unary_unary_rpc_method_handler(
                lambda _, context: context.abort(grpc.StatusCode.UNAVAILABLE, "restarting")
            ),
            "Count": grpc.unary_stream_rpc_method_handler(lambda request, _: iter([request] * 3)),
        }.get(name)


@pytest.fixture
def address() -> Iterator[str]:
    server = grpc.server(futures.ThreadPoolExecutor(4), handlers=[_Service()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(0).wait()


def limits() -> Limiter:
    return Limiter(Window(100, per=60), Concurrency(1))


def state(of: Limiter) -> tuple[int, int, int, bool]:
    window, slots = of.snapshot()
    return window.cooling + window.in_flight, slots.in_flight, slots.cooling, bool(window.paused)


def test_threads(address: str):
    of = limits()
    with grpc.insecure_channel(address) as bare:
        channel = grpc.intercept_channel(bare, *headway.adapt(of).interceptors())
        assert channel.unary_unary("/a.B/Echo")(b"x") == b"x"
        assert state(of) == (1, 0, 0, False)
        assert list(channel.unary_stream("/a.B/Count")(b"y")) == [b"y"] * 3
        assert channel.unary_unary("/a.B/Echo").future(b"x").result() == b"x"
        with pytest.raises(grpc.RpcError):
            channel.unary_unary("/a.B/Full")(b"x")
        assert state(of) == (4, 0, 0, True)
    of = limits()
    with grpc.insecure_channel(address) as bare:
        channel = grpc.intercept_channel(bare, *headway.adapt(of).interceptors())
        with pytest.raises(grpc.RpcError):
            channel.unary_unary("/a.B/Gone")(b"x")
        assert state(of) == (1, 0, 1, False)


async def test_event_loops(address: str):
    of = limits()
    async with grpc.aio.insecure_channel(address, interceptors=headway.adapt(of).interceptors(aio=True)) as channel:
        assert await channel.unary_unary("/a.B/Echo")(b"x") == b"x"
        assert [part async for part in channel.unary_stream("/a.B/Count")(b"y")] == [b"y"] * 3
        assert await channel.unary_unary("/a.B/Echo")(b"x") == b"x"
        with pytest.raises(grpc.RpcError):
            await channel.unary_unary("/a.B/Full")(b"x")
        assert state(of)[0:2] == (4, 0)
        assert state(of)[3]
