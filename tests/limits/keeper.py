"""A keeper in memory, for tests: bodies in a dict, as a database would hold them."""

from __future__ import annotations

import json
from collections.abc import Collection

from headway.limits.sharing.exchange import Request, beside, exchange, keys
from headway.limits.sharing.lots import LotAnswer, LotAsk
from headway.limits.sharing.places import Answer, Ask, Keeping


class Keeper:
    def __init__(self) -> None:
        self.bodies: dict[str, str] = {}
        self.lost_at = 0
        self.rounds = 0

    def ask(self, request: Request, now: int, wall: int = 0, dead: Collection[str] = ()):
        self.rounds += 1
        before = {key: self.bodies.get(key) for key in keys([request])}
        written, answers = exchange(
            before, [request], now, wall, new_epoch=f"e{self.rounds}", dead=dead.__contains__, lost_at=self.lost_at
        )
        self.bodies.update(written)
        return answers[0]

    def places(self, key: str, keeping: Keeping, ask: Ask, now: int, dead: Collection[str] = ()) -> Answer:
        answer = self.ask(Request(key, keeping.amount, keeping, ask), now, 0, dead)
        assert isinstance(answer, Answer)
        assert self.total(key) == self.body(key)["amount"], "places are neither made nor lost"
        return answer

    def lot(self, key: str, amount: int, ask: LotAsk, now: int, wall: int, dead: Collection[str] = ()) -> LotAnswer:
        answer = self.ask(Request(key, amount, None, ask), now, wall, dead)
        assert isinstance(answer, LotAnswer)
        return answer

    def body(self, key: str) -> dict:
        return json.loads(self.bodies[key])

    def beside(self, key: str) -> dict:
        return json.loads(self.bodies[beside(key)])

    def total(self, key: str) -> int:
        """Free, cooling, lent and unopened."""
        pool = self.body(key)
        unopened = pool["amount"] - pool["claimed"] if pool["open_at"] else 0
        lent = sum(holder[0] for holder in pool["holders"].values())
        return pool["free"] + sum(places for _, places in pool["cool"]) + lent + unopened

    def wipe(self, now: int) -> None:
        self.bodies.clear()
        self.lost_at = now
