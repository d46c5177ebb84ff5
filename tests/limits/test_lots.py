"""A quota lent in lots: whose clock turns it, what is owed over a reset, what a lost state is believed to have used."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.limits.limits import Quota
from headway.limits.sharing.lots import LotAsk
from headway.limits.sharing.quota_client import LotHolder
from tests.limits.keeper import Keeper
from tests.limits.world import SECOND, Desk

TTL = 6 * SECOND
DAY = 86_400 * SECOND
NOON = 20_000 * DAY + DAY // 2
MIDNIGHT = 20_001 * DAY
SKEW = 5 * SECOND


def ask(holder: str, number: int = 1, end: int = MIDNIGHT, **more) -> LotAsk:
    return LotAsk(holder, number, skew=SKEW, end=end, **more)


def warm(keeper: Keeper, amount: int = 100, used: int = 0, wall: int = NOON) -> str:
    """A state that has heard the platform; returns its epoch."""
    return keeper.lot("q", amount, ask("first", used=used, heard=used, want=0), 1, wall).epoch


def test_an_ask_said_twice_counts_once_and_a_lot_of_which_nobody_heard_is_free_again():
    keeper = Keeper()
    epoch = warm(keeper)
    keeper.lot("q", 100, ask("a", 1, epoch=epoch, want=10), 2, NOON)
    one = keeper.lot("q", 100, ask("a", 2, epoch=epoch, used=1, keeps=0, want=1), 3, NOON)
    assert (one.places, one.used, one.outstanding) == (1, 1, 1)
    again = keeper.lot("q", 100, ask("a", 3, epoch=epoch, used=1, keeps=0, want=1), 4, NOON)
    assert (again.places, again.used, again.outstanding) == (1, 1, 1)
    over = keeper.lot("q", 100, ask("a", 4, epoch=epoch, used=4, keeps=-2, want=0), 5, NOON)
    assert (over.places, over.used, over.outstanding) == (0, 4, 0), "an overdraft is used, not owed twice"


def test_what_a_holder_without_a_lot_has_in_flight_over_the_reset_is_owed():
    """L4: it was never told to the new period: 140 of 100."""
    keeper = Keeper()
    epoch = warm(keeper, used=60)
    near = MIDNIGHT - SECOND
    keeper.lot("q", 100, ask("a", 1, epoch=epoch, used=40, owed=40), 2, near)
    after = MIDNIGHT + SKEW + 1
    other = keeper.lot("q", 100, ask("b", 1, end=MIDNIGHT + DAY, epoch=epoch, want=100), 3, after)
    assert other.used == 40
    told = keeper.lot("q", 100, ask("a", 2, end=MIDNIGHT + DAY, epoch=epoch, used=40), 4, after)
    assert told.used == 40, "its own word takes the place of what was kept for it"


def test_what_is_owed_counts_although_an_older_headway_turned_the_period():
    keeper = Keeper()
    epoch = warm(keeper)
    keeper.lot("q", 100, ask("a", 1, epoch=epoch, used=7, owed=7), 2, MIDNIGHT - SECOND)
    turned = keeper.body("q") | {"end": MIDNIGHT + DAY, "used": 0, "lots": {}, "owing": {}, "foreign": 0}
    keeper.bodies["q"] = json.dumps(turned)
    other = keeper.lot("q", 100, ask("b", 1, end=MIDNIGHT + DAY, epoch=epoch, want=1), 3, MIDNIGHT + SKEW + 1)
    assert other.used == 7
    told = keeper.lot("q", 100, ask("a", 2, end=MIDNIGHT + DAY, epoch=epoch, used=9), 4, MIDNIGHT + SKEW + 2)
    assert told.used == 9


def test_a_holder_tells_what_it_owes_before_the_reset_with_no_lot_and_nobody_waiting():
    gate = Desk([Quota(100, "00:00 UTC")])
    meter = gate.meters["quota"]
    holder = LotHolder(meter, "a", ttl=TTL, unused=False)
    keeper = Keeper()
    warm(keeper)
    now, wall = 100 * SECOND, MIDNIGHT - 20 * SECOND
    gate.request()
    for _ in range(2):  # the first answer brings the period
        holder.apply(keeper.lot("q", 100, holder.ask(now, gate.queue("quota", now)), now, wall), now, now)
    assert len(gate.poll(now, wall).granted) == 1
    holder.apply(keeper.lot("q", 100, holder.ask(now), now, wall), now, now)
    now, wall = now + 16 * SECOND, wall + 16 * SECOND
    gate.gate.look_at(now, wall)
    meter.surrender(now, 9)
    at = holder.due(now)
    assert at is not None
    assert at <= now
    told = holder.ask(now)
    assert (told.owed, told.keeps) == (1, 0)


@pytest.mark.parametrize("ahead", [2 * DAY, 365 * DAY])
def test_a_clock_that_is_ahead_turns_nothing(ahead):
    """L19: one process whose clock is a year ahead blocked everybody for that year."""
    keeper = Keeper()
    epoch = warm(keeper, used=30)
    wrong = keeper.lot("q", 100, ask("a", 1, end=MIDNIGHT + ahead, epoch=epoch, want=5), 2, NOON)
    assert (wrong.places, wrong.end, wrong.wall, wrong.used) == (0, MIDNIGHT, NOON, 30)
    right = keeper.lot("q", 100, ask("b", 1, epoch=epoch, want=5), 3, NOON)
    assert right.places == 1


def test_a_period_that_an_older_headway_put_a_year_ahead_turns_back_with_what_was_used():
    keeper = Keeper()
    epoch = warm(keeper, used=30)
    keeper.lot("q", 100, ask("a", 1, epoch=epoch, used=5), 2, NOON)
    poisoned = keeper.body("q") | {"end": MIDNIGHT + 365 * DAY, "used": 3, "lots": {"old": 2}, "owing": {}}
    keeper.bodies["q"] = json.dumps(poisoned)
    back = keeper.lot("q", 100, ask("a", 2, epoch=epoch, used=6, want=1), 3, NOON)
    assert (back.end, back.used) == (MIDNIGHT, 30 + 5 + 3 + 2 + 1)
    assert back.places == 1


def test_the_stores_clock_is_believed_by_a_meter_whose_process_is_a_year_ahead():
    gate = Desk([Quota(100, "00:00 UTC")])
    meter = gate.meters["quota"]
    holder = LotHolder(meter, "a", ttl=TTL, unused=False)
    keeper = Keeper()
    warm(keeper)
    gate.request()
    for now in (SECOND, 2 * SECOND):
        gate.gate.look_at(now, NOON + now + 365 * DAY)
        holder.apply(keeper.lot("q", 100, holder.ask(now, gate.queue("quota", now)), now, NOON + now), now, now)
    assert len(gate.poll(2 * SECOND, NOON + 2 * SECOND + 365 * DAY).granted) == 1
    assert meter.end == MIDNIGHT


def test_a_first_use_lets_one_call_go_in_all():
    keeper = Keeper()
    one = keeper.lot("q", 100, ask("a", 1, want=1), 1, NOON)
    other = keeper.lot("q", 100, ask("b", 1, want=1), 2, NOON)
    assert (one.places, other.places, one.why) == (1, 0, "new")
    done = keeper.lot("q", 100, ask("a", 2, epoch=one.epoch, used=1, settled=True, want=1), 3, NOON)
    assert (done.places, done.why) == (1, ""), "nothing was used before"
    assert keeper.lot("q", 100, ask("b", 2, epoch=one.epoch, want=1), 4, NOON).places == 1


def lost(keeper: Keeper, **more):
    """A quota of 100 whose state was lost: the probe goes, its reply has no word of the platform."""
    keeper.wipe(10)
    probe = keeper.lot("q", 100, ask("a", 1, want=1, **more), 11, NOON)
    assert (probe.places, probe.why) == (1, "lost")
    return keeper.lot("q", 100, ask("a", 2, epoch=probe.epoch, used=1, settled=True, want=5, **more), 12, NOON)


def test_lost_state_takes_the_platforms_word():
    keeper = Keeper()
    keeper.wipe(10)
    probe = keeper.lot("q", 100, ask("a", 1, want=1), 11, NOON)
    told = keeper.lot("q", 100, ask("a", 2, epoch=probe.epoch, used=1, settled=True, heard=41, want=5), 12, NOON)
    assert (told.used, told.why) == (41, "")
    assert told.places == 1


def test_lost_state_takes_what_a_living_process_remembers():
    keeper = Keeper()
    keeper.wipe(10)
    keeper.lot("q", 100, ask("b", 8, epoch="old", seq=70, used=20, known=64), 11, NOON)
    answer = lost_after(keeper)
    assert answer.used == 64 + 1
    assert answer.places == 1


def lost_after(keeper: Keeper):
    probe = keeper.lot("q", 100, ask("a", 1, want=1), 12, NOON)
    return keeper.lot("q", 100, ask("a", 2, epoch=probe.epoch, used=1, settled=True, want=5), 13, NOON)


def test_lost_state_of_which_nobody_can_tell_counts_as_used_up_until_the_reset():
    answer = lost(Keeper())
    assert (answer.places, answer.drained, answer.why) == (0, True, "gone")


def test_unless_the_caller_says_otherwise():
    assert lost(Keeper(), unused=True).places == 1


def test_a_late_word_of_the_platform_mends_what_was_assumed():
    keeper = Keeper()
    gone = lost(keeper)
    word = keeper.lot("q", 100, ask("a", 3, epoch=gone.epoch, used=1, settled=True, heard=10, want=5), 14, NOON)
    assert (word.used, word.places) == (10, 1)


def test_a_loss_of_an_earlier_period_says_nothing_of_a_quota_that_is_new_today():
    keeper = Keeper()
    keeper.wipe(10)
    answer = keeper.lot("q", 100, ask("a", 1, want=1), 10 + DAY, NOON)
    assert answer.why == "new"


def test_what_is_heard_between_an_ask_and_its_answer_is_kept():
    """L6."""
    gate = Desk([Quota(100, "00:00 UTC")])
    holder = LotHolder(gate.meters["quota"], "a", ttl=TTL, unused=False)
    keeper = Keeper()
    gate.gate.look_at(SECOND, NOON)
    first = holder.ask(SECOND)
    holder.hear(55)
    holder.pause(9 * SECOND)
    holder.apply(keeper.lot("q", 100, first, 1, NOON), SECOND, SECOND)
    due = holder.due(SECOND)
    assert due == SECOND
    second = holder.ask(SECOND)
    assert (second.heard, second.pause_for) == (55, 8 * SECOND)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_lot_is_lent_beyond_what_remains(data):
    """Whatever is said, in whatever order: used + lots never grow by lending beyond the amount."""
    keeper = Keeper()
    amount, wall = 40, MIDNIGHT - 300 * SECOND
    used: dict[str, tuple[int, int, int]] = {}
    epoch = ""
    for number in range(1, data.draw(st.integers(2, 41))):
        wall += data.draw(st.integers(-5, 40)) * SECOND
        end = MIDNIGHT if wall - SKEW < MIDNIGHT else MIDNIGHT + DAY
        name = data.draw(st.sampled_from("abc"))
        told, before, places = used.get(name, (end, 0, 0))
        if told != end:
            before = places = 0
        spent = data.draw(st.integers(0, places))
        said = ask(
            name, number, end=end, epoch=epoch, used=before + spent, keeps=places - spent,
            want=data.draw(st.integers(0, 20)), settled=data.draw(st.booleans()),
        )  # fmt: skip
        held_before = places - spent
        answer = keeper.lot("q", amount, said, number, wall)
        epoch = answer.epoch
        body = keeper.body("q")
        if answer.places > held_before:
            assert body["used"] + body["foreign"] + sum(body["lots"].values()) <= amount
        if data.draw(st.integers(0, 5)):  # else the answer is lost: it has what it had
            used[name] = (end, before + spent, answer.places)
        else:
            used[name] = (end, before + spent, held_before)
    assert sum(spent for end, spent, _ in used.values() if end == MIDNIGHT) <= amount


def test_a_dead_holder_owes_what_it_said_and_the_lot_that_it_got_after_that():
    keeper = Keeper()
    epoch = warm(keeper)
    before = MIDNIGHT - 2 * SECOND
    said = ask("a", used=1, owed=1, want=1, epoch=epoch)
    assert keeper.lot("q", 100, said, SECOND, before).places == 1
    after = keeper.lot("q", 100, ask("b", end=MIDNIGHT + DAY, want=1), 20 * SECOND, MIDNIGHT + 10 * SECOND)
    assert after.used == 2


def test_the_unused_rest_of_a_holders_lot_is_no_part_of_what_the_platform_counted():
    keeper = Keeper()
    epoch = warm(keeper, 1000)
    for number in range(1, 4):
        keeper.lot("q", 1000, ask("a", number, want=30, keeps=10 * (number - 1), epoch=epoch), number, NOON)
    told = ask("a", 4, used=2, keeps=20, want=20, heard=997, epoch=epoch)
    keeper.lot("q", 1000, told, 4, NOON)
    keeper.lot("q", 1000, ask("a", 5, used=2, keeps=0, heard=997, epoch=epoch), 5, NOON)
    left = [
        keeper.lot("q", 1000, ask("b", n, keeps=n - 1, want=50, epoch=epoch), 5 + n, NOON).places for n in (1, 2, 3, 4)
    ]
    assert left[-1] == 3
