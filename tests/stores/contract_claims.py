"""What every store must do with leases, outcomes, crashes and jobs."""

import pytest

from headway.errors import RunLocked, StaleClaim
from headway.stores.model import OUTCOME_UNKNOWN, Dead, Done, Ledger, Loaded, Retry, State
from tests.stores.acting import CONTACTS, done, keys, loaded, rows, settle


class ClaimContract:
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
