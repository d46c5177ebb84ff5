"""A token that would travel in the clear is told of."""

from __future__ import annotations

import pytest

from headway.accounts.making import account


@pytest.mark.parametrize(
    ("base_url", "exposed"),
    [
        ("http://example.com", True),
        ("http://10.0.0.7:8931", True),
        ("https://example.com", False),
        ("http://127.0.0.1:8931", False),
        ("http://localhost", False),
        ("http://[::1]:8931", False),
    ],
)
def test_plain_http_is_for_this_machine_only(base_url, exposed, tmp_path):
    portal = account("hubspot", token="t", base_url=base_url, state=tmp_path / "limits.db")
    assert portal.exposed is exposed
