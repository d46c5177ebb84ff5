"""HubSpot's versions: v1 to v4 end in September 2027, and a path is known by its date as well (FAULTS part C)."""

from __future__ import annotations

import pytest
import requests

from headway.mock import MockConfig, serve
from tests.faults.support import account, session_of, within
from tests.faults.test_catalogue_faults import counted

VERSIONS = {
    "v3": ("/crm/v3/objects", "/crm/v3/properties", "/account-info/v3", "/oauth/v1"),
    "2026-03": ("/crm/objects/2026-03", "/crm/properties/2026-03", "/account-info/2026-03", "/oauth/2026-03"),
    "2026-09": ("/crm/objects/2026-09", "/crm/properties/2026-09", "/account-info/2026-09", "/oauth/2026-09"),
}
dated = pytest.mark.parametrize(("objects", "properties", "info", "oauth"), VERSIONS.values(), ids=VERSIONS)


@dated
def test_a_call_counts_the_same_whatever_the_version_in_its_path(objects, properties, info, oauth, tmp_path):
    """Part C: v1 to v4 end in September 2027; a search has its limit of five a second by its date as well."""
    del oauth
    calls = [
        ("POST", f"{objects}/contacts/search", {"limit": 1}),
        ("POST", f"{objects}/0-2/search", {"limit": 1}),
        ("POST", f"{objects}/contacts/batch/upsert", {"inputs": [{"id": "a@example.com", "idProperty": "email"}]}),
        ("GET", f"{objects}/contacts", None),
        ("GET", f"{properties}/contacts", None),
        ("GET", f"{info}/details", None),
    ]
    with serve(MockConfig()) as mock, account("hubspot", mock, tmp_path, fresh=True) as limited:
        session = session_of(limited)
        session.headers.update(limited.headers)
        asked_first = None
        for method, path, body in calls:
            assert session.request(method, mock.url + path, json=body).status_code == 200, path
            asked_first = asked_first or counted(limited)
        counts = counted(limited)
    assert counts["search"] == 2, f"{counts}"
    assert counts["window"] == asked_first["window"] + len(calls) - 1, f"{counts}"


@dated
def test_a_burst_of_searches_is_held_to_five_a_second_whatever_the_version(objects, properties, info, oauth, tmp_path):
    """Part C: by any name, a search that is refused was sent too early; OAuth apps have their own routes."""
    del properties, info, oauth
    with serve(MockConfig()) as mock, account("hubspot", mock, tmp_path, fresh=True, tier="oauth") as limited:
        session = session_of(limited)
        session.headers.update(limited.headers)
        url = f"{mock.url}{objects}/contacts/search"
        ended = within(20, lambda: [session.post(url, json={"limit": 1}).status_code for _ in range(8)])
        refused = mock.stats()["rate_limited"]
        counts = counted(limited)
    assert ended.value == [200] * 8, f"{ended}"
    assert refused == 0, f"{refused} of 8 refused"
    assert counts.get("window", 0) <= 1, f"who we are is asked once, and no search counts in the window: {counts}"


@dated
def test_the_mock_gives_tokens_whatever_the_version(objects, properties, info, oauth):
    """Part C: HubSpot ends `/oauth/v1` on 2027-02-16, before the rest; `/oauth/2026-03/token` takes the same form."""
    del objects, properties
    known = MockConfig(clients={"app": "secret"}, refresh_tokens={"refresh": "app"}, only_issued=True)
    form = {"grant_type": "refresh_token", "client_id": "app", "client_secret": "secret", "refresh_token": "refresh"}
    with serve(known) as mock:
        given = requests.post(f"{mock.url}{oauth}/token", data=form, timeout=10)
        assert given.status_code == 200, given.text
        token = f"Bearer {given.json()['access_token']}"
        told = requests.get(f"{mock.url}{info}/details", headers={"Authorization": token}, timeout=10)
    assert told.status_code == 200, told.text
