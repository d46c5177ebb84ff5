"""What is kept of who an account is."""

from __future__ import annotations

import json

import requests

import headway
from tests.faults.support import Asked, Reply, outcome, platform, within
from tests.faults.test_learning import hubspot

TOKEN = "pat-na1-of-nobody"


def test_what_is_kept_of_an_identity_is_what_the_platform_said(tmp_path):
    """L16: a stand-in is written nowhere."""

    def answer(asked: Asked) -> Reply:
        return Reply(503, hubspot(100, 100 - asked.number, 10))

    with (
        platform(answer) as server,
        headway.account("hubspot", token=TOKEN, base_url=server.url, state=tmp_path / "limits.db") as account,
    ):
        within(20, account.prepare)
        session = requests.Session()
        session.mount("http://", account.adapter())
        with headway.call_options(timeout=3):
            ended = outcome(lambda: session.get(server.url + "/crm/v3/objects/contacts"))
        names = [status.name for status in account.limiter.snapshot()]
    assert ended.error is None, f"{ended}"
    assert "window" in names
    assert json.dumps("key-").encode()[1:-1] not in b"".join(each.read_bytes() for each in tmp_path.glob("*.json"))
