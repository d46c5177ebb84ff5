"""A batch of Mailchimp's: up to 500 operations in one call, worked off by the platform, results as a tar.gz.

Source: Mailchimp Marketing API, "Batch Operations" and "Run async requests with the batch endpoint". Rules:
* The results are read in memory, as a stream, and never extracted; what is too large, too many or packed too tightly is
  not read on.
* Their address is pre-signed and may lie elsewhere: no credential goes there. When it has expired the batch is asked
  for another.
"""

from __future__ import annotations

import io
import json
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from headway.delivery.outcome import CredentialsRejected, MappingFault, Outcome, RateLimited, Transient, Verdict
from headway.delivery.records import Call, Record, Reply
from headway.platforms.connector import Heard, State, Step, alike, object_of
from headway.platforms.mailchimp.members import operation, single_verdict
from headway.platforms.mailchimp.replies import meaning

__all__ = ["BatchJob", "poll_wait", "results_of"]

FIRST_POLL, _GROWTH, _LONGEST_POLL = 2.0, 1.5, 30.0
_PACKED = 32 << 20
_UNPACKED = 256 << 20
_MEMBERS = 2000
_RATIO = 200
_FETCHES = 5
_JSON = {"content-type": "application/json"}
_encode = msgspec.json.encode


def poll_wait(polls: int) -> float:
    """Seconds before the next look, after so many."""
    return min(_LONGEST_POLL, FIRST_POLL * _GROWTH ** min(polls, 20))


class BatchJob:
    """The course of one batch: post, poll, fetch."""

    def __init__(self, audience: str, mode: str) -> None:
        self._audience = audience
        self._mode = mode

    def begin(self, records: Sequence[Record]) -> State:
        """Nothing is there yet."""
        del records
        return {"at": "post"}

    def step(self, state: State, records: Sequence[Record]) -> Step:
        """The next call."""
        at = state["at"]
        if at == "post":
            operations = [operation(self._audience, self._mode, record) for record in records]
            return Step(
                Call("POST", "/3.0/batches", _encode({"operations": operations}), _JSON, timeout=150.0), "batch"
            )
        if at == "poll":
            return Step(Call("GET", f"/3.0/batches/{state['id']}"), "poll batch", poll_wait(state["polls"]))
        return Step(Call("GET", "", url=state["url"], max_body=_PACKED, timeout=150.0), "fetch results")

    def meaning(self, reply: Reply) -> Outcome | None:
        """What says nothing of the batch."""
        if 200 <= reply.status < 300:
            return None
        outcome = meaning(reply)
        return outcome if isinstance(outcome, RateLimited | CredentialsRejected | Transient) else None

    def heard(self, state: State, records: Sequence[Record], reply: Reply) -> Heard:
        """Where the batch stands after this reply."""
        act: Callable[[State, Sequence[Record], Reply], Heard] = getattr(self, f"_heard_{state['at']}")
        return act(state, records, reply)

    def unheard(self, state: State, records: Sequence[Record]) -> Heard:
        """A batch that may have been posted cannot be found again: its records may have arrived."""
        if state["at"] == "post":
            return Heard(state, alike(records, Transient("NO_REPLY", "the batch may have been taken without a word")))
        if state["at"] == "fetch":
            return self._fetch_again(state, records)
        return Heard(state)

    def _heard_post(self, state: State, records: Sequence[Record], reply: Reply) -> Heard:
        said = object_of(reply)
        if 200 <= reply.status < 300 and isinstance(said.get("id"), str):
            return Heard({"at": "poll", "id": said["id"], "polls": 0}, light=True)
        if 200 <= reply.status < 300:
            return self.unheard(state, records)
        outcome = meaning(reply)
        return Heard(state, alike(records, outcome, reply.status))

    def _heard_poll(self, state: State, records: Sequence[Record], reply: Reply) -> Heard:
        said = object_of(reply)
        if reply.status == 404:
            gone = Transient("BATCH_GONE", "Mailchimp no longer knows the batch")
            return Heard(state, alike(records, gone, reply.status))
        url = said.get("response_body_url")
        if said.get("status") == "finished" and isinstance(url, str) and url.startswith(("https://", "http://")):
            return Heard(state | {"at": "fetch", "url": url})
        return Heard(state | {"polls": state["polls"] + 1})

    def _heard_fetch(self, state: State, records: Sequence[Record], reply: Reply) -> Heard:
        if not 200 <= reply.status < 300:
            return self._fetch_again(state, records)
        ids = {str(record.id): record.id for record in records}
        found: dict[int, Outcome] = {}
        try:
            for result in results_of(reply.body):
                number = ids.get(str(result.get("operation_id")))
                if number is not None:
                    found[number] = _outcome(result, reply)
        except ValueError as error:
            return self._fetch_again(state, records, str(error))
        missing = Transient("NO_RESULT", "the batch's results do not name the record")
        return Heard(state, Verdict(tuple(found.get(record.id, missing) for record in records), reply.status))

    def _fetch_again(self, state: State, records: Sequence[Record], why: str = "") -> Heard:
        """Ask for another address of the results, a few times."""
        fetches = state.get("fetches", 0) + 1
        if fetches > _FETCHES:
            words = f"the batch's results cannot be had{': ' + why if why else ''}"
            return Heard(state, alike(records, Transient("NO_RESULT", words)))
        return Heard({"at": "poll", "id": state["id"], "polls": min(fetches, 3), "fetches": fetches})


def results_of(body: bytes) -> Iterator[dict[str, Any]]:
    """The operations' results in a tar.gz; raises ValueError for what cannot, or should not, be read."""
    read = members = 0
    try:
        with tarfile.open(fileobj=io.BytesIO(body), mode="r|gz") as archive:
            for member in archive:
                members += 1
                if members > _MEMBERS:
                    raise ValueError(f"more than {_MEMBERS} files in the results")
                if not member.isfile():
                    continue
                read += member.size
                if read > _UNPACKED or read > max(1 << 20, len(body) * _RATIO):
                    raise ValueError("the results unpack to more than can be true")
                file = archive.extractfile(member)
                content = b"" if file is None else file.read()
                if content.strip():
                    yield from _listed(content)
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise ValueError(f"the results are no tar.gz ({type(error).__name__})") from error


def _listed(content: bytes) -> Iterator[dict[str, Any]]:
    try:
        said = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError("a file of the results is no JSON") from error
    for each in said if isinstance(said, list) else [said]:
        if isinstance(each, dict):
            yield each


def _outcome(result: dict[str, Any], reply: Reply) -> Outcome:
    status, said = result.get("status_code"), result.get("response")
    if not isinstance(status, int):
        return Transient("MALFORMED_REPLY", "a result without a status")
    body = said.encode() if isinstance(said, str) else json.dumps(said).encode() if said is not None else b""
    outcome = single_verdict(status, body, reply)
    if isinstance(outcome, CredentialsRejected | MappingFault):
        return Transient(outcome.code, outcome.message, applied=False)
    return outcome
