"""What every store must do with runs, their locks, their sources, and its cache."""

import json

import pytest

from headway.errors import RunLocked, UsageError
from headway.stores.model import Ledger, LoadCounts, Loaded, State
from tests.stores.acting import CONTACTS, bad, keys, loaded, rows


class RunContract:
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

    def test_whose_account_a_run_sends_to_may_be_told_later(self, world):
        store = world.open()
        run = store.create_run(CONTACTS)
        world.now += 1
        store.set_identity(run, "62515")
        found = store.run(run)
        assert found.config.options == {**CONTACTS.options, "identity": "62515"}
        assert found.changed == world.now

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

    @pytest.mark.parametrize("policy", ["last", "first", "fail"])
    def test_rows_without_a_key_have_no_duplicates(self, world, policy):
        store = world.open()
        run = store.create_run(CONTACTS)
        store.load(run, rows("", "a", "", ""), [bad(6), bad(7, "a"), bad(8, "a")], "p1", policy)
        assert store.finish_load(run) == LoadCounts(read=7, ready=4, dead=3, skipped=0)

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
