"""A Bulk API 2.0 ingest job: create, upload, close, poll, fetch what succeeded, failed and was not processed.

Source: Salesforce Bulk API 2.0 Developer Guide. Rules:
* `JobComplete` is no success: each record is what the results say of it.
* An upload whose reply was lost is never repeated before it is known that it did not arrive: the job is closed and
  asked what it holds. Only where that is nothing it is aborted, and another takes its place.
* A close whose reply was lost is looked at before it is repeated.
* Every HTTP call costs one API call: polls come ever more slowly.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from headway.delivery.outcome import (
    CredentialsRejected,
    Delivered,
    MappingFault,
    Outcome,
    RateLimited,
    Rejected,
    SplitNeeded,
    Transient,
)
from headway.delivery.records import Call, Record, Reply
from headway.platforms.connector import Heard, State, Step, alike, object_of
from headway.platforms.salesforce.account import VERSION
from headway.platforms.salesforce.csvs import rows_of, written
from headway.platforms.salesforce.replies import fault_of, of_code, refused

__all__ = ["FIRST_POLL", "BulkJob", "poll_wait"]

FIRST_POLL, _GROWTH, _LONGEST_POLL = 2.0, 1.5, 30.0
_UPLOAD_SECONDS = 600.0
_RESULT_BYTES = 400 << 20
_BATCH = 10_000  # records that Salesforce makes one batch of
_TRIES = 3
_JSON = {"content-type": "application/json"}
_CSV = {"content-type": "text/csv; charset=UTF-8"}
_OVER = frozenset({"JobComplete", "Failed", "Aborted"})
_RUNNING = frozenset({"UploadComplete", "InProgress"})


def poll_wait(polls: int) -> float:
    """Seconds before the next look, after so many."""
    return min(_LONGEST_POLL, FIRST_POLL * _GROWTH ** min(polls, 20))


class BulkJob:
    """The course of one job; its state names the next call (`at`), the job's id, and what is known of it."""

    def __init__(self, sobject: str, operation: str, key: str) -> None:
        self._sobject = sobject
        self._operation = operation
        self._key = key
        self._base = f"/services/data/{VERSION}/jobs/ingest"

    def begin(self, records: Sequence[Record]) -> State:
        """Nothing is there yet."""
        del records
        return {"at": "create"}

    # -- calls

    def step(self, state: State, records: Sequence[Record]) -> Step:
        """The next call."""
        at = state["at"]
        if at == "create":
            return Step(Call("POST", self._base, self._wanted(), _JSON), "create job")
        job = f"{self._base}/{state['id']}"
        if at == "upload":
            body = written(records, self._key if self._operation == "delete" else "")
            cost = {"bulk-records": max(1, len(records)), "bulk-batches": max(1, -(-len(records) // _BATCH))}
            path = "/" + str(state.get("url") or f"{job}/batches").lstrip("/")
            return Step(Call("PUT", path, body, _CSV, timeout=_UPLOAD_SECONDS, cost=cost), "upload")
        if at == "close":
            return Step(Call("PATCH", job, b'{"state":"UploadComplete"}', _JSON), "close job")
        if at == "abort":
            return Step(Call("PATCH", job, b'{"state":"Aborted"}', _JSON), "abort job")
        if at == "look":
            return Step(Call("GET", job), "look at job")
        if at == "poll":
            return Step(Call("GET", job), "poll job", poll_wait(state["polls"]))
        path = {"successes": "successfulResults", "failures": "failedResults", "rest": "unprocessedrecords"}[at]
        return Step(Call("GET", f"{job}/{path}", timeout=_UPLOAD_SECONDS, max_body=_RESULT_BYTES), f"fetch {at}")

    def _wanted(self) -> bytes:
        wanted = {"object": self._sobject, "operation": self._operation, "contentType": "CSV", "lineEnding": "LF"}
        if self._operation == "upsert":
            wanted["externalIdFieldName"] = self._key
        return json.dumps(wanted).encode()

    # -- replies

    def meaning(self, reply: Reply) -> Outcome | None:
        """What says nothing of the job."""
        if 200 <= reply.status < 300:
            return None
        outcome = refused(reply)
        return outcome if isinstance(outcome, RateLimited | CredentialsRejected | Transient) else None

    def heard(self, state: State, records: Sequence[Record], reply: Reply) -> Heard:
        """Where the job stands after this reply."""
        act: Callable[[State, Sequence[Record], Reply], Heard] = getattr(self, f"_heard_{state['at']}")
        return act(state, records, reply)

    def unheard(self, state: State, records: Sequence[Record]) -> Heard:
        """The call may have been done or not."""
        del records
        at = state["at"]
        if at == "upload":
            return Heard(state | {"at": "close", "unsure": True})
        if at == "close":
            return Heard(state | {"at": "look"})
        return Heard(state)  # a job that was created and is not known holds nothing; all else may be asked again

    def _heard_create(self, state: State, records: Sequence[Record], reply: Reply) -> Heard:
        said = object_of(reply)
        if reply.status in {200, 201} and isinstance(said.get("id"), str):
            made = {"at": "upload", "id": said["id"], "url": str(said.get("contentUrl") or "")}
            return Heard({"again": state.get("again", 0)} | made)
        return Heard(state, alike(records, self._of_refusal(reply), reply.status))

    def _of_refusal(self, reply: Reply) -> Outcome:
        """No job was made: that is the fault of what was asked for, and it will be the same for every record."""
        if 200 <= reply.status < 300:
            return Transient("MALFORMED_REPLY", f"HTTP {reply.status} with a job that cannot be read", applied=False)
        fault = fault_of(reply)
        return MappingFault(fault.code or f"HTTP_{reply.status}", fault.text or f"HTTP {reply.status}")

    def _heard_upload(self, state: State, records: Sequence[Record], reply: Reply) -> Heard:
        if 200 <= reply.status < 300:
            return Heard(state | {"at": "close"}, light=True)
        fault = fault_of(reply)
        if reply.status == 413:
            return Heard(
                state, alike(records, SplitNeeded(fault.code or "HTTP_413", fault.text or "too large"), reply.status)
            )
        if reply.status == 404:
            return self._anew(state, records, reply)
        return Heard(state | {"at": "look", "unsure": True})

    def _heard_close(self, state: State, records: Sequence[Record], reply: Reply) -> Heard:
        if 200 <= reply.status < 300:
            return self._looked(state, records, reply)
        return Heard(state | {"at": "look"})

    def _heard_look(self, state: State, records: Sequence[Record], reply: Reply) -> Heard:
        return self._looked(state, records, reply)

    def _heard_poll(self, state: State, records: Sequence[Record], reply: Reply) -> Heard:
        return self._looked(state, records, reply)

    def _heard_abort(self, state: State, records: Sequence[Record], reply: Reply) -> Heard:
        if state.get("unsure"):
            return self._anew(state, records, reply)
        stuck = Transient("NOT_CLOSED", "Salesforce would not close the job, so it was aborted", applied=False)
        return Heard(state, alike(records, stuck, reply.status))

    def _looked(self, state: State, records: Sequence[Record], reply: Reply) -> Heard:
        """The job as it is now."""
        if reply.status == 404:
            return Heard(
                state, alike(records, Transient("JOB_GONE", "Salesforce no longer knows the job"), reply.status)
            )
        job = object_of(reply)
        now = job.get("state")
        if now in _RUNNING:
            polls = state.get("polls", -1) + 1 if state["at"] != "close" else 0
            return Heard(state | {"at": "poll", "polls": polls})
        if now == "Open":
            tries = state.get("tries", 0) + 1
            if state.get("unsure") or tries > _TRIES:
                return Heard(state | {"at": "abort"})
            return Heard(state | {"at": "close", "tries": tries})
        if now in _OVER:
            return self._over(state, records, job, reply)
        polls = state.get("polls", -1) + 1
        return Heard(state | {"at": "poll", "polls": polls})  # not readable: look again

    def _anew(self, state: State, records: Sequence[Record], reply: Reply) -> Heard:
        """Another job for the same records, of which none has arrived."""
        again = state.get("again", 0) + 1
        if again > _TRIES:
            gone = Transient("NO_JOB", "no job of Salesforce took the upload", applied=False)
            return Heard(state, alike(records, gone, reply.status))
        return Heard({"at": "create", "again": again})

    def _over(self, state: State, records: Sequence[Record], job: Mapping[str, Any], reply: Reply) -> Heard:
        """The platform is done with it: see what there is to fetch."""
        done, failed = _count(job.get("numberRecordsProcessed")), _count(job.get("numberRecordsFailed"))
        message = str(job.get("errorMessage") or "")[:500]
        if not done and message.startswith("InvalidBatch") and "field name" in message.lower():
            return Heard(state, alike(records, MappingFault("InvalidBatch", message), reply.status))
        fetch = ["successes"] if done > failed else []
        fetch += ["failures"] if failed else []
        fetch += ["rest"] if job.get("state") != "JobComplete" or done < len(records) else []
        known = {"id": state["id"], "left": fetch, "ended": job.get("state"), "message": message, "done": done}
        return self._next(known | ({"unsure": True} if state.get("unsure") else {}), records, reply)

    def _next(self, state: State, records: Sequence[Record], reply: Reply, **settled: Any) -> Heard:
        """On to the next result, or the end: what no result names is unknown, unless the job held nothing at all."""
        left: list[str] = list(state["left"])
        outcomes: dict[int, Outcome] = settled.get("outcomes", {})
        if left:
            return Heard(state | {"at": left[0], "left": left[1:]}, outcomes=outcomes, light=True)
        empty = not state["done"]
        words = f"the job ended as {state['ended']}, and no result names the record; {state['message']}".rstrip("; ")
        lost = Transient("NO_RESULT", words, applied=not empty)
        rest = [record for record in records if record.id not in outcomes]
        return Heard(state, alike(rest, lost, reply.status), outcomes=outcomes)

    def _heard_successes(self, state: State, records: Sequence[Record], reply: Reply) -> Heard:
        return self._fetched(state, records, reply, lambda row: Delivered(row.get("sf__Id", "")))

    def _heard_failures(self, state: State, records: Sequence[Record], reply: Reply) -> Heard:
        return self._fetched(state, records, reply, _of_error)

    def _heard_rest(self, state: State, records: Sequence[Record], reply: Reply) -> Heard:
        why = Transient("UNPROCESSED", f"the job ended as {state['ended']}: {state['message']}", applied=False)
        return self._fetched(state, records, reply, lambda _: why)

    def _fetched(
        self, state: State, records: Sequence[Record], reply: Reply, read: Callable[[dict[str, str]], Outcome]
    ) -> Heard:
        if not 200 <= reply.status < 300:
            lost = Transient("NO_RESULT", f"the job's results are not to be had: HTTP {reply.status}")
            return Heard(state, alike(records, lost, reply.status))
        ids = {record.key: record.id for record in records}
        outcomes: dict[int, Outcome] = {}
        for row in rows_of(reply.body):
            found = ids.get(row.get(self._key, ""))
            if found is not None:
                outcomes[found] = read(row)
        return self._next(state, records, reply, outcomes=outcomes)


def _of_error(row: Mapping[str, str]) -> Outcome:
    """`CODE:message:fields --`."""
    text = row.get("sf__Error", "")
    code, _, message = text.partition(":")
    message = message.strip().removesuffix("--").strip().rstrip(":").strip()[:500]
    outcome = of_code(code.strip()[:100], message)
    # A mapping that is at fault fails a job as a whole: what a row is told is about that row.
    return Rejected(outcome.code, message) if isinstance(outcome, MappingFault) else outcome


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0
