"""Batches: one runs after the other, their states follow from the clock, results are a real tar.gz.

Source: Mailchimp Marketing API, "Batch Operations".
"""

from __future__ import annotations

import io
import json
import random
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from headway.mock.clock import SECOND
from headway.mock.replies import MockReply, stamp

__all__ = ["Batch", "Batches"]

Run = Callable[[str, str, dict[str, str], bytes, str], MockReply]
_PER_FILE = 400


@dataclass(slots=True)
class Batch:
    """One batch: `starts` and `ends` in monotonic nanoseconds."""

    id: str
    key: str
    operations: list[Any]
    wall: int
    starts: int
    ends: int
    done: int = 0
    failed: int = 0
    results: list[dict[str, Any]] = field(default_factory=list)
    fetched: int = 0
    packed: bytes = b""


class Batches:
    """All of them. `run` does one operation by the very code of the single endpoints."""

    def __init__(self, run: Run, delay: float, rate: float, seed: int) -> None:
        self.all: dict[str, Batch] = {}
        self.most_pending = 0
        self._run = run
        self._delay = round(delay * SECOND)
        self._rate = rate
        self._seed = seed
        self._numbers = 0

    def start(self, key: str, operations: list[Any], now: int, wall: int) -> Batch:
        """One more, at the end of the queue."""
        starts = max(now + self._delay, max((batch.ends for batch in self.all.values()), default=0))
        self._numbers += 1
        batch = Batch(f"{self._numbers:010x}", key, operations, wall, starts, starts + self._length(operations))
        self.all[batch.id] = batch
        self.most_pending = max(self.most_pending, self.pending(key, now))
        return batch

    def _length(self, operations: list[Any]) -> int:
        return round(len(operations) / self._rate * SECOND)

    def remove(self, batch: Batch, now: int) -> None:
        """Stop one and forget it; those that wait behind it move up."""
        self.catch_up(batch, now)
        del self.all[batch.id]
        free = now
        for each in self.all.values():
            if each.starts > now:
                each.starts = min(each.starts, max(free, now))
                each.ends = each.starts + self._length(each.operations)
            free = max(free, each.ends)

    def catch_up_all(self, now: int) -> None:
        """Do what is due by now, in order."""
        for batch in self.all.values():
            if batch.done < len(batch.operations):
                self.catch_up(batch, now)

    def pending(self, key: str, now: int) -> int:
        """Those of a key that are not finished."""
        return sum(batch.key == key and now < batch.ends for batch in self.all.values())

    def state(self, batch: Batch, now: int) -> str:
        """Where it stands."""
        if now < batch.starts:
            return "pending"
        return "started" if now < batch.ends else "finished"

    def catch_up(self, batch: Batch, now: int) -> None:
        """Do what is due by now."""
        total = len(batch.operations)
        due = total if now >= batch.ends else int(max(0, now - batch.starts) / SECOND * self._rate)
        for said in batch.operations[batch.done : due]:
            self._do(batch, said)
        batch.done = max(batch.done, due)

    def _do(self, batch: Batch, said: Any) -> None:
        body = said.get("body")
        raw = body.encode() if isinstance(body, str) else b""
        query = {str(name): str(value) for name, value in (said.get("params") or {}).items()}
        reply = self._run(str(said.get("method")), f"/3.0{said.get('path')}", query, raw, batch.key)
        batch.failed += not 200 <= reply.status < 300
        told = "" if reply.body is None else json.dumps(reply.body)
        batch.results.append({"status_code": reply.status, "operation_id": said.get("operation_id"), "response": told})

    def told(self, batch: Batch, now: int, url: str) -> dict[str, Any]:
        """As JSON."""
        self.catch_up(batch, now)
        state = self.state(batch, now)
        ended = state == "finished"
        at = stamp(batch.wall)[:19] + "+00:00"
        return {
            "id": batch.id, "status": state, "total_operations": len(batch.operations),
            "finished_operations": batch.done, "errored_operations": batch.failed, "submitted_at": at,
            "completed_at": at if ended else "", "_links": [],
            "response_body_url": f"{url}/results/{batch.id}.tar.gz?X-Signature=5f2c" if ended else "",
        }  # fmt: skip

    def packed(self, batch: Batch) -> bytes:
        """The results: a directory, several files in no particular order, one of them empty."""
        if batch.packed:
            return batch.packed
        results = list(batch.results)
        random.Random(f"batch-{self._seed}-{batch.id}").shuffle(results)
        files = [results[at : at + _PER_FILE] for at in range(0, len(results), _PER_FILE)]
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w:gz", compresslevel=1) as archive:
            folder = tarfile.TarInfo(batch.id)
            folder.type = tarfile.DIRTYPE
            archive.addfile(folder)
            for number, content in enumerate([*files, []]):
                data = json.dumps(content).encode()
                info = tarfile.TarInfo(f"{batch.id}/{number}.json")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        batch.packed = out.getvalue()
        return batch.packed
