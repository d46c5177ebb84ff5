"""Under gRPC: interceptors that take a permit per call. Google's APIs answer RESOURCE_EXHAUSTED where HTTP says 429.

gRPC's own retries (a service config's retryPolicy) happen below its interceptors and are not seen here: leave them
off for calls whose limit is tight. A call holds its permit until its last message was read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import grpc
import grpc.aio

from headway.adapters.attempts import Admission, Attempt, begin, begin_async

__all__ = ["aio_interceptors", "interceptors"]

# How the status codes read in the words of HTTP (google.rpc.Code); what is missing has no reply.
_STATUS = {
    grpc.StatusCode.OK: 200,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNKNOWN: 500,
    grpc.StatusCode.DATA_LOSS: 500,
}


def _ended(attempt: Attempt, code: Any, trailing: Any, details: str | None) -> None:
    status = _STATUS.get(code)
    if status is None:  # UNAVAILABLE, DEADLINE_EXCEEDED, CANCELLED: it may have been counted
        attempt.failed(ConnectionError(str(code)))
        return
    attempt.replied(status, _fields(trailing), (details or "").encode())
    attempt.done()


def _fields(metadata: Any) -> Mapping[str, str]:
    return {str(key): value for key, value in (metadata or ()) if isinstance(value, str)}


def _method(details: Any) -> str:
    return details.method.decode() if isinstance(details.method, bytes) else str(details.method)


class _Sync(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """For `grpc.intercept_channel(channel, *interceptors)`."""

    def __init__(self, whose: Admission) -> None:
        self._whose = whose

    def _call(self, continuation: Callable[[Any, Any], Any], details: Any, request: Any) -> Any:
        attempt = begin(self._whose, "POST", _method(details))
        try:
            call = continuation(details, request)
        except BaseException as error:
            attempt.failed(error)
            raise
        call.add_done_callback(lambda done: _ended(attempt, done.code(), done.trailing_metadata(), done.details()))
        return call

    intercept_unary_unary = _call
    intercept_unary_stream = _call
    intercept_stream_unary = _call
    intercept_stream_stream = _call


def interceptors(whose: Admission) -> tuple[Any, ...]:
    """For `grpc.intercept_channel(channel, *interceptors)`."""
    return (_Sync(whose),)


class _Aio:
    def __init__(self, whose: Admission) -> None:
        self._whose = whose

    async def _call(self, continuation: Callable[[Any, Any], Any], details: Any, request: Any) -> Any:
        attempt = await begin_async(self._whose, "POST", _method(details))
        try:
            call = await continuation(details, request)
        except BaseException as error:
            attempt.failed(error)
            raise
        call.add_done_callback(lambda done: _aio_ended(attempt, done))
        return call


def _aio_ended(attempt: Attempt, call: Any) -> None:
    """An asyncio call tells its status through coroutines only; `_cython_call` is there once it is done."""
    status = getattr(getattr(call, "_cython_call", None), "_status", None)
    if status is None:
        attempt.failed(ConnectionError("cancelled") if call.cancelled() else ConnectionError("no status"))
        return
    code = next((each for each in grpc.StatusCode if each.value[0] == status.code()), None)
    _ended(attempt, code, status.trailing_metadata(), status.details())


class _AioUnaryUnary(_Aio, grpc.aio.UnaryUnaryClientInterceptor):
    intercept_unary_unary = _Aio._call


class _AioUnaryStream(_Aio, grpc.aio.UnaryStreamClientInterceptor):
    intercept_unary_stream = _Aio._call


class _AioStreamUnary(_Aio, grpc.aio.StreamUnaryClientInterceptor):
    intercept_stream_unary = _Aio._call


class _AioStreamStream(_Aio, grpc.aio.StreamStreamClientInterceptor):
    intercept_stream_stream = _Aio._call


def aio_interceptors(whose: Admission) -> tuple[Any, ...]:
    """For `grpc.aio.insecure_channel(address, interceptors=[…])`; one per kind of call, as gRPC wants it."""
    return tuple(kind(whose) for kind in (_AioUnaryUnary, _AioUnaryStream, _AioStreamUnary, _AioStreamStream))
