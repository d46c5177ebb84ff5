"""What an account, or a limiter by itself, offers to other people's clients. Libraries are imported when asked for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from headway.adapters.attempts import IDEMPOTENT, Admission, Conduct, Only
from headway.delivery.retry import RetryPolicy
from headway.errors import UsageError
from headway.limiter.limiter import Limiter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import aiohttp
    from requests.adapters import HTTPAdapter

    from headway.adapters.aiohttp import Handler
    from headway.adapters.httpx import AsyncTransport, Transport

__all__ = ["Doors", "adapt"]


class Doors:
    """Adapters, all alike: `retry=RetryPolicy()` sends again what the platform refused for its rate, and, for
    `methods` (the idempotent ones of RFC 9110), what failed for a reason that may pass. Without it nothing is.
    """  # noqa: D205

    def _admission(self) -> Admission:
        raise NotImplementedError

    def _conduct(self, retry: RetryPolicy | None, methods: Iterable[str] | None) -> Conduct:
        chosen = IDEMPOTENT if methods is None else frozenset(method.upper() for method in methods)
        return Conduct(self._admission(), retry, chosen)

    def transport(
        self, inner: Any = None, *, retry: RetryPolicy | None = None, methods: Iterable[str] | None = None
    ) -> Transport:
        """For `httpx2.Client(transport=…)` and `httpx.Client`; `inner` sends, by default the library's own."""
        from headway.adapters.httpx import Transport as Made

        return Made(self._conduct(retry, methods), inner)

    def async_transport(
        self, inner: Any = None, *, retry: RetryPolicy | None = None, methods: Iterable[str] | None = None
    ) -> AsyncTransport:
        """For `httpx2.AsyncClient(transport=…)` and `httpx.AsyncClient`."""
        from headway.adapters.httpx import AsyncTransport as Made

        return Made(self._conduct(retry, methods), inner)

    def adapter(
        self, inner: Any = None, *, retry: RetryPolicy | None = None, methods: Iterable[str] | None = None
    ) -> HTTPAdapter:
        """For `requests.Session().mount("https://", …)`; `inner` an HTTPAdapter of yours. Raises UsageError."""
        with _needs("requests"):
            from headway.adapters.requests import limited
        return limited(self._conduct(retry, methods), inner)

    def middleware(
        self, *, retry: RetryPolicy | None = None, methods: Iterable[str] | None = None
    ) -> Callable[[aiohttp.ClientRequest, Handler], Awaitable[aiohttp.ClientResponse]]:
        """For `aiohttp.ClientSession(middlewares=(…,))`."""
        with _needs("aiohttp"):
            from headway.adapters.aiohttp import middleware as made
        return made(self._conduct(retry, methods))

    def interceptors(self, host: str = "", *, aio: bool = False) -> tuple[Any, ...]:
        """For `grpc.intercept_channel(channel, *…)`; with `aio=True` for `grpc.aio`'s channels."""
        with _needs("grpc", "grpcio"):
            from headway.adapters import grpc as door
        made = door.aio_interceptors if aio else door.interceptors
        del host  # an account is of one platform: nothing is left to route
        return made(self._admission())


class _Alone(Doors):
    def __init__(self, limiter: Limiter) -> None:
        self._only = Only(limiter)

    def _admission(self) -> Admission:
        return self._only


def adapt(limiter: Limiter) -> Doors:
    """The same adapters as an account has, for a limiter of your own; every call counts against all of its limits."""
    if not isinstance(limiter, Limiter):
        raise UsageError(f"adapt() takes a Limiter, not {type(limiter).__name__}")
    return _Alone(limiter)


class _needs:  # noqa: N801  # reads as a word in a with statement
    """Says what to install where a client's library is missing."""

    def __init__(self, module: str, package: str = "") -> None:
        self._module = module
        self._package = package or module

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] == self._module:
            raise UsageError(f"{self._module} is not installed: pip install {self._package}") from error
