"""What every store must do, whatever it keeps its records in.

A test module subclasses `StoreContract` and gives a fixture `world`, which opens the same store as one or another
process, has a clock that stands still until it is moved, and lets processes die.
"""

import json
from collections.abc import Callable
from typing import Protocol

import pytest

from headway.errors import RunLocked, StaleClaim, UsageError
from headway.stores.interface import Store
from headway.stores.model import (
    OUTCOME_UNKNOWN,
    BadRow,
    Dead,
    DeadFilter,
    Done,
    Ledger,
    LoadCounts,
    Loaded,
    Retry,
    RunConfig,
    State,
)


class World(Protocol):
    now: float

    def open(self, pid: int = 1) -> Store: ...

    def kill(self, pid: int) -> None: ...


CONTACTS = RunConfig("contacts.csv", "hubspot:contacts", {"key": "email"}, fingerprint="f1", reopen="/x/contacts.csv")


def rows(*keys: str, group: str = "", first: int = 2) -> list[Loaded]:
    return [Loaded(k, b'{"email":"%s","n":%d}' % (k.encode(), n), n, group) for n, k in enumerate(keys, first)]


def bad(line: int, key: str = "", code: str = "RAGGED_ROW") -> BadRow:
    return BadRow(line, key, code, f"line {line} is bad", b'{"email":"?"}')


def loaded(store: Store, *keys: str, config: RunConfig = CONTACTS) -> str:
    run = store.create_run(config)
    store.load(run, rows(*keys), [], "end")
    store.finish_load(run)
    return run


def keys(claim) -> list[str]:
    return [] if claim is None else [record.key for record in claim.records]


def settle(store: Store, run: str, claim, how: Callable, **reply) -> None:
    store.finish(run, claim, [how(record) for record in claim.records], **reply)


def die(record) -> Dead:
    return Dead(record.id, "INVALID", "no such thing")


def done(record) -> Done:
    return Done(record.id, f"remote-{record.key}")


class StoreContract:
    # Runs

    def test_a_run_keeps_what_it_is_to_do(self, world):
        store = world.open()
        run = store.create_run(CONTACTS)
        found = store.run(run)
        assert (found.config, found.state, found.loaded, found.position) == (CONTACTS, "loading", False, None)
        assert found.created == world.now

    def test_runs_sort_by_time_and_the_latest_unfinished_is_known(self, world):
        store = world.open()
        assert store.latest_unfinished() is None
        names = []
        for _ in range(3):
            names.append(store.create_run(CONTACTS))
            world.now += 0.4
        assert sorted(set(names)) == names
        assert [run.id for run in store.runs()] == names[::-1]
        store.set_state(names[2], "done")
        store.set_state(names[1], "paused", "the day's quota is used up")
        assert store.latest_unfinished() == names[1]
        assert store.run(names[1]).reason == "the day's quota is used up"

    def test_an_unknown_run_is_a_usage_error(self, world):
        store = world.open()
        with pytest.raises(UsageError, match="no run 'nope'"):
            store.run("nope")
        with pytest.raises(UsageError, match="no run 'nope'"):
            store.claim("nope")

    def test_what_a_run_spends_adds_up_over_processes(self, world):
        run = world.open(1).create_run(CONTACTS)
        world.open(1).count(run, requests=3, rate_limited=1)
        world.open(2).count(run, requests=2, retries=7)
        found = world.open(3).run(run)
        assert (found.requests, found.rate_limited, found.retries) == (5, 1, 7)

    # Locks

    def test_a_run_that_a_live_process_works_on_is_refused_with_pid_host_and_start(self, world):
        run = world.open(1).create_run(CONTACTS)
        lock = world.open(1).lock_run(run)
        with pytest.raises(RunLocked, match=rf"run {run} .* process 1 on \S+ since \d{{4}}-\d\d-\d\d"):
            world.open(2).lock_run(run)
        lock.release()
        lock.release()
        world.open(2).lock_run(run).heartbeat()

    def test_the_lock_of_a_dead_process_is_taken_over_at_once(self, world):
        run = world.open(1).create_run(CONTACTS)
        lost = world.open(1).lock_run(run)
        world.kill(1)
        world.open(2).lock_run(run).heartbeat()
        with pytest.raises(RunLocked, match="taken over"):
            lost.heartbeat()
        lost.release()
        with pytest.raises(RunLocked):
            world.open(3).lock_run(run)

    def test_the_lock_of_a_closed_store_of_the_same_process_is_void(self, world):
        one, two = world.open(1), world.open(1)
        run = one.create_run(CONTACTS)
        one.lock_run(run)
        for store in (one, two):
            with pytest.raises(RunLocked):
                store.lock_run(run)
        one.close()
        two.lock_run(run)

    # Loading

    def test_rows_bad_rows_and_position_are_committed_together(self, world):
        store = world.open()
        run = store.create_run(CONTACTS)
        assert store.load(run, rows("a", "b"), [bad(4), bad(5, "c")], "p1") == LoadCounts(4, 2, 2, 0)
        assert store.run(run).position == "p1"
        assert store.ledger(run) == store.audit(run) == Ledger(read=4, dead=2, pending=2)
        store.load(run, [], [], "p2")
        assert store.run(run).position == "p2"
        assert store.finish_load(run) == LoadCounts(4, 2, 2, 0)
        assert (store.run(run).loaded, store.run(run).state) == (True, "running")

    def test_nothing_is_claimed_before_and_nothing_added_after_the_end_of_the_source(self, world):
        store = world.open()
        run = store.create_run(CONTACTS)
        store.load(run, rows("a"), [], "p1")
        with pytest.raises(UsageError, match="not been read to its end"):
            store.claim(run)
        store.finish_load(run)
        assert store.finish_load(run) == LoadCounts(1, 1, 0, 0)
        with pytest.raises(UsageError, match="nothing can be added"):
            store.load(run, rows("b"), [], "p2")
        assert store.run(run).position == "p1"

    def test_an_empty_source_is_a_run_with_nothing_to_do(self, world):
        store = world.open()
        run = loaded(store)
        assert store.claim(run) is None
        assert store.next_ready(run) is None
        assert store.audit(run) == Ledger()

    @pytest.mark.parametrize(("policy", "sent"), [("last", [4, 7, 8, 9, 10]), ("first", [2, 3, 5, 9, 10])])
    def test_duplicates_give_way_within_a_batch_across_batches_and_processes(self, world, policy, sent):
        run = world.open(1).create_run(CONTACTS)
        world.open(1).load(run, rows("a", "b", "a"), [], "p1", policy)
        world.kill(1)
        store = world.open(2)
        store.load(run, rows("c", "b", "b", "c", first=5), [], "p2", policy)
        store.load(run, rows("", "", first=9), [], "p3", policy)
        assert store.finish_load(run) == LoadCounts(read=9, ready=5, dead=0, skipped=4)
        assert sorted(json.loads(record.payload)["n"] for record in store.claim(run).records) == sent
        assert store.audit(run) == Ledger(read=9, skipped=4, pending=5)
        states = [(h.line, h.state, h.code) for h in store.find("b")]
        assert [s for s in states if s[1] is State.LEASED] == [(7 if policy == "last" else 3, State.LEASED, "")]
        assert len([s for s in states if s[1:] == (State.SKIPPED, "DUPLICATE")]) == 2

    def test_a_duplicate_may_be_an_error_that_names_both_lines(self, world):
        store = world.open()
        run = store.create_run(CONTACTS)
        store.load(run, rows("a", "b"), [], "p1", "fail")
        store.load(run, rows("c", "b", first=7), [bad(9, "a")], "p2", "fail")
        with pytest.raises(UsageError, match="lines 3 and 8 have the same key 'b'"):
            store.finish_load(run)
        assert store.audit(run) == Ledger(read=5, dead=1, pending=4)

    def test_a_bad_row_is_a_dead_letter_and_displaces_no_good_one(self, world):
        store = world.open()
        run = store.create_run(CONTACTS)
        store.load(run, rows("a", first=3), [bad(2, "a"), bad(4, "a"), bad(5)], "p1")
        assert store.finish_load(run) == LoadCounts(read=4, ready=1, dead=3, skipped=0)
        assert keys(store.claim(run)) == ["a"]
        assert [(letter.line, letter.key) for letter in store.dead()] == [(2, "a"), (4, "a"), (5, "")]
        assert [h.line for h in store.find("a")] == [3, 2, 4]

    def test_a_row_without_a_payload_is_refused(self, world):
        store = world.open()
        run = store.create_run(CONTACTS)
        with pytest.raises(ValueError, match="without a payload"):
            store.load(run, [Loaded("a", b"", 2)], [], "p1")
        assert store.audit(run) == Ledger()

    # Claims

    def test_a_batch_is_formed_when_it_is_claimed_oldest_first(self, world):
        store = world.open()
        run = loaded(store, *"abcde")
        one = store.claim(run, limit=2)
        two = store.claim(run, limit=2)
        assert (keys(one), keys(two)) == (["a", "b"], ["c", "d"])
        assert two.token > one.token
        assert {(r.attempts, r.unknown, r.part) for r in one.records} == {(1, False, 0)}
        assert one.records[0].payload == b'{"email":"a","n":2}'
        assert store.next_ready(run) == 0.0
        assert keys(store.claim(run)) == ["e"]
        assert store.claim(run) is None
        assert store.next_ready(run) is None
        assert store.ledger(run) == Ledger(read=5, pending=5)

    def test_a_batch_is_bounded_by_bytes_but_never_empty(self, world):
        store = world.open()
        run = store.create_run(CONTACTS)
        store.load(run, [Loaded(k, b"x" * size, 2) for k, size in zip("abcd", (10, 9, 50, 1), strict=True)], [], "")
        store.finish_load(run)
        assert keys(store.claim(run, max_bytes=41, overhead=10)) == ["a", "b"]
        assert keys(store.claim(run, max_bytes=41, overhead=10)) == ["c"]
        assert keys(store.claim(run, max_bytes=41, overhead=10)) == ["d"]

    def test_a_batch_holds_one_group(self, world):
        store = world.open()
        run = store.create_run(CONTACTS)
        for line, (key, group) in enumerate([("a", "x"), ("b", "y"), ("c", "x"), ("d", "")], 2):
            store.load(run, rows(key, group=group, first=line), [], str(line))
        store.finish_load(run)
        claims = [store.claim(run) for _ in range(3)]
        assert [(keys(c), {r.group for r in c.records}) for c in claims] == [
            (["d"], {""}),
            (["a", "c"], {"x"}),
            (["b"], {"y"}),
        ]

    def test_records_that_are_due_again_travel_first_in_the_next_full_batch(self, world):
        store = world.open()
        run = loaded(store, *"abcdef")
        claim = store.claim(run, limit=3)
        a, b, c = claim.records
        store.finish(
            run,
            claim,
            [Retry(a.id, world.now + 5, "E", "later"), Done(b.id), Retry(c.id, world.now, "E", "now")],
            status=503,
        )
        again = store.claim(run, limit=3)
        assert keys(again) == ["c", "d", "e"]
        assert [r.attempts for r in again.records] == [2, 1, 1]
        assert keys(store.claim(run, limit=3)) == ["f"]
        assert store.claim(run, limit=3) is None
        assert store.next_ready(run) == world.now + 5
        world.now += 5
        assert keys(store.claim(run, limit=3)) == ["a"]

    def test_a_part_of_a_split_batch_travels_alone(self, world):
        store = world.open()
        run = loaded(store, *"abcdef")
        claim = store.claim(run, limit=4)
        parts = [
            Retry(r.id, world.now, "SPLIT", "", part=part, counted=False)
            for r, part in zip(claim.records, (7, 7, 8, 8), strict=True)
        ]
        store.finish(run, claim, parts, status=400)
        seven, eight, fresh = (store.claim(run) for _ in range(3))
        assert [keys(c) for c in (seven, eight, fresh)] == [["a", "b"], ["c", "d"], ["e", "f"]]
        assert [(r.part, r.attempts) for r in seven.records] == [(7, 1), (7, 1)]
        store.finish(run, seven, [Retry(r.id, world.now, "", "", part=0) for r in seven.records])
        assert [(r.key, r.part) for r in store.claim(run).records] == [("a", 0), ("b", 0)]

    def test_a_retry_in_the_past_is_not_taken_for_a_record_that_was_never_sent(self, world):
        store = world.open()
        run = loaded(store, "a")
        settle(store, run, store.claim(run), lambda r: Retry(r.id, 0.0, "E", "m"))
        assert 0 < store.next_ready(run) < world.now
        assert [r.attempts for r in store.claim(run).records] == [2]

    def test_unclaim_gives_the_try_back_and_the_place_too(self, world):
        store = world.open()
        run = loaded(store, *"abc")
        claim = store.claim(run, limit=2)
        store.unclaim(run, claim)
        again = store.claim(run, limit=2)
        assert [(r.key, r.attempts) for r in again.records] == [("a", 1), ("b", 1)]
        with pytest.raises(StaleClaim):
            store.unclaim(run, claim)
        assert store.audit(run) == Ledger(read=3, pending=3)

    def test_an_unknown_outcome_is_remembered(self, world):
        store = world.open()
        run = loaded(store, "a")
        settle(store, run, store.claim(run), lambda r: Retry(r.id, world.now, "TIMEOUT", "no reply", unknown=True))
        claim = store.claim(run)
        assert [r.unknown for r in claim.records] == [True]
        settle(store, run, claim, lambda r: Retry(r.id, world.now, "E", "503"))
        assert [(r.unknown, r.attempts) for r in store.claim(run).records] == [(True, 3)]

    # Finishing

    def test_finish_settles_every_record_of_the_claim_exactly_once(self, world):
        store = world.open()
        run = loaded(store, *"abc")
        claim = store.claim(run, limit=2)
        a, b = claim.records
        for wrong in (
            [Done(a.id)],
            [Done(a.id), Done(a.id)],
            [Done(a.id), Done(b.id), Done(b.id)],
            [Done(a.id), Done(99)],
        ):
            with pytest.raises(ValueError, match="do not settle"):
                store.finish(run, claim, wrong)
        assert store.audit(run) == Ledger(read=3, pending=3)
        store.finish(run, claim, [Done(a.id, "77"), Dead(b.id, "INVALID", "no")], status=207, request_id="r1")
        assert store.audit(run) == Ledger(read=3, delivered=1, dead=1, pending=1)
        with pytest.raises(StaleClaim):
            store.finish(run, claim, [Done(a.id), Done(b.id)])
        assert store.audit(run) == Ledger(read=3, delivered=1, dead=1, pending=1)
        assert [(h.state, h.remote_id) for h in store.find("a")] == [(State.DELIVERED, "77")]

    def test_who_lost_the_lease_can_write_nothing(self, world):
        slow, quick = world.open(1), world.open(2)
        run = loaded(slow, "a")
        lost = slow.claim(run, lease=10)
        assert quick.recover(run, unknown_is_dead=False).count == 0
        world.now += 10
        assert quick.recover(run, unknown_is_dead=False).ready == 1
        held = quick.claim(run)
        for act in (
            lambda: settle(slow, run, lost, done),
            lambda: slow.unclaim(run, lost),
            lambda: slow.renew(run, lost),
            lambda: slow.create_job(run, lost, b"{}"),
        ):
            with pytest.raises(StaleClaim):
                act()
        assert slow.audit(run) == Ledger(read=1, pending=1)
        settle(quick, run, held, done)
        assert quick.audit(run) == Ledger(read=1, delivered=1)

    def test_a_renewed_lease_lasts(self, world):
        store, other = world.open(1), world.open(2)
        run = loaded(store, "a")
        claim = store.claim(run, lease=10)
        world.now += 9
        store.renew(run, claim, lease=10)
        world.now += 9
        assert other.recover(run, unknown_is_dead=False).count == 0
        settle(store, run, claim, done)

    # Crashes

    def test_records_of_a_dead_process_are_known_to_be_unknown(self, world):
        run = loaded(world.open(1), *"abc")
        world.open(1).claim(run, limit=2, lease=3600)
        world.kill(1)
        store = world.open(2)
        assert store.recover(run, unknown_is_dead=False).ready == 2
        claim = store.claim(run)
        assert [(r.key, r.unknown, r.attempts) for r in claim.records] == [
            ("a", True, 2),
            ("b", True, 2),
            ("c", False, 1),
        ]
        assert [(a.code, a.status) for a in store.find("a")[0].history] == [(OUTCOME_UNKNOWN, 0)]

    def test_recovered_records_go_before_those_that_were_never_sent(self, world):
        store = world.open()
        run = store.create_run(CONTACTS)
        store.load(run, [*rows("a", group="a"), *rows("z", group="z")], [], "end")
        store.finish_load(run)
        a, z = store.claim(run), store.claim(run)
        assert (keys(a), keys(z)) == (["a"], ["z"])
        store.unclaim(run, a)
        assert store.recover(run, unknown_is_dead=False, every=True).ready == 1
        assert [keys(store.claim(run)) for _ in range(2)] == [["z"], ["a"]]

    def test_what_cannot_be_repeated_safely_becomes_a_dead_letter(self, world):
        run = loaded(world.open(1), *"abc")
        world.open(1).claim(run, limit=2)
        world.kill(1)
        store = world.open(2)
        assert store.recover(run, unknown_is_dead=True).dead == 2
        assert store.audit(run) == Ledger(read=3, dead=2, pending=1)
        assert {(letter.code, letter.attempts) for letter in store.dead()} == {(OUTCOME_UNKNOWN, 1)}

    def test_leases_of_a_closed_store_of_the_same_process_are_recovered(self, world):
        one, two = world.open(1), world.open(1)
        run = loaded(one, "a")
        one.claim(run)
        assert two.recover(run, unknown_is_dead=False).count == 0
        one.close()
        assert two.recover(run, unknown_is_dead=False).count == 1

    def test_who_holds_the_lock_may_take_back_live_leases(self, world):
        one, two = world.open(1), world.open(2)
        run = loaded(one, "a")
        one.claim(run)
        assert two.recover(run, unknown_is_dead=False, every=True).count == 1
        assert keys(two.claim(run)) == ["a"]

    # Dead letters

    def test_a_dead_letter_keeps_payload_line_and_every_attempt(self, world):
        store = world.open()
        run = loaded(store, "a")
        settle(store, run, store.claim(run), lambda r: Retry(r.id, world.now, "", ""), status=502, code="BAD_GATEWAY", message="oops", request_id="r1")  # fmt: skip
        world.now += 3
        settle(store, run, store.claim(run), die, status=400, request_id="r2")
        (letter,) = store.dead()
        assert (letter.run, letter.destination, letter.key, letter.line) == (run, "hubspot:contacts", "a", 2)
        assert letter.payload == letter.original == b'{"email":"a","n":2}'
        assert (letter.code, letter.message, letter.attempts, letter.at) == ("INVALID", "no such thing", 2, world.now)
        assert [(a.at, a.status, a.code, a.message, a.request_id) for a in letter.history] == [
            (world.now - 3, 502, "BAD_GATEWAY", "oops", "r1"),
            (world.now, 400, "INVALID", "no such thing", "r2"),
        ]

    def test_a_dead_letter_keeps_the_sources_row(self, world):
        store = world.open()
        run = store.create_run(CONTACTS)
        store.load(run, [Loaded("a", b'{"email":"a"}', 2, original=b'{"E-Mail":"A "}')], [bad(3)], "end")
        store.finish_load(run)
        settle(store, run, store.claim(run), die)
        assert [(x.payload, x.original) for x in store.dead()] == [
            (b'{"email":"a"}', b'{"E-Mail":"A "}'),
            (b"", b'{"email":"?"}'),
        ]

    def test_dead_letters_are_found_by_code_run_destination_key_and_time(self, world):
        store = world.open()
        one = loaded(store, "a", "b")
        two = loaded(store, "a", config=RunConfig("deals.csv", "hubspot:deals"))
        settle(store, one, store.claim(one), lambda r: Dead(r.id, f"CODE_{r.key}", "m"))
        world.now += 60
        settle(store, two, store.claim(two), die)
        every = {(one, "a"), (one, "b"), (two, "a")}
        ids = {(x.run, x.key): x.id for x in store.dead()}
        for which, expected in [
            (DeadFilter(), every),
            (DeadFilter(run=one), {(one, "a"), (one, "b")}),
            (DeadFilter(code="CODE_b"), {(one, "b")}),
            (DeadFilter(destination="hubspot:deals"), {(two, "a")}),
            (DeadFilter(key="a"), {(one, "a"), (two, "a")}),
            (DeadFilter(key="a", run=one), {(one, "a")}),
            (DeadFilter(since=world.now), {(two, "a")}),
            (DeadFilter(ids=[ids[one, "b"]]), {(one, "b")}),
            (DeadFilter(ids=[]), set()),
        ]:
            assert {(x.run, x.key) for x in store.dead(which)} == expected
            assert sum(store.dead_counts(which).values()) == len(expected)
        assert store.dead_counts() == {(one, "CODE_a"): 1, (one, "CODE_b"): 1, (two, "INVALID"): 1}

    def test_more_dead_letters_than_a_page_come_in_order_while_others_go(self, world):
        store = world.open()
        run = loaded(store, *(f"k{n:04}" for n in range(1203)))
        while claim := store.claim(run, limit=400):
            settle(store, run, claim, die)
        seen = []
        for letter in store.dead():
            if not seen:
                store.drop(DeadFilter(ids=[letter.id + 600]))
            seen.append(letter.key)
        assert seen == sorted(seen)
        assert len(seen) == 1202

    def test_a_replay_is_a_run_of_its_own_with_balanced_books_on_both_sides(self, world):
        store = world.open()
        run = store.create_run(CONTACTS)
        store.load(run, rows("a", "b", "c"), [bad(9)], "end")
        store.finish_load(run)
        settle(store, run, store.claim(run, limit=2), die, status=400)
        world.now += 5
        replayed = store.replay(
            RunConfig("dead letters", "hubspot:contacts", kind="replay", priority="replay"), DeadFilter(run=run)
        )
        assert (replayed.records, replayed.left) == (2, 1)
        assert store.audit(run) == Ledger(read=4, dead=3, pending=1)
        assert store.audit(replayed.run) == Ledger(read=2, pending=2)
        assert store.run(replayed.run).config.priority == "replay"
        assert [letter.line for letter in store.dead()] == [9]
        claim = store.claim(replayed.run)
        assert [(r.key, r.attempts, r.unknown) for r in claim.records] == [("a", 1, False), ("b", 1, False)]
        store.finish(replayed.run, claim, [done(claim.records[0]), die(claim.records[1])], status=207)
        (letter,) = store.dead(DeadFilter(run=replayed.run))
        assert (letter.key, letter.line, [a.status for a in letter.history]) == ("b", 3, [400, 207])
        assert [(h.run, h.state) for h in store.find("a")] == [(run, State.DEAD), (replayed.run, State.DELIVERED)]

    def test_of_several_letters_with_one_key_the_latest_is_replayed(self, world):
        store = world.open()
        for line in (2, 3, 4):
            run = store.create_run(CONTACTS)
            store.load(run, rows("a", first=line), [], "end")
            store.finish_load(run)
            settle(store, run, store.claim(run), die)
        replayed = store.replay(RunConfig("dead letters", "hubspot:contacts", kind="replay"))
        assert store.audit(replayed.run) == Ledger(read=3, skipped=2, pending=1)
        assert [r.payload for r in store.claim(replayed.run).records] == [b'{"email":"a","n":4}']

    def test_nothing_to_replay_makes_no_run(self, world):
        store = world.open()
        run = store.create_run(CONTACTS)
        store.load(run, [], [bad(2)], "end")
        store.finish_load(run)
        replayed = store.replay(RunConfig("dead letters", "hubspot:contacts", kind="replay"))
        assert (replayed.run, replayed.records, replayed.left) == ("", 0, 1)
        assert [r.id for r in store.runs()] == [run]

    def test_a_dropped_letter_is_forgotten_and_the_books_still_balance(self, world):
        store = world.open()
        run = loaded(store, "a", "b")
        settle(store, run, store.claim(run), die)
        assert store.drop(DeadFilter(key="a")) == 1
        assert [letter.key for letter in store.dead()] == ["b"]
        assert store.audit(run) == Ledger(read=2, dead=2)
        (history,) = store.find("a")
        assert (history.state, history.message, history.history) == (State.DEAD, "", ())
        assert store.replay(RunConfig("x", "hubspot:contacts", kind="replay")).records == 1

    # What happened to a key

    def test_a_key_is_found_in_every_run_also_in_one_that_is_still_read(self, world):
        store = world.open()
        one = loaded(store, "a", "b", "a")
        settle(store, one, store.claim(one), done)
        two = store.create_run(CONTACTS)
        store.load(two, rows("a"), [bad(3, "a")], "p")
        assert [(h.run, h.line, h.state) for h in store.find("a")] == [
            (one, 2, State.SKIPPED),
            (one, 4, State.DELIVERED),
            (two, 2, State.READY),
            (two, 3, State.DEAD),
        ]
        assert [h.line for h in store.find("a", run=two)] == [2, 3]
        assert store.find("nobody") == []
        with pytest.raises(UsageError):
            store.find("a", run="nope")

    # Jobs

    def test_an_open_job_survives_its_process_and_its_records_are_not_recovered(self, world):
        first = world.open(1)
        run = loaded(first, *"abc")
        claim = first.claim(run, limit=2)
        job = first.create_job(run, claim, b'{"step":"create"}')
        first.update_job(job, b'{"step":"poll"}')
        second = world.open(2)
        with pytest.raises(RunLocked, match="process 1"):
            second.take_job(job)
        world.kill(1)
        assert second.recover(run, unknown_is_dead=True).count == 0
        (found,) = second.jobs(run, "open")
        assert (found.payload, found.token) == (b'{"step":"poll"}', claim.token)
        taken = second.take_job(found)
        assert [(r.key, r.attempts) for r in taken.records] == [("a", 1), ("b", 1)]
        for act in (lambda: first.update_job(job, b"{}"), lambda: settle(first, run, claim, done)):
            with pytest.raises(StaleClaim):
                act()
        second.finish(run, taken, [done(taken.records[0])], more=True)
        assert second.audit(run) == Ledger(read=3, delivered=1, pending=2)
        assert [r.key for r in second.take_job(second.jobs(run)[0]).records] == ["b"]
        (found,) = second.jobs(run)
        last = second.take_job(found)
        settle(second, run, last, done)
        assert second.audit(run) == Ledger(read=3, delivered=2, pending=1)
        assert [j.state for j in second.jobs(run)] == ["finished"]
        assert second.jobs(run, "open") == []
        with pytest.raises(StaleClaim, match="finished"):
            second.take_job(found)

    def test_a_claim_travels_in_one_job_only(self, world):
        store = world.open()
        run = loaded(store, "a")
        claim = store.claim(run)
        store.create_job(run, claim, b"{}")
        with pytest.raises(StaleClaim):
            store.create_job(run, claim, b"{}")
        assert len(store.jobs(run)) == 1

    # Cache

    def test_what_a_destination_said_is_remembered_for_a_time(self, world):
        store = world.open()
        assert store.cache_get("schema", "portal/contacts", 60) is None
        store.cache_put("schema", "portal/contacts", b"one")
        store.cache_put("schema", "portal/contacts", b"two")
        store.cache_put("identity", "portal/contacts", b"other")
        world.now += 59
        assert world.open(2).cache_get("schema", "portal/contacts", 60) == b"two"
        assert store.cache_get("schema", "portal/contacts", 59) is None
        world.now -= 60
        assert store.cache_get("schema", "portal/contacts", 60) is None
        world.now += 60
        store.cache_forget("schema", "portal/contacts")
        assert store.cache_get("schema", "portal/contacts", 60) is None
        assert store.cache_get("identity", "portal/contacts", 60) == b"other"

    # Size

    def test_text_of_any_script_and_large_payloads_come_back_as_they_were(self, world):
        store = world.open()
        run = store.create_run(CONTACTS)
        payload = '{"name":"Żółć 🦔 \u0000"}'.encode()
        big = b'{"x":"' + b"y" * 300_000 + b'"}'
        store.load(run, [Loaded("ż'\"\n🦔", payload, 2), Loaded("big", big, 3)], [], "end")
        store.finish_load(run)
        assert [(r.key, r.payload) for r in store.claim(run).records] == [("ż'\"\n🦔", payload), ("big", big)]
        assert store.find("ż'\"\n🦔")[0].line == 2
