"""An outage is probed by one call at a time, ever more slowly."""

from headway.engine.breaker import Breaker


def failing(count, batches=5):
    breaker = Breaker(900.0)
    breaker.succeeded()
    for n in range(count):
        breaker.failed(float(n), 0.0, n % batches)
    return breaker


def test_a_few_failures_are_nothing():
    breaker = failing(4)
    assert not breaker.open
    assert breaker.wait(4.0) == 0


def test_many_in_a_row_open_it_and_one_success_closes_it():
    breaker = failing(5)
    assert breaker.open
    assert breaker.theirs
    breaker.succeeded()
    assert not breaker.open
    assert not breaker.theirs


def test_the_wait_grows_to_a_minute():
    assert failing(5).wait(4.0) == 0.5
    assert failing(8).wait(7.0) == 4.0
    assert failing(40).wait(39.0) == 30.0


def test_one_batch_that_keeps_failing_is_not_the_destinations_fault():
    breaker = failing(10, batches=1)
    assert breaker.open
    assert not breaker.theirs


def test_after_its_patience_it_is_hopeless_sooner_if_nothing_ever_answered():
    breaker = failing(10)
    assert not breaker.hopeless(899.0)
    assert breaker.hopeless(900.0)
    never = Breaker(900.0)
    for n in range(10):
        never.failed(float(n), 0.0, n)
    assert not never.hopeless(59.0)
    assert never.hopeless(60.0)
