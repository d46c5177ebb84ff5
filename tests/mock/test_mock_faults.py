"""Faults happen to whom they should, at the stage they should, over real sockets."""

from __future__ import annotations

import errno
import http.client
import json
import socket
import time
from urllib.parse import urlsplit

import pytest

from headway.errors import UsageError
from headway.mock import Fault, MockConfig, serve
from headway.mock.faults import Faults
from tests.mock.talking import ACCOUNT, UPSERT, Client, World, inputs


def hits(rule: Fault, calls: int = 12, seed: int = 1) -> list[int]:
    faults = Faults(seed)
    faults.add(rule)
    return [number for number in range(1, calls + 1) if faults.pick("POST", UPSERT)]


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        ({}, list(range(1, 13))),
        ({"times": 2}, [1, 2]),
        ({"skip": 9}, [10, 11, 12]),
        ({"nth": (2, 5)}, [2, 5]),
        ({"nth": [1], "skip": 3}, [4]),
        ({"every": 4}, [4, 8, 12]),
        ({"every": 4, "times": 1, "skip": 1}, [5]),
        ({"path": "*/batch/upsert", "nth": (1,)}, [1]),
        ({"path": "*/companies/*"}, []),
        ({"method": "GET"}, []),
        ({"probability": 0.0}, []),
    ],
)
def test_rules_say_which_calls(options, numbers):
    assert hits(Fault("reset", **options)) == numbers


def test_chance_follows_the_seed():
    several = [hits(Fault("reset", probability=0.3), 1000, seed) for seed in (1, 1, 2)]
    assert several[0] == several[1] != several[2]
    assert 250 < len(several[0]) < 350


def test_one_fault_ends_a_call_others_add_to_it():
    faults = Faults()
    for rule in (Fault("slow"), Fault("status", times=1), Fault("reset", times=1), Fault("truncate")):
        faults.add(rule)
    picked = [[rule.kind for rule in faults.pick("GET", "/")] for _ in range(3)]
    assert picked == [["slow", "status"], ["slow", "reset"], ["slow", "truncate"]]


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "earthquake"}, {"kind": "status", "status": 99}, {"kind": "reset", "at": "noon"},
        {"kind": "truncate", "at": "arrival"}, {"kind": "poison"}, {"kind": "poison", "prop": "x", "names": "loudly"},
        {"kind": "slow", "seconds": -1}, {"kind": "reset", "probability": 2},
    ],
)  # fmt: skip
def test_rules_that_make_no_sense(options):
    with pytest.raises(UsageError):
        Fault(**options)


@pytest.mark.parametrize("status", [401, 403, 423, 429, 477, 500, 502, 503, 504, 524])
def test_a_status_instead_of_the_work(status):
    rule = Fault("status", status=status, retry_after="7", times=1)
    with serve(MockConfig(window=(5, 60), faults=(rule,))) as served, Client(served.url) as call:
        got, headers, body = call("POST", UPSERT, inputs("a@x.co"))
        assert (got, headers["retry-after"], body["status"]) == (status, "7", "error")
        assert headers["x-hubspot-ratelimit-remaining"] == "4"  # counted
        assert served.stats()["records"] == 0
        assert call("POST", UPSERT, inputs("a@x.co"))[0] == 200
        assert served.stats()["by_fault"] == {"status": 1}


@pytest.mark.parametrize(("at", "counted", "written"), [("arrival", 0, 0), ("before", 1, 0), ("after", 1, 1)])
def test_a_status_at_every_stage(at, counted, written):
    rule = Fault("status", status=502, at=at, body={"no": "shape"}, times=1)
    with serve(MockConfig(faults=(rule,))) as served, Client(served.url) as call:
        assert call("POST", UPSERT, inputs("a@x.co"))[::2] == (502, {"no": "shape"})
        stats = served.stats()
        assert (stats["most_in_any_window"], stats["records"]) == (counted, written)


@pytest.mark.parametrize("date", ["Wed, 21 Oct 2037 07:28:00 GMT", "0", "soon", "-5", "99999999999"])
def test_any_retry_after_is_sent_as_it_is(date):
    with (
        serve(MockConfig(faults=(Fault("status", status=429, retry_after=date),))) as served,
        Client(served.url) as call,
    ):
        assert call("GET", ACCOUNT)[1]["retry-after"] == date


@pytest.mark.parametrize(
    ("kind", "at", "counted", "written"),
    [
        ("reset", "arrival", 0, 0), ("reset", "before", 1, 0), ("reset", "after", 1, 1), ("reset_after", "", 1, 1),
        ("hang", "arrival", 0, 0), ("hang", "before", 1, 0), ("hang", "", 1, 1),
    ],
)  # fmt: skip
def test_resets_are_real_resets_at_every_stage(kind, at, counted, written):
    rule = Fault(kind, at=at, seconds=0.03, times=1)
    with serve(MockConfig(faults=(rule,))) as served:
        address = urlsplit(served.url)
        body = json.dumps(inputs("a@x.co")).encode()
        head = f"POST {UPSERT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer t\r\ncontent-length: {len(body)}\r\n\r\n"
        with socket.create_connection((address.hostname, address.port), timeout=5) as raw:
            raw.sendall(head.encode() + body)
            with pytest.raises(ConnectionResetError) as caught:
                raw.recv(1)
        assert caught.value.errno == errno.ECONNRESET
        stats = served.stats()
        assert (stats["most_in_any_window"], stats["records"], stats["in_flight"]) == (counted, written, 0)
        with Client(served.url) as call:
            assert call("POST", UPSERT, inputs("a@x.co"))[2]["results"][0]["new"] == (not written)


def test_a_truncated_body_was_written():
    with serve(MockConfig(faults=(Fault("truncate", times=1),))) as served, Client(served.url) as call:
        with pytest.raises(http.client.IncompleteRead) as caught:
            call("POST", UPSERT, inputs("a@x.co"))
        assert caught.value.partial.startswith(b'{"status":"COMPLETE"')
        assert served.stats()["records"] == 1
        with Client(served.url) as another:
            assert another("GET", ACCOUNT)[0] == 200


def test_a_slow_reply_and_one_in_drips():
    rules = (Fault("slow", seconds=0.05, jitter=0.01, nth=(1,)), Fault("drip", seconds=0.1, nth=(2,)))
    with serve(MockConfig(faults=rules)) as served, Client(served.url) as call:
        for least in (0.05, 0.1):
            began = time.monotonic()
            assert call("POST", UPSERT, inputs("a@x.co"))[0] == 200
            assert time.monotonic() - began >= least


def test_a_stall_before_arrival_counts_when_it_is_over():
    rule = Fault("slow", seconds=0.5, at="arrival", times=1)
    with serve(MockConfig(faults=(rule,))) as served:
        impatient = Client(served.url)
        impatient.connection.timeout = 0.02
        with pytest.raises(TimeoutError):
            impatient("POST", UPSERT, inputs("a@x.co"))
        assert served.stats()["requests"] == 0
        impatient.connection.close()
        end = time.monotonic() + 30
        while served.stats()["answered"] < 1:
            assert time.monotonic() < end
            time.sleep(0.01)
        assert served.stats()["objects"] == {"contacts": 1}
        assert served.stats()["most_in_any_window"] == 1


def test_another_apps_calls_at_a_given_moment():
    rule = Fault("foreign", calls=3, nth=(2,))
    with serve(MockConfig(window=(5, 60), faults=(rule,))) as served, Client(served.url) as call:
        assert [call("GET", ACCOUNT)[0] for _ in range(3)] == [200, 200, 429]
        assert (served.stats()["foreign"], served.stats()["foreign_refused"]) == (3, 0)


def poisoned(names: str, status: int = 0) -> tuple[int, dict]:
    world = World(faults=(Fault("poison", prop="firstname", value="pois*", names=names, status=status),))
    body = inputs("a@x.co", "b@x.co", firstname="Ada")
    body["inputs"][1]["properties"]["firstname"] = "poison"
    got, _, said = world.call("POST", UPSERT, body)
    assert world.mock.journal.records == 0
    assert world.upsert("a@x.co", firstname="Ada")[0] == 200
    return got, said


def test_poison_refuses_its_batch_with_or_without_a_name():
    status, said = poisoned("no")
    assert (status, said.get("context"), said.get("errors")) == (400, None, None)
    assert poisoned("id")[1]["context"] == {"ids": ["b@x.co"]}
    assert poisoned("trace")[1]["context"] == {"objectWriteTraceId": ["trace-1"]}
    assert poisoned("value")[1]["errors"][0]["context"] == {"propertyName": ["firstname"], "propertyValue": ["poison"]}
    assert poisoned("no", status=500)[0] == 500


def test_faults_by_the_admin_api():
    with serve() as served, Client(served.url) as call:
        call("POST", "/_mock/faults", [{"kind": "status", "status": 503, "nth": [1]}, {"kind": "slow", "seconds": 0}])
        call("POST", "/_mock/poison", {"property": "city", "value": "Troy", "names": True})
        assert [call("POST", UPSERT, inputs("a@x.co", city="Troy"))[0] for _ in range(2)] == [503, 400]
        told = call("GET", "/_mock/faults")[2]["rules"]
        assert [(each["kind"], each["hit"]) for each in told] == [("status", 1), ("slow", 2), ("poison", 1)]
        assert call("DELETE", "/_mock/faults")[2] == {"rules": 0}
        assert call("POST", UPSERT, inputs("a@x.co", city="Troy"))[0] == 200


def test_a_call_over_the_limit_meets_no_fault_behind_it():
    with serve(MockConfig(window=(1, 60), faults=(Fault("reset", skip=1),))) as served, Client(served.url) as call:
        assert [call("GET", ACCOUNT)[0] for _ in range(2)] == [200, 429]
