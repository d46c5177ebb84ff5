"""The mock over real sockets: starting, stopping, delays, malformed requests, the admin API."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

import headway.mock
from headway.errors import UsageError
from headway.mock import Fault, ManualClock, MockApp, MockConfig, aserve, serve
from headway.mock.server import bind, run
from tests.mock.talking import ACCOUNT, CONTACTS, UPSERT, Client, inputs


def test_the_public_door():
    assert headway.mock.__all__ == sorted(headway.mock.__all__)
    assert all(getattr(headway.mock, name) is not None for name in headway.mock.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        _ = headway.mock.nothing


def test_calls_over_a_socket_and_what_was_counted():
    before = time.monotonic_ns()
    with serve(MockConfig(window=(3, 60), daily=100)) as served, Client(served.url) as call:
        status, headers, details = call("GET", ACCOUNT)
        assert (status, details["timeZone"]) == (200, "US/Eastern")
        assert headers["content-type"] == "application/json;charset=utf-8"
        assert headers["date"].endswith(" GMT")
        call("POST", UPSERT, inputs("a@x.co", "b@x.co"))
        call("POST", UPSERT, inputs("a@x.co"))
        assert call("GET", ACCOUNT)[0] == 429
        stats = served.stats()
        assert stats == call("GET", "/_mock/stats")[2]
        journal = call("GET", "/_mock/journal?after=1&limit=2")[2]["requests"]
        ledger = call("GET", "/_mock/ledger/contacts?least=2")[2]
    assert (stats["requests"], stats["rate_limited"], stats["refused_for"]) == (4, 1, {"TEN_SECONDLY_ROLLING": 1})
    assert stats["by_status"] == {"200": 3, "429": 1}
    assert (stats["most_in_any_window"], stats["most_arrivals_in_any_window"]) == (3, 4)
    assert (stats["objects"], stats["writes"], stats["records"]) == ({"contacts": 2}, {"contacts": 3}, 3)
    assert (stats["written_more_than_once"], stats["duplicate_writes"]) == ({"contacts": 1}, 1)
    assert stats["daily_used"] == {"62515": 3}
    assert before < stats["first_arrival"] < stats["last_arrival"] <= stats["last_reply"] < time.monotonic_ns()
    assert [(each["number"], each["status"], each["records"]) for each in journal] == [(2, 200, 2), (3, 200, 1)]
    assert all(each["at"] <= each["done"] for each in journal)
    assert ledger == {"a@x.co": 2}


def test_the_admin_api():
    with serve(MockConfig(window=(5, 60), journal=2)) as served, Client(served.url) as call:
        assert call("GET", "/_mock/clock")[2]["advanced"] == 0
        call("POST", "/_mock/foreign", {"calls": 4, "token": "t"})
        assert call("GET", ACCOUNT)[1]["x-hubspot-ratelimit-remaining"] == "0"
        assert call("GET", ACCOUNT)[0] == 429
        call("POST", "/_mock/clock", {"advance": 61})
        assert call("GET", ACCOUNT)[0] == 200
        assert len(call("GET", "/_mock/journal")[2]["requests"]) == 2
        call("POST", "/_mock/tokens", {"revoke": "t"})
        assert call("GET", ACCOUNT)[0] == 401
        call("POST", "/_mock/tokens", {"accept": "t"})
        assert call("GET", ACCOUNT)[0] == 200
        call("POST", "/_mock/properties", {"object": "contacts", "name": "badge", "unique": True})
        body = {"inputs": [{"id": "7", "idProperty": "badge", "properties": {}}]}
        assert call("POST", UPSERT, body)[0] == 200
        assert next(iter(call("GET", "/_mock/objects/contacts")[2].values()))["badge"] == "7"
        assert call("GET", "/_mock/objects")[2] == {"contacts": 1}
        assert call("POST", "/_mock/objects", {"name": "machines"})[2]["objectTypeId"].startswith("2-")
        assert call("GET", "/crm/v3/properties/machines")[0] == 200
        call("POST", "/_mock/reset")
        assert served.stats()["requests"] == 0
        assert call("GET", "/_mock/objects")[2] == {"contacts": 0, "machines": 0}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/_mock/clock", {"advance": -1}),
        ("POST", "/_mock/clock", {}),
        ("POST", "/_mock/clock", b"{"),
        ("POST", "/_mock/faults", {"kind": "earthquake"}),
        ("POST", "/_mock/faults", {"kind": "status", "magnitude": 7}),
        ("POST", "/_mock/limits", {"window": "soon"}),
        ("POST", "/_mock/foreign", {"calls": 1}),
        ("GET", "/_mock/journal?after=x", None),
    ],
)
def test_admin_requests_that_make_no_sense(method, path, body):
    with serve() as served, Client(served.url) as call:
        status, _, said = call(method, path, body)
        assert status == 400
        assert said["error"]
        status, _, said = call("PATCH", "/_mock/stats")
        assert status == 404
        assert "GET /_mock/stats" in said["error"]
        assert served.stats()["requests"] == 0


def test_latency_and_jitter_delay_before_and_after_counting():
    config = MockConfig(arrival=(0.05, 0.06), reply=(0.1, 0.11))
    with serve(config) as served, Client(served.url) as call:
        began = time.monotonic_ns()
        call("GET", ACCOUNT)
        took = time.monotonic_ns() - began
        entry = call("GET", "/_mock/journal")[2]["requests"][0]
    assert entry["at"] - began >= 50_000_000
    assert entry["done"] - entry["at"] >= 100_000_000
    assert took >= 150_000_000
    assert MockConfig(latency=0.05, jitter=0.3).arrival_delay == (0, 0.3)
    assert MockConfig(latency=0.05, jitter=0.3).reply_delay == (0.05, 0.35)


def test_calls_are_delayed_side_by_side():
    with serve(MockConfig(latency=0.1)) as served:

        def one(number: int) -> int:
            with Client(served.url) as call:
                return call("POST", UPSERT, inputs(f"{number}@x.co"))[0]

        with ThreadPoolExecutor(20) as pool:
            assert set(pool.map(one, range(20))) == {200}
        assert served.stats()["most_in_flight"] > 1
        assert served.stats()["in_flight"] == 0


def test_what_arrived_is_worked_off_though_the_client_left():
    with serve(MockConfig(latency=0.05, arrival=(0.05, 0.05))) as served:
        address = urlsplit(served.url)
        body = json.dumps(inputs("a@x.co")).encode()
        head = f"POST {UPSERT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer t\r\ncontent-length: {len(body)}\r\n\r\n"
        with socket.create_connection((address.hostname, address.port)) as raw:
            raw.sendall(head.encode() + body)
            time.sleep(0.02)
        _wait(lambda: served.stats()["answered"] == 1)
        assert served.stats()["objects"] == {"contacts": 1}


def test_half_a_request_counts_and_writes_nothing():
    with serve(MockConfig(window=(5, 60))) as served:
        address = urlsplit(served.url)
        with socket.create_connection((address.hostname, address.port)) as raw:
            raw.sendall(
                f"POST {UPSERT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer t\r\ncontent-length: 99\r\n\r\n{{".encode()
            )
            time.sleep(0.02)
        _wait(lambda: served.stats()["by_status"] == {"499": 1})
        assert served.stats()["most_in_any_window"] == 1
        assert served.stats()["records"] == 0


def _wait(until) -> None:
    end = time.monotonic() + 30
    while not until():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.mark.parametrize("garbage", [b"\x00\x01\x02\r\n\r\n", b"GET\r\n\r\n", b"POST / HTTP/9.9\r\n\r\n"])
def test_garbage_gets_a_400_and_harms_nobody(garbage):
    with serve() as served:
        address = urlsplit(served.url)
        with socket.create_connection((address.hostname, address.port), timeout=5) as raw:
            raw.sendall(garbage)
            assert raw.recv(100).startswith(b"HTTP/1.1 400")
        with Client(served.url) as call:
            assert call("GET", ACCOUNT)[0] == 200


def test_a_body_that_is_too_large_is_refused():
    with serve(MockConfig(max_body=1000)) as served:
        with Client(served.url) as call:
            status, _, said = call("POST", UPSERT, b" " * 5000)
            assert (status, said["status"]) == (413, "error")
        with Client(served.url) as call:
            assert call("POST", UPSERT, inputs("a@x.co"))[0] == 200


def test_odd_paths_and_headers_are_answered():
    with serve() as served, Client(served.url) as call:
        assert call("GET", f"{CONTACTS}/%F0%9F%92%A9")[0] == 404
        assert call("GET", f"{CONTACTS}?limit=x")[0] == 400
        call.headers["authorization"] = "Bearer t\xe9st"
        assert call("GET", ACCOUNT)[0] == 200
        assert call("HEAD", ACCOUNT)[0] == 405
        del call.headers["authorization"]
        assert call("GET", ACCOUNT)[0] == 401


def test_it_stops_at_once_with_calls_that_hang_and_leaves_no_thread():
    threads = threading.active_count()
    errors: list[BaseException] = []
    with serve(MockConfig(faults=(Fault("hang", seconds=600),))) as served:

        def hang() -> None:
            with Client(served.url) as call:
                try:
                    call("GET", ACCOUNT)
                except OSError as error:
                    errors.append(error)

        caller = threading.Thread(target=hang)
        caller.start()
        _wait(lambda: served.stats()["in_flight"] == 1)
        idle = Client(served.url)
        idle("GET", "/_mock/stats")
        began = time.monotonic()
    assert time.monotonic() - began < 60, "it does not wait for the call that hangs ten minutes"
    caller.join(60)
    idle.connection.close()
    assert isinstance(errors[0], ConnectionResetError)
    assert served.stats()["in_flight"] == 0
    assert threading.active_count() == threads


def test_an_error_in_the_block_comes_through():
    with pytest.raises(ZeroDivisionError), serve():
        _ = 1 / 0


async def test_it_runs_in_the_callers_loop():
    async with aserve(MockConfig(window=(2, 60))) as served:
        statuses = [await asyncio.to_thread(_get, served.url) for _ in range(3)]
        assert served.stats()["rate_limited"] == 1
    assert statuses == [200, 200, 429]
    assert len(asyncio.all_tasks()) == 1


def _get(url: str) -> int:
    with Client(url) as call:
        return call("GET", ACCOUNT)[0]


async def test_it_is_an_asgi_application_in_virtual_time():
    clock = ManualClock()
    app = MockApp(MockConfig(window=(1, 10), latency=5), clock)

    async def call() -> int:
        said: list[dict] = []

        async def receive():
            return {"type": "http.request", "body": b""}

        async def send(message):
            said.append(message)

        scope = {"type": "http", "method": "GET", "path": ACCOUNT, "query_string": b"",
                 "headers": [(b"authorization", b"Bearer t")]}  # fmt: skip
        await app(scope, receive, send)
        return said[0]["status"]

    first, second = asyncio.create_task(call()), asyncio.create_task(call())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not first.done()
    clock.advance(4.9)
    await asyncio.sleep(0)
    assert not first.done()
    clock.advance(0.1)
    assert [await first, await second] == [200, 429]
    third = asyncio.create_task(call())
    clock.advance(5.001)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    clock.advance(5)
    assert await third == 200


def test_a_port_that_is_taken_is_said_so():
    with bind() as taken, pytest.raises(UsageError, match="choose another with --port"):
        run(port=taken.getsockname()[1])
    with pytest.raises(UsageError):
        bind(70_000)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_of_its_own_ends_quietly_by_signal(number):
    code = "from headway.mock import MockConfig, run; mock = run(MockConfig(), on_ready=lambda url: print(url, flush=True)); print(mock.journal.arrived)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-W", "error", "-X", "dev", "-c", code]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        url = process.stdout.readline().strip()
        keep = Client(url)
        assert keep("GET", ACCOUNT)[0] == 200
        process.send_signal(number)
        out, errors = process.communicate(timeout=5)
        keep.connection.close()
    assert (process.returncode, out.strip(), errors) == (0, "1", "")
