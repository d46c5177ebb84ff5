"""Secrets do not come through, by name or by value."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway import redact


@pytest.mark.parametrize(
    "said",
    [
        "Authorization: Bearer SECRETVALUE",
        "authorization=Bearer SECRETVALUE, retry",
        '{"access_token": "SECRETVALUE", "a": 1}',
        "GET /x?hapikey=SECRETVALUE&limit=1",
        "https://ada:SECRETVALUE@example.com/x",
        "api_key='SECRETVALUE'",
        "password: SECRETVALUE",
        "the header was Bearer SECRETVALUE",
        '{"client_secret":"SECRET\\"VALUE"}',
    ],
)
def test_what_stands_under_the_name_of_a_secret_is_masked(said):
    shown = redact.text(said)
    assert "VALUE" not in shown
    assert redact.MASK in shown


@pytest.mark.parametrize("said", ["Contact already exists. Existing ID: 12", "tokens: none", "a=b", "10:30"])
def test_other_text_is_left_alone(said):
    assert redact.text(said) == said


@given(st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), min_size=6, max_size=40), st.text())
def test_a_registered_value_never_comes_through(secret, around):
    redact.register(secret)
    try:
        assert secret not in redact.text(f"{around}{secret}{around}").replace(redact.MASK, "")
    finally:
        redact._registered.clear()


def test_header_fields_are_masked_by_their_name():
    shown = redact.headers({"Authorization": "Bearer x", "X-Api-Key": "y", "accept": "json"})
    assert shown == {"Authorization": redact.MASK, "X-Api-Key": redact.MASK, "accept": "json"}
