"""The Data API over gRPC, for the official SDK's own transport: the same property, the same counts."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from headway.mock.ga4.property import GA4Mock
from headway.mock.replies import MockReply

__all__ = ["serve_rpc"]

_SERVICE = "/google.analytics.data.v1beta.BetaAnalyticsData/"
_CODES = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
          429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE"}  # fmt: skip


@contextmanager
def serve_rpc(mock: GA4Mock) -> Iterator[str]:
    """Serve on a free port of 127.0.0.1 for as long as the block runs; gives `host:port`."""
    import grpc
    from google.analytics.data_v1beta import types

    lock = threading.Lock()
    kinds: dict[str, tuple[Any, Any]] = {
        "RunReport": (types.RunReportRequest, types.RunReportResponse),
        "BatchRunReports": (types.BatchRunReportsRequest, types.BatchRunReportsResponse),
    }

    def answer(name: str, request: Any, context: Any) -> Any:
        asked, answered = kinds[name]
        said = json.loads(asked.to_json(request, always_print_fields_with_no_presence=False))
        owner = said.pop("property", "")
        verb = name[0].lower() + name[1:]
        token = dict(context.invocation_metadata()).get("authorization", "")
        with lock:
            reply = mock.answer("POST", f"/v1beta/{owner}:{verb}", token, json.dumps(said).encode())
        return _told(reply, answered, context)

    def _told(reply: MockReply, kind: Any, context: Any) -> Any:
        if reply.status != 200:
            code = getattr(grpc.StatusCode, _CODES.get(reply.status, "INTERNAL"))
            context.abort(code, reply.body["error"]["message"])
        return kind.from_json(json.dumps(reply.body), ignore_unknown_fields=True)

    class Handler(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, details: Any) -> Any:
            name = details.method.removeprefix(_SERVICE)
            if name not in kinds:
                return None
            asked, answered = kinds[name]
            return grpc.unary_unary_rpc_method_handler(
                lambda request, context: answer(name, request, context),
                request_deserializer=asked.deserialize,
                response_serializer=answered.serialize,
            )

    server = grpc.server(ThreadPoolExecutor(32), handlers=(Handler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
