"""What a verdict means for the store."""

import pytest

from headway.delivery.outcome import (
    CredentialsRejected,
    Delivered,
    MappingFault,
    RateLimited,
    Rejected,
    SplitNeeded,
    Transient,
    Verdict,
)
from headway.delivery.records import Record
from headway.delivery.retry import RetryPolicy
from headway.engine.dispositions import NOT_SENT, blame, settle
from headway.stores.model import Dead, Done, Retry

NOW = 1000.0


def records(count, **more):
    return [Record(n, f"k{n}", b"{}", **more) for n in range(1, count + 1)]


def settled(outcomes, *, batch=None, repeatable=True, counted=True):
    return settle(
        batch or records(len(outcomes)), Verdict(tuple(outcomes)), now=NOW, jitter=0.5, policy=RetryPolicy(),
        repeatable=repeatable, counted=counted,
    )  # fmt: skip


def test_a_batch_that_was_delivered_is_done():
    found = settled([Delivered("7"), Delivered("8")])
    assert list(found.dispositions) == [Done(1, "7"), Done(2, "8")]
    assert (found.delivered, found.dead, found.retried, found.code) == (2, 0, 0, "")


def test_only_the_record_at_fault_dies():
    found = settled([Delivered(), Rejected("BAD", "no"), Delivered()])
    assert Dead(2, "BAD", "no") in found.dispositions
    assert (found.delivered, found.dead, found.code) == (2, 1, "BAD")


def test_a_transient_failure_backs_off_with_jitter():
    assert settled([Transient("HTTP_503", "")]).dispositions[0] == Retry(1, NOW + 0.5, "HTTP_503", "", unknown=True)
    later = settled([Transient("HTTP_503", "", retry_after=9)]).dispositions[0]
    assert later.not_before == NOW + 9


def test_the_fifth_failure_is_the_last():
    found = settled([Transient("HTTP_503", "down")], batch=records(1, attempts=5))
    assert found.dispositions[0] == Dead(1, "HTTP_503", "down (given up after 5 attempts)")


def test_a_failure_of_the_destination_as_a_whole_uses_up_no_try():
    found = settled([Transient("HTTP_503", "down")], batch=records(1, attempts=5), counted=False)
    assert found.dispositions[0] == Retry(1, NOW, "HTTP_503", "down", counted=False, unknown=True)


@pytest.mark.parametrize("outcome", [RateLimited("window", 3, "X", "slow down"), CredentialsRejected("X", "no")])
def test_a_refusal_of_the_call_uses_up_no_try(outcome):
    found = settled([outcome], batch=records(1, attempts=5, part=9))
    assert found.dispositions[0] == Retry(1, 0.0, outcome.code, outcome.message, 9, counted=False)


def test_what_was_certainly_not_sent_uses_up_no_try_and_is_safe_to_repeat():
    found = settled([Transient(NOT_SENT, "refused", applied=False)], repeatable=False)
    assert found.dispositions[0] == Retry(1, NOW + 0.5, NOT_SENT, "refused", counted=False)


def test_what_may_have_arrived_and_cannot_be_repeated_is_dead():
    found = settled([Transient("NO_REPLY", "reset")], repeatable=False)
    assert found.dispositions[0].code == "OUTCOME_UNKNOWN"


def test_a_refused_batch_goes_in_two_halves_each_a_part():
    found = settled([SplitNeeded("BAD", "")] * 5)
    assert [each.part for each in found.dispositions] == [1, 1, 1, 4, 4]
    assert all(each.counted is False and each.not_before == 0 for each in found.dispositions)


def test_a_mapping_fault_of_one_record_alone_is_its_own():
    assert settled([MappingFault("M", "no property")]).dispositions == [Dead(1, "M", "no property")]


def test_records_refused_for_another_go_at_once():
    found = settled([Rejected("BAD", ""), Transient("BATCH_REJECTED", "", applied=False)])
    assert Retry(2, 0.0, "BATCH_REJECTED", "", counted=False) in found.dispositions


def test_the_mapping_is_blamed_only_if_all_agree():
    fault = MappingFault("M", "no property x")
    assert blame(Verdict((fault, fault))) == ("M", "no property x")
    assert blame(Verdict((fault, Delivered()))) is None
    assert blame(Verdict((fault, MappingFault("M", "no property y")))) is None
    assert blame(Verdict((Rejected("M", "x"),))) is None
