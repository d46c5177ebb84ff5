"""Every client under test, sync and async, behind one way of sending a call."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import Any

import headway

Send = Callable[..., tuple[int, bytes]]


@contextlib.contextmanager
def _httpx(module: str, doors: Any, settings: dict[str, Any]) -> Iterator[Send]:
    library = __import__(module)
    with library.Client(transport=doors.transport(**settings), follow_redirects=True) as client:

        def send(url: str, method: str = "GET") -> tuple[int, bytes]:
            reply = client.request(method, url)
            return reply.status_code, reply.content

        yield send


@contextlib.contextmanager
def _requests(_: str, doors: Any, settings: dict[str, Any]) -> Iterator[Send]:
    import requests

    with requests.Session() as session:
        session.mount("http://", doors.adapter(**settings))

        def send(url: str, method: str = "GET") -> tuple[int, bytes]:
            reply = session.request(method, url, timeout=10)
            return reply.status_code, reply.content

        yield send


@contextlib.contextmanager
def _urllib3(_: str, doors: Any, settings: dict[str, Any]) -> Iterator[Send]:
    import urllib3

    with headway.patch_urllib3({"127.0.0.1": doors._admission()}, **settings):
        pool = urllib3.PoolManager()

        def send(url: str, method: str = "GET") -> tuple[int, bytes]:
            reply = pool.request(
                method, url, retries=urllib3.Retry(total=5, status=0, connect=0, read=0, raise_on_status=False)
            )
            return reply.status, reply.data

        yield send
        pool.clear()


@contextlib.contextmanager
def _in_a_loop(make: Callable[[], Any], ask: Callable[..., Any]) -> Iterator[Send]:
    with asyncio.Runner() as runner:
        client = runner.run(make())

        def send(url: str, method: str = "GET") -> tuple[int, bytes]:
            return runner.run(ask(client, url, method), context=contextvars.copy_context())

        yield send
        runner.run(client.aclose() if hasattr(client, "aclose") else client.close())


@contextlib.contextmanager
def _httpx_async(module: str, doors: Any, settings: dict[str, Any]) -> Iterator[Send]:
    library = __import__(module)

    async def make() -> Any:
        return library.AsyncClient(transport=doors.async_transport(**settings), follow_redirects=True)

    async def ask(client: Any, url: str, method: str) -> tuple[int, bytes]:
        reply = await client.request(method, url)
        return reply.status_code, reply.content

    with _in_a_loop(make, ask) as send:
        yield send


@contextlib.contextmanager
def _aiohttp(_: str, doors: Any, settings: dict[str, Any]) -> Iterator[Send]:
    import aiohttp

    async def make() -> Any:
        return aiohttp.ClientSession(middlewares=(doors.middleware(**settings),))

    async def ask(client: Any, url: str, method: str) -> tuple[int, bytes]:
        async with client.request(method, url) as reply:
            return reply.status, await reply.read()

    with _in_a_loop(make, ask) as send:
        yield send


KINDS: dict[str, tuple[Any, str]] = {
    "httpx2": (_httpx, "httpx2"),
    "httpx": (_httpx, "httpx"),
    "httpx2-async": (_httpx_async, "httpx2"),
    "httpx-async": (_httpx_async, "httpx"),
    "requests": (_requests, ""),
    "urllib3": (_urllib3, ""),
    "aiohttp": (_aiohttp, ""),
}


def client(kind: str, doors: Any, **settings: Any) -> contextlib.AbstractContextManager[Send]:
    make, module = KINDS[kind]
    return make(module, doors, settings)  # type: ignore[no-any-return]
