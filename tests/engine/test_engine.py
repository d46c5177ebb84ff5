"""An engine delivers everything once, at the limit's pace, and stops for the right reasons. All in virtual time."""

import asyncio
import json
import random
from pathlib import Path

import pytest

from headway.delivery.records import Reply
from headway.engine.engine import Engine
from headway.engine.model import Ended, Ending, Settings
from headway.errors import TransportError
from headway.limiter.limiter import Limiter
from headway.limits.limits import Quota, Window
from headway.stores.model import Loaded, RunConfig
from headway.stores.sqlite.store import SqliteStore

from .world import Connector, Link, Platform, VirtualClock, run_virtually, word, words


class Bench:
    """A store with records, a platform, an engine."""

    def __init__(self, clock: VirtualClock, path: Path, count: int, **platform) -> None:
        self.clock = clock
        self.platform = Platform(clock, **platform)
        self.store = SqliteStore(path / "records.db", clock=lambda: clock.wall_ns() / 1e9)
        self.run = self.store.create_run(RunConfig("test", "fake:things"))
        rows = [Loaded(f"k{n}", json.dumps({"n": n}).encode(), n + 2) for n in range(count)]
        self.store.load(self.run, rows, [], "end")
        self.store.finish_load(self.run)
        self.events: list = []
        self.limits = [Window(self.platform.amount, self.platform.per)]
        self.fresh = True
        self.engine: Engine

    def build(self, *, connector: Connector | None = None, **settings) -> Engine:
        limiter = Limiter(*self.limits, clock=self.clock, observer=self.events.append)
        self.engine = Engine(
            self.store, self.run, connector or Connector(), Link(limiter, self.platform.answer),
            settings=Settings(**settings), rate=self.platform.amount / self.platform.per,
            observer=self.events.append, clock=self.clock, rng=random.Random(1),
        )  # fmt: skip
        return self.engine

    async def go(self, **settings) -> Ended:
        return await self.build(**settings).run()

    def books(self):
        return self.store.audit(self.run)


@pytest.fixture
def bench(tmp_path):
    """Run `test(bench)` in virtual time."""

    def go(test, count=1000, **platform):
        async def main(clock):
            made = Bench(clock, tmp_path, count, **platform)
            try:
                return await test(made)
            finally:
                made.store.close()

        return run_virtually(main)

    return go


def test_delivers_every_record_at_the_pace_of_the_limit(bench):
    async def test(b):
        assert await b.go() == Ended(Ending.FINISHED)
        assert len(b.platform.records) == 50_000
        assert len(b.platform.calls) == 500
        assert b.platform.refused == 0
        first, last = b.platform.calls[0][0], b.platform.calls[-1][0]
        assert 40 <= last - first <= 40 * 1.03
        assert b.books().delivered == 50_000

    bench(test, 50_000)


def test_a_good_first_batch_is_followed_by_the_second_alone_then_by_many(bench):
    async def test(b):
        await b.go()
        times = [at for at, _ in b.platform.calls]
        assert times[1] - times[0] > 0.04
        assert times[2] - times[1] > 0.04
        assert b.platform.most_flying > 5

    bench(test, 3_000)


def test_only_the_bad_records_of_a_207_are_dead(bench):
    async def test(b):
        b.platform.behave = lambda number, rows: words(["bad" if row["n"] % 20 == 0 else "ok" for row in rows])
        assert (await b.go()).ending is Ending.FINISHED
        books = b.books()
        assert (books.delivered, books.dead) == (950, 50)
        assert len(b.platform.calls) == 10
        letter = next(iter(b.store.dead()))
        assert (letter.code, letter.message) == ("BAD", "this record is bad")

    bench(test)


def test_one_poison_record_costs_at_most_fifteen_more_calls(bench):
    async def test(b):
        b.platform.behave = lambda number, rows: word("poison", 0, 400) if any(row["n"] == 77 for row in rows) else None
        assert (await b.go()).ending is Ending.FINISHED
        assert b.books().dead == 1
        assert [letter.key for letter in b.store.dead()] == ["k77"]
        assert len(b.platform.calls) <= 10 + 15
        assert len(b.platform.records) == 999

    bench(test)


def test_records_refused_for_another_travel_in_the_next_full_batch(bench):
    def behave(number, rows):
        bad = [row["n"] == 5 for row in rows]
        return words(["bad" if each else "again" for each in bad], 400) if any(bad) else None

    async def test(b):
        b.platform.behave = behave
        assert (await b.go()).ending is Ending.FINISHED
        assert len(b.platform.calls) == 11
        assert b.books().delivered == 999

    bench(test)


def test_a_mapping_that_the_destination_refuses_pauses_after_two_calls(bench):
    async def test(b):
        b.platform.behave = lambda number, rows: word("mapping", 0, 400)
        ended = await b.go()
        assert ended.ending is Ending.MAPPING
        assert "no property is named x" in ended.reason
        assert len(b.platform.calls) == 2
        assert b.books().pending == 1000

    bench(test)


def test_a_mapping_fault_of_a_single_batch_is_tried_in_halves_before_it_is_believed(bench):
    async def test(b):
        b.platform.behave = lambda number, rows: word("mapping", 0, 400)
        ended = await b.go()
        assert ended.ending is Ending.MAPPING
        assert len(b.platform.calls) == 3
        assert b.books().pending == 60

    bench(test, 60)


def test_a_mapping_fault_of_one_record_only_costs_that_record(bench):
    async def test(b):
        b.platform.behave = lambda number, rows: word("mapping", 0, 400) if any(row["n"] == 7 for row in rows) else None
        assert (await b.go()).ending is Ending.FINISHED
        books = b.books()
        assert (books.delivered, books.dead) == (999, 1)

    bench(test)


def test_too_many_dead_records_pause_the_run(bench):
    async def test(b):
        b.platform.behave = lambda number, rows: words(["bad" if row["n"] % 2 else "ok" for row in rows])
        ended = await b.go()
        assert ended.ending is Ending.GUARD
        assert "more than 20%" in ended.reason
        books = b.books()
        assert books.pending > 0
        assert len(b.platform.calls) == 2

    bench(test)


def test_rejected_credentials_stop_at_once_and_lose_nothing(bench):
    async def test(b):
        b.platform.behave = lambda number, rows: Reply(401) if number == 4 else None
        ended = await b.go()
        assert ended.ending is Ending.CREDENTIALS
        books = b.books()
        assert books.dead == 0
        assert books.pending > 0
        assert len(b.platform.calls) <= 4 + 16

    bench(test, 10_000)


def test_a_rate_limit_reply_pauses_and_costs_no_try(bench):
    async def test(b):
        b.platform.behave = lambda number, rows: Reply(429, {"retry-after": "7"}) if number in {3, 4, 5, 6} else None
        assert (await b.go()).ending is Ending.FINISHED
        assert b.books().delivered == 3000
        assert b.engine.tally.rate_limited == 4
        times = [at for at, _ in b.platform.calls]
        refused_at = times[2]
        assert not [at for at in times if refused_at + 0.2 < at < refused_at + 7]
        assert {record.attempts for record in b.store.find("k250")} == {1}

    bench(test, 3000)


def test_an_exhausted_quota_pauses_until_its_reset(bench):
    async def test(b):
        b.limits.append(Quota(5, resets="00:00 US/Eastern", name="daily"))
        ended = await b.go()
        assert ended.ending is Ending.QUOTA
        assert "daily" in ended.reason
        assert ended.until is not None
        seconds = ended.until.timestamp() - b.clock.wall_ns() / 1e9
        assert 0 < seconds < 86_400 + 10
        assert len(b.platform.calls) == 5
        assert b.books().pending == 500

    bench(test)


def test_waits_for_the_quota_if_told_to(bench):
    async def test(b):
        b.limits.append(Quota(5, resets="00:00 US/Eastern", name="daily"))
        ended = await b.go(wait_for_quota=86_400 * 3.0)
        assert ended.ending is Ending.FINISHED
        assert b.books().delivered == 1000

    bench(test)


def test_a_transient_failure_is_tried_again_and_at_last_given_up(bench):
    async def test(b):
        b.platform.behave = lambda number, rows: Reply(503) if any(row["n"] == 250 for row in rows) else None
        assert (await b.go(max_dead=1.0)).ending is Ending.FINISHED
        books = b.books()
        assert books.dead == 100
        letter = next(iter(b.store.dead()))
        assert letter.attempts == 5
        assert letter.code == "HTTP_503"

    bench(test)


def test_a_call_without_a_reply_is_repeated_only_where_that_is_safe(bench):
    async def test(b):
        def behave(number, rows):
            return TransportError("reset", sent=True) if number == 4 else None

        b.platform.behave = behave
        assert (await b.build(connector=Connector(repeatable=False)).run()).ending is Ending.FINISHED
        assert b.books().dead == 100
        assert {letter.code for letter in b.store.dead()} == {"OUTCOME_UNKNOWN"}

    bench(test)


def test_an_outage_costs_no_record_its_tries(bench):
    async def test(b):
        def behave(number, rows):
            down = 1 < b.clock.monotonic_ns() / 1e9 - 1 < 301
            return Reply(503) if down else None

        b.platform.behave = behave
        assert (await b.go()).ending is Ending.FINISHED
        assert b.books().delivered == 60_000
        failed = [at for at, _ in b.platform.calls if 1 < at - 1 < 301]
        assert len(failed) < 60

    bench(test, 60_000)


def test_a_destination_that_never_answers_is_given_up_after_a_minute(bench):
    async def test(b):
        b.platform.behave = lambda number, rows: TransportError("connection refused", sent=False)
        ended = await b.go()
        assert ended.ending is Ending.UNREACHABLE
        assert b.books().pending == 1000
        assert b.clock.monotonic_ns() / 1e9 < 200

    bench(test)


def test_stop_finishes_what_is_in_flight_and_takes_no_more_permits(bench):
    async def test(b):
        engine = b.build()
        asyncio.get_running_loop().call_later(3.01, engine.stop)
        ended = await engine.run()
        assert ended.ending is Ending.INTERRUPTED
        books = b.books()
        assert books.delivered == len(b.platform.records)
        assert books.delivered + books.pending == 50_000
        assert b.store.recover(b.run, unknown_is_dead=False, every=True).count == 0

    bench(test, 50_000)


def test_stop_during_a_wait_for_the_window_returns_at_once(bench):
    async def test(b):
        engine = b.build()
        asyncio.get_running_loop().call_later(5.0, engine.stop)
        assert (await engine.run()).ending is Ending.INTERRUPTED
        assert b.clock.monotonic_ns() / 1e9 < 6.5

    bench(test, 50_000)


def test_leaving_at_once_keeps_the_store_intact(bench):
    async def test(b):
        task = asyncio.ensure_future(b.build().run())
        await asyncio.sleep(0.22)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        unknown = b.store.recover(b.run, unknown_is_dead=False, every=True).count
        assert 0 < unknown <= 1600
        assert b.books().delivered + b.books().pending == 50_000
        assert (await b.go()).ending is Ending.FINISHED
        assert len(b.platform.records) == 50_000

    bench(test, 50_000)


def test_a_storm_of_faults_loses_nothing_and_delivers_everything(bench):
    rng = random.Random(7)

    def behave(number, rows):
        dice = rng.random()
        if dice < 0.1:
            return Reply(503)
        if dice < 0.2:
            return TransportError("reset", sent=True)
        if dice < 0.25:
            return Reply(429, {"retry-after": "1"})
        if dice < 0.3:
            return TransportError("refused", sent=False)
        return None

    async def test(b):
        b.platform.behave = behave
        assert (await b.go()).ending is Ending.FINISHED
        books = b.books()
        assert books.balanced
        assert books.delivered + books.dead == 20_000
        assert books.dead <= 300
        assert len(b.platform.records) >= books.delivered

    bench(test, 20_000)


def test_a_replay_keeps_to_its_rate(bench):
    async def test(b):
        assert (await b.go(rate=50.0, priority="replay")).ending is Ending.FINISHED
        assert b.platform.calls[-1][0] - b.platform.calls[0][0] == pytest.approx(1000 / 50 - 1, abs=0.5)

    bench(test)


def test_an_error_of_ours_ends_the_run_with_that_error(bench):
    class Broken(Connector):
        def verdict(self, records, reply):
            raise ZeroDivisionError

    async def test(b):
        with pytest.raises(ZeroDivisionError):
            await b.build(connector=Broken()).run()

    bench(test)


def test_nothing_goes_out_once_the_guard_has_spoken_even_if_a_permit_was_awaited(bench):
    async def test(b):
        b.platform.behave = lambda number, rows: words(["bad" if number > 90 else "ok"] * len(rows))
        ended = await b.go(max_dead=0.05)
        assert ended.ending is Ending.GUARD
        assert len(b.platform.calls) <= 100
        assert b.clock.monotonic_ns() / 1e9 < 4

    bench(test, 30_000)


def test_an_error_of_ours_is_noticed_while_a_permit_is_awaited(bench):
    class Broken(Connector):
        def verdict(self, records, reply):
            if any(record.key == "k9900" for record in records):
                raise ZeroDivisionError
            return super().verdict(records, reply)

    async def test(b):
        with pytest.raises(ZeroDivisionError):
            await b.build(connector=Broken()).run()
        assert b.clock.monotonic_ns() / 1e9 < 4

    bench(test, 30_000)


def test_a_stop_between_the_halves_of_a_doubted_batch_loses_nothing_that_arrived(bench):
    async def test(b):
        def behave(number, rows):
            if number == 1:
                return word("mapping", 0, 400)
            b.engine.stop()
            return None

        b.platform.behave = behave
        assert (await b.build(connector=Connector(repeatable=False)).run()).ending is Ending.INTERRUPTED
        books = b.books()
        assert (books.delivered, books.pending) == (40, 40)

    bench(test, 80)
