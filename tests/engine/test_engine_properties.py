"""Whatever goes wrong and however often it is stopped or left: nothing is lost, and the books say what is true."""

import asyncio
import random
import tempfile
from contextlib import suppress
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headway.delivery.records import Reply
from headway.engine.model import Ending
from headway.errors import TransportError

from .test_engine import Bench
from .world import Connector, run_virtually, word, words

share = st.sampled_from([0.0, 0.05, 0.2])


@st.composite
def worlds(draw):
    return {
        "seed": draw(st.integers(0, 2**32)),
        "count": draw(st.integers(1, 1500)),
        "repeatable": draw(st.booleans()),
        "fails": draw(share),
        "resets": draw(share),
        "refused": draw(share),
        "limited": draw(share),
        "unanswered": draw(share),
        "poison": draw(st.sampled_from([0, 0, 97, 300])),
        "bad": draw(st.sampled_from([0, 0, 13])),
        "leaves": draw(st.lists(st.tuples(st.floats(0.01, 2), st.booleans()), max_size=3)),
    }


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(worlds())
def test_nothing_is_lost_and_the_books_are_true(world):
    rng = random.Random(world["seed"])

    def behave(number, rows):
        if rng.random() < world["limited"]:
            return Reply(429, {"retry-after": "1"})
        if rng.random() < world["fails"]:
            return Reply(503)
        if rng.random() < world["resets"]:
            return TransportError("reset before", sent=True)
        if rng.random() < world["refused"]:
            return TransportError("refused", sent=False)
        if world["poison"] and any(row["n"] % world["poison"] == 0 for row in rows):
            return word("poison", 0, 400)
        if world["bad"] and any(row["n"] % world["bad"] == 0 for row in rows):
            return words(["bad" if row["n"] % world["bad"] == 0 else "again" for row in rows], 400)
        return None

    async def main(clock):
        with tempfile.TemporaryDirectory() as folder:
            b = Bench(clock, Path(folder), world["count"])
            b.platform.behave = behave
            b.platform.after = lambda: (
                TransportError("reset after", sent=True) if rng.random() < world["unanswered"] else None
            )
            try:
                await live(b)
                judge(b)
            finally:
                b.store.close()

    async def live(b):
        for when, kindly in [*world["leaves"], (None, True)]:
            b.store.recover(b.run, unknown_is_dead=not world["repeatable"], every=True)
            engine = b.build(connector=Connector(repeatable=world["repeatable"]), max_dead=1.0)
            task = asyncio.ensure_future(engine.run())
            if when is not None:
                asyncio.get_running_loop().call_later(when, engine.stop if kindly else task.cancel)
            with suppress(asyncio.CancelledError):
                if (await task).ending is Ending.FINISHED:
                    return

    def judge(b):
        books = b.books()
        assert books.balanced
        assert books.pending == 0
        letters = {letter.key: letter for letter in b.store.dead()}
        arrived = set(b.platform.records)
        keys = {f"k{n}" for n in range(world["count"])}
        assert keys - letters.keys() <= arrived  # what the books call delivered is there
        assert books.delivered == len(keys) - len(letters)
        unsure = {key for key, letter in letters.items() if letter.code in {"OUTCOME_UNKNOWN", "NO_REPLY", "HTTP_503"}}
        assert not (letters.keys() - unsure) & arrived  # what was refused is not
        poisoned = {n for n in range(world["count"]) if world["poison"] and n % world["poison"] == 0}
        bad = {n for n in range(world["count"]) if world["bad"] and n % world["bad"] == 0}
        assert letters.keys() - unsure <= {f"k{n}" for n in poisoned | bad}  # only the bad ones are dead
        if not world["repeatable"]:
            assert max(b.platform.writes.values(), default=0) <= 1  # nothing was made twice

    run_virtually(main)
