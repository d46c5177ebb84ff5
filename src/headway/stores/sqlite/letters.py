"""Dead letters, and what happened to a record.

Rules:
* A dead letter is replayed in a new run, never in its own: the books of the old run stay as they were reported, those
  of the new one begin with the letters that it took up. The letter points to nothing; its successor points to it.
* Letters that were replayed or dropped are no longer listed; the books of their run still count them as dead.
* Iterating holds no transaction open: letters come in pages.
"""

from __future__ import annotations

import json
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from headway.sqlite.opening import immediate
from headway.sqlite.trouble import translated
from headway.stores.model import Attempt, DeadFilter, DeadLetter, History, Replayed, RunConfig, State
from headway.stores.sqlite.database import queries
from headway.stores.sqlite.loading import Loading
from headway.stores.sqlite.runs import Runs

__all__ = ["Letters"]

_Q = queries("letters")
_LOADING = queries("loading")

_PAGE = 500
_ALL = DeadFilter()


class Letters(Runs, Loading):
    """Dead letters."""

    def dead(self, which: DeadFilter = _ALL) -> Iterator[DeadLetter]:
        """The dead letters that fit, oldest first, each with every attempt; any number of them in little memory."""
        for page in self._pages(which):
            with translated(self._conn):
                ids = json.dumps([id_ for id_, _, _, _ in page])
                rows = self._conn.execute(_Q["letters"], {"ids": ids}).fetchall()
                attempts = self._attempts(ids)
            for id_, run, destination, key, line, payload, original, code, message, at, tries in rows:
                yield DeadLetter(
                    id=id_,
                    run=run,
                    destination=destination,
                    key=key,
                    line=line,
                    payload=payload,
                    original=payload if original is None else original,
                    code=code,
                    message=message,
                    at=at,
                    attempts=tries,
                    history=tuple(attempts[id_]),
                )

    def dead_counts(self, which: DeadFilter = _ALL) -> dict[tuple[str, str], int]:
        """How many dead letters fit, by run and code."""
        return dict(Counter((run, code) for page in self._pages(which) for _, run, code, _ in page))

    def replay(self, config: RunConfig, which: DeadFilter = _ALL) -> Replayed:
        """Take up the dead letters that fit in a new run, ready to be claimed; one transaction.

        Of several letters with one key the latest is sent, the others are skipped. Letters without a payload are left.
        """
        with immediate(self._conn):
            ids, left = array("q"), 0
            for page in self._pages(which):
                ids.extend(id_ for id_, _, _, sendable in page if sendable)
                left += sum(not sendable for _, _, _, sendable in page)
            if not ids:
                return Replayed("", 0, left)
            run = self._insert_run(config)
            number = self._number(run)
            first = self._execute(_LOADING["last_id"]).fetchone()[0] + 1
            for start in range(0, len(ids), _PAGE):
                chunk = {
                    "ids": json.dumps(ids[start : start + _PAGE].tolist()),
                    "run": number,
                    "last": first + start - 1,
                }
                self._conn.execute(_Q["replay_content"], chunk)
                self._conn.execute(_Q["replay_records"], chunk)
                self._conn.execute(_Q["replayed"], chunk)
            self._book_replay(number, first, len(ids))
        return Replayed(run, len(ids), left)

    def _book_replay(self, number: int, first: int, records: int) -> None:
        last = first + records - 1
        now = self._clock()
        keyless = self._conn.execute(_Q["count_keyless"], {"first": first, "last": last}).fetchone()[0]
        books = {"run": number, "ready": records, "dead": 0, "keyless": keyless, "position": None}
        books |= {"duplicates": "last", "now": now, "first": first, "last": last}
        self._conn.execute(_LOADING["book_load"], books)
        self._finish(number, "last", records - keyless, first, last)

    def drop(self, which: DeadFilter = _ALL) -> int:
        """Forget dead letters: what they held and every attempt. Returns how many."""
        dropped = 0
        with immediate(self._conn):
            for page in self._pages(which):
                ids = {"ids": json.dumps([id_ for id_, _, _, _ in page])}
                for query in ("drop_letters", "drop_content", "drop_attempts"):
                    self._conn.execute(_Q[query], ids)
                dropped += len(page)
        return dropped

    def find(self, key: str, run: str | None = None) -> list[History]:
        """What happened to every record of this key, in all runs or in one, oldest first."""
        with translated(self._conn):
            if run is not None:
                self._number(run)
            where = {"key": key, "run": run}
            found = [
                id_ for query in ("find_loaded", "find_loading") for (id_,) in self._conn.execute(_Q[query], where)
            ]
            ids = json.dumps(sorted(found))
            attempts = self._attempts(ids)
            rows = self._conn.execute(_Q["histories"], {"ids": ids}).fetchall()
        return [_history(row, attempts[row[0]]) for row in rows]

    def _pages(self, which: DeadFilter) -> Iterator[Sequence[tuple[int, str, str, int]]]:
        """Id, run, code and whether it could be sent, of the letters that fit, by pages."""
        where: dict[str, object] = {
            "run": which.run,
            "code": which.code,
            "destination": which.destination,
            "key": which.key,
            "since": which.since,
            "ids": None if which.ids is None else json.dumps(list(which.ids)),
            "limit": _PAGE,
            "after": 0,
        }
        while True:
            with translated(self._conn):
                page = self._conn.execute(_Q["find_letters"], where).fetchall()
            if page:
                yield page
            if len(page) < _PAGE:
                return
            where["after"] = page[-1][0]

    def _attempts(self, ids: str) -> defaultdict[int, list[Attempt]]:
        attempts: defaultdict[int, list[Attempt]] = defaultdict(list)
        for id_, *attempt in self._conn.execute(_Q["attempts"], {"ids": ids}):
            attempts[id_].append(Attempt(*attempt))
        return attempts


def _history(row: tuple[Any, ...], attempts: list[Attempt]) -> History:
    id_, run, destination, key, line, state, tries, code, message, remote_id, at = row
    return History(
        id=id_,
        run=run,
        destination=destination,
        key=key,
        line=line,
        state=State(state),
        attempts=tries,
        code=code,
        message=message,
        remote_id=remote_id,
        at=at,
        history=tuple(attempts),
    )
