"""Official SDKs, unmodified, against the mock platform, which shares no code with the limiter."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

import headway
from headway.mock.config import MockConfig
from headway.mock.server import serve

CALLS, THREADS = 1000, 16


@pytest.mark.slow
def test_the_hubspot_sdk_in_many_threads_is_never_refused(tmp_path, monkeypatch):
    from hubspot import HubSpot
    from hubspot.crm.contacts import BatchInputSimplePublicObjectBatchInputUpsert as Inputs

    monkeypatch.setenv("HEADWAY_STATE", str(tmp_path / "limits.db"))
    token = f"pat-{os.urandom(6).hex()}"
    with serve(MockConfig(window=(250, 10.0))) as mock:
        account = headway.account("hubspot", token=token, base_url=mock.url, tier="increase")
        with account, headway.patch_urllib3({"127.0.0.1": account}):
            client = HubSpot(access_token=token, host=mock.url)

            def call(number: int) -> int:
                batch = [{"id": f"ada{number}@example.com", "idProperty": "email", "properties": {"firstname": "Ada"}}]
                return len(client.crm.contacts.batch_api.upsert(Inputs(inputs=batch)).results)

            with ThreadPoolExecutor(THREADS) as pool:
                assert sum(pool.map(call, range(CALLS))) == CALLS
        stats = mock.stats()
    assert stats["rate_limited"] == 0
    assert stats["most_in_any_window"] <= 250
    assert stats["objects"] == {"contacts": CALLS}


def test_no_second_at_the_server_holds_more_than_the_limit_after_idling_bursts_and_reconnects(tmp_path):
    import threading
    import time

    import httpx2

    limiter = headway.Limiter(headway.Window(50, per=1.0))
    with serve(MockConfig(window=(50, 1.0), jitter=0.03)) as mock:

        def burst(calls: int) -> None:
            # A client of its own each time: every burst opens connections anew.
            with httpx2.Client(transport=headway.adapt(limiter).transport()) as client:
                for _ in range(calls):
                    client.get(mock.url + "/crm/v3/properties/contacts", headers={"authorization": "Bearer pat-x"})

        for calls, idle in ((15, 0.7), (10, 0.0), (15, 1.3), (10, 0.2)):
            threads = [threading.Thread(target=burst, args=(calls,)) for _ in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            time.sleep(idle)
        stats = mock.stats()
    assert stats["requests"] == 300
    assert stats["rate_limited"] == 0
    assert stats["most_arrivals_in_any_window"] <= 50
