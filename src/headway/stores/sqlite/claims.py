"""Leases: which records travel next, and what became of them.

Rules:
* A batch is formed when it is claimed: what is due again first, then what was never sent; one group, one part.
* The attempt is noted by the claim, before anything is sent.
* Whoever settles records must still hold the claim's token: the row in `claim`. Recovery deletes that row, so that a
  worker whose lease was taken over can write nothing.
* Records of an open job are never recovered: another process takes the job.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from headway.delivery.records import Record
from headway.errors import StaleClaim
from headway.sqlite.opening import immediate
from headway.sqlite.trouble import translated
from headway.stores.model import OUTCOME_UNKNOWN, Claim, Dead, Disposition, Done, Recovered, Retry
from headway.stores.sqlite.database import Database, queries

__all__ = ["Claims"]

_Q = queries("claims")

_AT_ONCE = 1e-9  # the least `not_before` of a record that came back: 0 says that it was never sent
_LOST = "the process ended, or its lease ran out, before a reply was noted"


class Claims(Database):
    """The queue."""

    def claim(
        self,
        run: str,
        limit: int = 100,
        max_bytes: int = 2**31,
        lease: float = 300.0,
        owner: str = "",
        overhead: int = 128,
    ) -> Claim | None:
        """Form the next batch and lease it for `lease` seconds; None if no record is ready now.

        At most `limit` records, and at most `max_bytes` of payloads and keys plus `overhead` bytes for each (but one
        record always). `owner` is noted for people to read.
        """
        number = self._sendable(run)
        with immediate(self._conn):
            now = self._clock()
            rows = self._batch(number, now, limit, max_bytes, overhead)
            if not rows:
                return None
            ids = json.dumps([row[0] for row in rows])
            token = self._execute(
                _Q["add_claim"], number, owner, *self._me, self._host, self._holder, now, now + lease, len(rows), ids
            ).lastrowid
            assert token is not None
            self._execute(_Q["lease"], token, ids)
        records = [
            Record(id_, key, payload, group, attempts, part, unknown != 0)
            for id_, key, payload, group, attempts, part, unknown, _ in rows
        ]
        return Claim(token, tuple(records))

    def _batch(self, number: int, now: float, limit: int, max_bytes: int, overhead: int) -> list[tuple[Any, ...]]:
        """Rows of the next batch: id, key, payload, group, attempts, part, unknown, size."""
        head = self._execute(_Q["due_head"], number, now).fetchone()
        rows: list[tuple[Any, ...]] = []
        room, part = max_bytes, 0
        if head is not None:
            group, part = head
            room = _take(self._execute(_Q["due"], number, group, part, now, limit), rows, room, overhead)
        else:
            head = self._execute(_Q["fresh_head"], number).fetchone()
            if head is None:
                return rows
            (group,) = head
        if part == 0 and room > 0 and len(rows) < limit:
            _take(self._execute(_Q["fresh"], number, group, limit - len(rows)), rows, room, overhead)
        return rows

    def finish(
        self,
        run: str,
        claim: Claim,
        dispositions: Sequence[Disposition],
        *,
        status: int = 0,
        code: str = "",
        message: str = "",
        request_id: str = "",
        more: bool = False,
    ) -> None:
        """Write what became of the claim's records, every record once, in one transaction.

        `status`, `request_id` and (where a disposition has none) `code` and `message` are those of the reply, kept
        with every attempt that did not deliver. `more=True`: only some of the records; the others stay leased (jobs).
        Raises StaleClaim, and writes nothing, if the lease was taken over.
        """
        number = self._number(run)
        now = self._clock()
        done = [(d.remote_id, now, d.record_id, claim.token) for d in dispositions if isinstance(d, Done)]
        lost = [(d, d.code or code, d.message or message) for d in dispositions if not isinstance(d, Done)]
        dead = [(now, c, m, d.record_id, claim.token) for d, c, m in lost if isinstance(d, Dead)]
        back = [_back(d, c, m, claim.token) for d, c, m in lost if isinstance(d, Retry)]
        failed = [(d.record_id, claim.token, now, status, c, m, request_id) for d, c, m in lost]
        with immediate(self._conn):
            left, job = self._held(run, number, claim.token)
            changed = self._many(_Q["deliver"], done)
            changed += self._many(_Q["bury"], dead)
            changed += self._many(_Q["put_back"], back)
            left -= len(dispositions)
            if changed != len(dispositions) or left < 0 or (left > 0 and not more):
                raise ValueError(f"{len(dispositions)} dispositions do not settle the records of claim {claim.token}")
            self._many(_Q["add_attempt"], failed)
            self._settle(claim.token, len(dispositions), left, job, now)
            self._conn.execute(_Q["book_finish"], {"run": number, "delivered": len(done), "dead": len(dead)})

    def _settle(self, token: int, settled: int, left: int, job: int | None, now: float) -> None:
        if left:
            self._execute(_Q["settle_claim"], settled, token)
            return
        self._execute(_Q["end_claim"], token)
        if job is not None:
            self._execute(_Q["end_job"], now, job)

    def unclaim(self, run: str, claim: Claim) -> None:
        """The batch was certainly not sent: its records go back to where they were, their tries too.

        Raises StaleClaim if the lease was taken over.
        """
        number = self._number(run)
        with immediate(self._conn):
            self._held(run, number, claim.token)
            self._conn.execute(_Q["unlease"], {"token": claim.token})
            self._execute(_Q["end_claim"], claim.token)

    def renew(self, run: str, claim: Claim, lease: float = 300.0) -> None:
        """Hold the claim for `lease` seconds from now; raises StaleClaim if it was taken over."""
        number = self._number(run)
        with immediate(self._conn):
            self._held(run, number, claim.token)
            self._execute(_Q["renew"], self._clock() + lease, claim.token, number)

    def recover(self, run: str, unknown_is_dead: bool, *, every: bool = False) -> Recovered:
        """Take back what was leased by processes that are gone, or for longer than agreed: its outcome is unknown.

        The records become ready (`unknown=True`), or dead letters where sending them again might do it twice. `every`
        takes back the leases of live holders too: for who holds the run's lock and has claimed nothing yet.
        """
        number = self._number(run)
        ready = dead = 0
        with immediate(self._conn):
            now = self._clock()
            for token, pid, start, host, holder, lease_until in self._execute(_Q["claims"], number).fetchall():
                if not (every or lease_until <= now or self._void(pid, start, host, holder)):
                    continue
                what = {"token": token, "now": now, "code": OUTCOME_UNKNOWN, "message": _LOST}
                self._conn.execute(_Q["note_unknown"], what)
                if unknown_is_dead:
                    dead += self._conn.execute(_Q["recover_dead"], what).rowcount
                else:
                    ready += self._conn.execute(_Q["recover_ready"], what).rowcount
                self._execute(_Q["end_claim"], token)
            self._conn.execute(_Q["book_finish"], {"run": number, "delivered": 0, "dead": dead})
        return Recovered(ready, dead)

    def next_ready(self, run: str) -> float | None:
        """When the next record may travel, Unix seconds: 0 if one was never sent, None if none waits.

        Leased records do not count, however long they have been leased.
        """
        number = self._number(run)
        with translated(self._conn):
            if self._execute(_Q["fresh_head"], number).fetchone() is not None:
                return 0.0
            row = self._execute(_Q["next_due"], number).fetchone()
        return None if row is None else float(row[0])

    def _held(self, run: str, number: int, token: int) -> tuple[int, int | None]:
        """How many records of the claim are not settled yet, and the job that carries it; raises StaleClaim."""
        row: tuple[int, int | None] | None = self._execute(_Q["claim_left"], token, number).fetchone()
        if row is None:
            raise StaleClaim(f"claim {token} of run {run} is no longer held: its records were taken over or settled")
        return row

    def _many(self, sql: str, parameters: Sequence[tuple[Any, ...]]) -> int:
        return self._conn.executemany(sql, parameters).rowcount if parameters else 0


def _take(cursor: Any, rows: list[tuple[Any, ...]], room: int, overhead: int) -> int:
    """Move rows from the cursor while they fit; returns the room that is left, 0 when a row did not fit."""
    for row in cursor:
        need = row[7] + overhead
        if need > room and rows:
            return 0
        rows.append(row)
        room = max(0, room - need)
    return room


def _back(retry: Retry, code: str, message: str, token: int) -> tuple[Any, ...]:
    not_before = max(retry.not_before, _AT_ONCE)
    uncounted = int(not retry.counted)
    return (not_before, code, message, retry.part, uncounted, int(retry.unknown), retry.record_id, token)
