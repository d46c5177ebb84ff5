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
