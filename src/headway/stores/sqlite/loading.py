"""Reading a source into the store, in transactions of a few thousand rows with the source's position.

Rules:
* A row and the position behind it are committed together: what is read on after a crash is neither lost nor doubled.
* Duplicates are found when the source has been read to its end, in one pass over the sorted keys, so that it does not
  matter in how many batches or processes it was read. Nothing can be claimed before.
* A row that cannot be sent is a dead letter whatever other rows have its key, and displaces none.
* A row without a key has no duplicates.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

from headway.errors import UsageError
from headway.sqlite.opening import immediate
from headway.stores.model import BadRow, Duplicates, LoadCounts, Loaded
from headway.stores.sqlite.database import Database, queries

__all__ = ["Loading"]

_Q = queries("loading")

_PAYLOAD = attrgetter("payload")


class Loading(Database):
    """From a source into the store."""

    def load(
        self, run: str, rows: Sequence[Loaded], bad: Sequence[BadRow], position: str, duplicates: Duplicates = "last"
    ) -> LoadCounts:
        """Add a batch in one transaction: rows to send, rows that cannot be sent, where the source is to be read on.

        `duplicates` says which of several rows with one key is sent (`fail`: none, the load ends with an error).
        """
        number = self._number(run)
        if not all(map(_PAYLOAD, rows)):
            raise ValueError("a row without a payload cannot be sent: load it as a bad row")
        with immediate(self._conn):
            if self._execute(_Q["to_finish"], number).fetchone()[0]:
                raise UsageError(f"run {run} has been read to its end: nothing can be added")
            first = self._execute(_Q["last_id"]).fetchone()[0] + 1
            self._add_rows(number, first, rows)
            self._add_bad(number, first + len(rows), bad)
            added = len(rows) + len(bad)
            self._conn.execute(
                _Q["book_load"],
                {
                    "run": number,
                    "ready": len(rows),
                    "dead": len(bad),
                    "keyless": len(bad) + sum(not row.key for row in rows),
                    "position": position,
                    "duplicates": duplicates,
                    "now": self._clock(),
                    "first": first if added else None,
                    "last": first + added - 1 if added else None,
                },
            )
        return LoadCounts(read=added, ready=len(rows), dead=len(bad))

    def _add_rows(self, number: int, first: int, rows: Sequence[Loaded]) -> None:
        self._conn.executemany(
            _Q["add_content"],
            [
                (id_, number, key, line, payload, original)
                for id_, (key, payload, line, _, original) in enumerate(rows, first)
            ],
        )
        self._conn.executemany(
            _Q["add_record"],
            [
                (id_, number, group, len(payload) + len(key))
                for id_, (key, payload, _, group, _) in enumerate(rows, first)
            ],
        )

    def _add_bad(self, number: int, first: int, bad: Sequence[BadRow]) -> None:
        now = self._clock()
        for id_, row in enumerate(bad, first):
            self._execute(_Q["add_content"], id_, number, row.key, row.line, b"", row.original)
            self._execute(_Q["add_bad_record"], id_, number, now, row.code, row.message)

    def finish_load(self, run: str) -> LoadCounts:
        """The source has been read to its end: duplicates give way, and records can be claimed (1.5 s for a million).

        Returns the counts of the whole run. Raises UsageError for a duplicate if `duplicates` was `fail`. Idempotent.
        """
        number = self._number(run)
        with immediate(self._conn):
            loaded, duplicates, keyed, first, last = self._execute(_Q["to_finish"], number).fetchone()
            if not loaded:
                self._finish(number, duplicates, keyed, first, last)
            read, dead, skipped, pending = self._execute(_Q["loaded_counts"], number).fetchone()
        return LoadCounts(read=read, ready=pending, dead=dead, skipped=skipped)

    def _finish(self, number: int, duplicates: Duplicates, keyed: int, first: int, last: int) -> None:
        which = {"run": number, "first": first, "last": last}
        now = self._clock()
        skipped = 0
        query = _Q["key_first"] if duplicates == "first" else _Q["key_last"]
        self._conn.execute(query, which)
        losers = keyed - self._execute(_Q["count_keyed"], number).fetchone()[0]
        if losers and duplicates == "fail":
            key, one, other = self._conn.execute(_Q["first_duplicate"], which).fetchone()
            raise UsageError(
                f"lines {min(one, other)} and {max(one, other)} have the same key {key!r}: "
                "make keys unique, or choose --duplicates last or first"
            )
        if losers:
            self._conn.execute(_Q["key_losers"], which)
            skipped = self._conn.execute(_Q["skip_losers"], which | {"now": now}).rowcount
        self._conn.execute(_Q["book_finish"], {"run": number, "skipped": skipped, "now": now})
