"""A call goes out once; its reply is whole, or the error says whether it was sent."""

import asyncio
import contextlib
import socket

import pytest

from headway.delivery.records import Call
from headway.errors import TransportError
from headway.transport import Transport, _proxy_for


@contextlib.asynccontextmanager
async def server(*answers, close=True):
    """Answers one connection after the other with raw bytes; None: closes it unanswered. Yields (url, requests)."""
    requests: list[bytes] = []
    left = list(answers)

    tasks: set[asyncio.Task] = set()

    async def handle(reader, writer):
        tasks.add(asyncio.current_task())
        try:
            await answer_all(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()

    async def answer_all(reader, writer):
        while left:
            head = await reader.readuntil(b"\r\n\r\n")
            size = next(
                (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")), 0
            )
            requests.append(head + await reader.readexactly(size))
            answer = left.pop(0)
            if answer is None:
                break
            if isinstance(answer, float):
                await asyncio.sleep(answer)
                break
            writer.write(answer)
            await writer.drain()
            if close:
                break

    listening = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", requests
    finally:
        listening.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await listening.wait_closed()


def ok(body=b"{}", more=b""):
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Two: a\r\nX-Two: b\r\n%s\r\n%s" % (len(body), more, body)


async def send(url, call=None, **options):
    async with Transport(url, headers={"authorization": "Bearer pat-verysecret"}, **options) as transport:
        return await transport.send(call or Call("GET", "/x"))


async def test_a_reply_is_whole_with_its_headers_in_lower_case():
    async with server(ok(b'{"a":1}')) as (url, requests):
        reply = await send(url, Call("POST", "/batch?x=1", b"hello", {"content-type": "text/plain"}))
    assert (reply.status, reply.body) == (200, b'{"a":1}')
    assert reply.headers["x-two"] == "a, b"
    assert reply.seconds > 0
    assert requests[0].startswith(b"POST /batch?x=1 HTTP/1.1\r\n")
    assert requests[0].endswith(b"hello")
    assert b"pat-verysecret" in requests[0]


async def test_a_refused_connection_was_certainly_not_sent():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(TransportError) as caught:
            await send(f"http://127.0.0.1:{port}")
    assert caught.value.sent is False
    assert "verysecret" not in str(caught.value)


async def test_an_unknown_host_was_certainly_not_sent():
    with pytest.raises(TransportError) as caught:
        await send("http://nowhere.invalid")
    assert caught.value.sent is False


async def test_a_server_that_speaks_no_tls_was_certainly_not_sent():
    async with server(None) as (url, _):
        with pytest.raises(TransportError) as caught:
            await send(url.replace("http:", "https:"), connect_timeout=0.2)
    assert caught.value.sent is False


async def test_a_connection_that_ends_without_an_answer_may_have_been_sent_and_is_not_tried_again():
    async with server(None, ok(), ok()) as (url, requests):
        with pytest.raises(TransportError) as caught:
            await send(url)
    assert caught.value.sent is True
    assert len(requests) == 1


async def test_a_stale_connection_is_not_used_for_a_second_try():
    async with server(ok(), None, ok(), close=False) as (url, requests), Transport(url) as transport:
        await transport.send(Call("GET", "/1"))
        with pytest.raises(TransportError) as caught:
            await transport.send(Call("GET", "/2"))
    assert caught.value.sent is True
    assert len(requests) == 2


async def test_a_redirect_is_a_reply():
    answer = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/other\r\nContent-Length: 0\r\n\r\n"
    async with server(answer) as (url, requests):
        assert (await send(url)).status == 302
    assert len(requests) == 1


async def test_a_truncated_body_is_no_reply():
    async with server(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf") as (url, _):
        with pytest.raises(TransportError) as caught:
            await send(url)
    assert caught.value.sent is True


async def test_what_is_no_http_is_no_reply():
    async with server(b"SSH-2.0-OpenSSH\r\n\r\n") as (url, _):
        with pytest.raises(TransportError) as caught:
            await send(url)
    assert caught.value.sent is True


async def test_a_reply_that_does_not_come_in_time_may_have_been_sent():
    async with server(5.0) as (url, _):
        with pytest.raises(TransportError, match=r"no whole reply within 0\.1 s") as caught:
            await send(url, Call("GET", "/x", timeout=0.1))
    assert caught.value.sent is True


async def test_a_body_without_end_is_not_read_to_it():
    async with server(ok(b"x" * 3_000_000)) as (url, _):
        with pytest.raises(TransportError, match="longer than 1 MB") as caught:
            await send(url, max_body=1 << 20)
    assert caught.value.sent is True


async def test_a_large_body_is_sent_as_it_is():
    body = b"y" * 3_000_000
    async with server(ok()) as (url, requests):
        assert (await send(url, Call("POST", "/x", body))).status == 200
    assert requests[0].endswith(body)


def test_the_proxy_comes_from_the_environment(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    assert _proxy_for("https://api.hubapi.com") is None
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    monkeypatch.setenv("no_proxy", "127.0.0.1,.local")
    assert _proxy_for("https://api.hubapi.com") == "http://proxy:3128"
    assert _proxy_for("http://api.hubapi.com") is None
    assert _proxy_for("https://127.0.0.1:80") is None
