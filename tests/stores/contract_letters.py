"""What every store must do with dead letters, and how it tells what happened to a record."""

import pytest

from headway.errors import UsageError
from headway.stores.model import Dead, DeadFilter, Ledger, Loaded, Retry, RunConfig, State
from tests.stores.acting import CONTACTS, bad, die, done, loaded, rows, settle


class LetterContract:
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
