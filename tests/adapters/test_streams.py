"""Bodies read late: the slot of a `Concurrency` is held until the body was read or the response closed."""

from __future__ import annotations

import httpx
import httpx2
import pytest
import requests
import urllib3

import headway
from headway import Concurrency, Limiter, Window
from tests.adapters.platform import Platform


def limits() -> Limiter:
    return Limiter(Window(100, per=60), Concurrency(1))


def held(of: Limiter) -> int:
    return of.snapshot()[1].in_flight


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_httpx_streams(library, server: Platform):
    of = limits()
    with library.Client(transport=headway.adapt(of).transport()) as client:
        with client.stream("GET", server.url + "/long") as reply:
            assert held(of) == 1
            reply.read()
            assert held(of) == 0
        with client.stream("GET", server.url + "/long"):
            assert held(of) == 1
        assert held(of) == 0


@pytest.mark.parametrize("library", [httpx, httpx2])
async def test_httpx_streams_in_a_loop(library, server: Platform):
    of = limits()
    async with library.AsyncClient(transport=headway.adapt(of).async_transport()) as client:
        async with client.stream("GET", server.url + "/long") as reply:
            assert held(of) == 1
            await reply.aread()
            assert held(of) == 0
        async with client.stream("GET", server.url + "/long"):
            assert held(of) == 1
        assert held(of) == 0


def test_requests_streams(server: Platform):
    of = limits()
    with requests.Session() as session:
        session.mount("http://", headway.adapt(of).adapter())
        reply = session.get(server.url + "/long", stream=True, timeout=5)
        assert held(of) == 1
        assert len(b"".join(reply.iter_content(65536))) == 2_000_000
        assert held(of) == 0
        reply = session.get(server.url + "/long", stream=True, timeout=5)
        assert held(of) == 1
        reply.close()
        assert held(of) == 0


async def test_aiohttp_streams(server: Platform):
    import aiohttp

    of = limits()
    async with aiohttp.ClientSession(middlewares=(headway.adapt(of).middleware(),)) as session:
        async with session.get(server.url + "/long") as reply:
            assert held(of) == 1
            await reply.read()
            assert held(of) == 0
        async with session.get(server.url + "/long"):
            assert held(of) == 1
        assert held(of) == 0


def test_requests_retries_of_its_own_take_permits_of_their_own(server: Platform):
    of = limits()
    server.refusals = 2
    retries = urllib3.Retry(total=5, status_forcelist=[503], backoff_factor=0)
    with requests.Session() as session, headway.call_options(timeout=5):
        session.mount("http://", headway.adapt(of).adapter(requests.adapters.HTTPAdapter(max_retries=retries)))
        assert session.get(server.url + "/flaky", timeout=5).status_code == 200
    assert len(server.paths) == of.snapshot()[0].cooling == 3
    assert held(of) == 0


def test_urllib3_retries_and_redirects_under_one_slot(server: Platform):
    of = limits()
    server.refusals = 2
    with headway.patch_urllib3({"127.0.0.1": of}), urllib3.PoolManager() as pool, headway.call_options(timeout=5):
        retries = urllib3.Retry(total=9, status_forcelist=[503], backoff_factor=0)
        assert pool.request("GET", server.url + "/flaky", retries=retries).status == 200
        assert pool.request("GET", server.url + "/hop/2", retries=retries).status == 200
        plain = urllib3.HTTPConnectionPool("127.0.0.1", server.server_address[1], maxsize=1, block=True)
        with plain:
            assert plain.urlopen("GET", "/hop/2", retries=retries, redirect=True).status == 200
    assert len(server.paths) == of.snapshot()[0].cooling == 9
    assert server.most == 1
    assert held(of) == 0


def test_the_hook_routes_by_host_and_leaves_urllib3_as_it_was(server: Platform):
    before = (urllib3.HTTPConnectionPool.urlopen, urllib3.HTTPConnectionPool._make_request)
    mine, other = limits(), limits()
    port = server.server_address[1]
    with headway.patch_urllib3({"*.hubapi.com": other}), headway.patch_urllib3({f"127.0.0.1:{port}": mine}):
        assert urllib3.request("GET", server.url + "/ok").status == 200
        assert requests.get(server.url + "/ok", timeout=5).status_code == 200
    assert (urllib3.HTTPConnectionPool.urlopen, urllib3.HTTPConnectionPool._make_request) == before
    assert mine.snapshot()[0].cooling == 2
    assert other.snapshot()[0].cooling == 0
    with pytest.raises(headway.UsageError):
        headway.patch_urllib3({"https://api.hubapi.com": mine})
    with pytest.raises(headway.UsageError):
        headway.patch_urllib3({"api.hubapi.com": "nothing"})  # type: ignore[dict-item]
    with pytest.raises(headway.UsageError):
        headway.patch_urllib3({})
    assert (urllib3.HTTPConnectionPool.urlopen, urllib3.HTTPConnectionPool._make_request) == before
