"""What processes learned, merged: strict, idempotent, with a way back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headway.limits.sharing.exchange import Request
from headway.limits.sharing.learned import LearnedAsk, merge
from tests.limits.keeper import Keeper

HOUR = 3600 * 10**9
NOW = 1_000_000 * HOUR

periods = st.fixed_dictionaries({"end": st.sampled_from([NOW, NOW + 24 * HOUR]), "foreign": st.integers(0, 500)})
words = st.dictionaries(
    st.sampled_from(["window", "daily"]),
    st.builds(
        lambda word, period: word | period,
        st.fixed_dictionaries(
            {"at": st.integers(NOW - 30 * HOUR, NOW)},
            optional={
                "amount": st.integers(1, 500),
                "guard": st.integers(0, 10**9),
                "smooth": st.booleans(),
                "paused_until": st.integers(NOW - HOUR, NOW + HOUR),
                "note": st.sampled_from(["x", "y"]),
            },
        ),
        st.just({}) | periods,
    ),
)


@given(words, words)
def test_merging_asks_not_who_came_first_and_says_nothing_twice(one, other):
    both = merge(one, other, NOW)
    assert both == merge(other, one, NOW)
    assert merge(both, one, NOW) == both
    assert merge(both, both, NOW) == both
    assert all(NOW - word["at"] < 24 * HOUR for word in both.values())


def test_the_stricter_word_holds_within_an_hour_and_the_later_one_after_it():
    strict = {"window": {"at": NOW - HOUR // 2, "amount": 50, "guard": 9, "smooth": True}}
    loose = {"window": {"at": NOW, "amount": 100, "guard": 5, "smooth": False}}
    found = merge(strict, loose, NOW)["window"]
    assert (found["amount"], found["guard"], found["smooth"]) == (50, 9, True)
    strict["window"]["at"] = NOW - 2 * HOUR
    found = merge(strict, loose, NOW)["window"]
    assert (found["amount"], found["guard"], found["smooth"]) == (100, 5, False)


def test_a_stricter_word_that_is_passed_on_does_not_live_for_ever():
    kept = {"window": {"at": NOW - 2 * HOUR, "amount": 50}}
    for step in range(-7, 1):  # somebody hears 100 every quarter of an hour
        kept = merge(kept, {"window": {"at": NOW + step * HOUR // 4, "amount": 100}}, NOW)
    assert kept["window"]["amount"] == 100


def test_others_use_is_of_one_period():
    today = {"daily": {"at": NOW, "end": NOW, "foreign": 300}}
    more = {"daily": {"at": NOW, "end": NOW, "foreign": 400}}
    tomorrow = {"daily": {"at": NOW, "end": NOW + 24 * HOUR, "foreign": 2}}
    assert merge(today, more, NOW)["daily"]["foreign"] == 400
    assert merge(merge(today, more, NOW), tomorrow, NOW)["daily"]["foreign"] == 2


def test_the_next_process_hears_what_was_learned():
    keeper = Keeper()
    said = {"window": {"at": NOW, "amount": 50, "per": 2.0}}
    keeper.ask(Request("p|learned", 0, None, LearnedAsk(said)), 1, NOW)
    heard = keeper.ask(Request("p|learned", 0, None, LearnedAsk({})), 2, NOW).words
    assert heard == said
