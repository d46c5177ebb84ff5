"""Records into a Mailchimp audience: many in one call, one by one, or as a batch that the platform works off.

Source: Mailchimp Marketing API. Rules:
* `members`: one call for each, up to 10 records, which is one round of the ten connections. `list`: 500 members a call,
  at once. `batch`: 500 operations a call, later; the only way for what the list's call cannot do.
* Members are known by their e-mail address, whatever its capitals.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from heapq import heappop, heappush

from headway.delivery.outcome import MappingFault, Outcome, SplitNeeded, Verdict
from headway.delivery.records import Call, Record, Reply
from headway.errors import UsageError
from headway.platforms.catalog_reader import nearest
from headway.platforms.connector import Forecast, Machine, OneCall, Pace, Schema, Shaper, SingleCalls
from headway.platforms.mailchimp import members
from headway.platforms.mailchimp.batches import BatchJob, poll_wait
from headway.platforms.mailchimp.schema import AudienceSchema

__all__ = ["SMALL", "MailchimpConnector"]

SMALL = 10
_MODES = ("upsert", "insert", "update", "archive", "delete")
_AT_ONCE = ("upsert", "insert")
_VIAS = ("list", "batch", "members")
_ID = re.compile(r"[0-9A-Za-z]{4,20}", re.ASCII)
_CONNECTIONS = 10
_PACE = 500.0  # operations a second, assumed of a platform that was never watched


class MailchimpConnector(OneCall):
    """One audience in one mode. Raises UsageError for combinations that Mailchimp does not offer."""

    platform = "mailchimp"
    vias = _VIAS

    def __init__(self, object_type: str, mode: str, key: str) -> None:
        if mode not in _MODES:
            raise UsageError(f"unknown mode {mode!r} of Mailchimp: {nearest(mode, _MODES)}")
        if not _ID.fullmatch(object_type):
            raise UsageError(f"{object_type!r} is no audience: write its id, mailchimp:a1b2c3d4e5 for example")
        if key and key != "email_address":
            raise UsageError(
                f"Mailchimp knows members by their address: give --key email_address, not {key!r} (see --map)"
            )
        self.object_type = object_type
        self.mode = mode
        self.key = key
        self.repeatable = mode != "insert"
        self.key_travels = mode not in {"archive", "delete"}

    def normalise_key(self, key: str) -> str:
        """Trimmed, in lower case."""
        return key.strip().lower()

    def shaper(self, schema: Schema | None) -> Shaper:
        """Merge fields inside `merge_fields`."""
        del schema
        return members.shaped

    def delivery(self, records: int, via: str | None = None) -> Singles | Bulk | Batches:
        """By their number and the mode, or as named."""
        if via is not None and via not in _VIAS:
            raise UsageError(f"--via {via}: {nearest(via, _VIAS)}")
        if via == "list" and self.mode not in _AT_ONCE:
            raise UsageError(f"--via list cannot {self.mode}: use --via batch or members")
        if via is None:
            via = "members" if records <= SMALL else "list" if self.mode in _AT_ONCE else "batch"
        return {"list": Bulk, "batch": Batches, "members": Singles}[via](self)

    def schema_call(self) -> Call:
        """Reads the merge fields."""
        return Call("GET", f"/3.0/lists/{self.object_type}/merge-fields?count=1000")

    def schema(self, reply: Reply) -> AudienceSchema:
        """The fields; raises CredentialsError, MappingError for an unknown audience, PlatformError."""
        return AudienceSchema.from_reply(self.object_type, reply)

    def cached_schema(self, data: bytes) -> AudienceSchema:
        """A schema from the cache."""
        return AudienceSchema.from_bytes(data)


class Singles(SingleCalls):
    """One member, one call."""

    via = "members"
    batch_size = 1
    batch_bytes = 5_000_000
    overhead = 64

    def __init__(self, owner: MailchimpConnector) -> None:
        self._owner = owner
        self.repeatable = owner.repeatable

    def call(self, records: Sequence[Record]) -> Call:
        """One call."""
        owner = self._owner
        if not records:
            return Call("POST", f"/3.0/lists/{owner.object_type}")
        return members.single_call(owner.object_type, owner.mode, records[0])

    def verdict(self, records: Sequence[Record], reply: Reply) -> Verdict:
        """The outcome of the one record."""
        del records
        return Verdict((members.single_verdict(reply.status, reply.body, reply),), reply.status)


class Bulk(Singles):
    """500 members a call, written at once."""

    via = "list"
    batch_size = 500
    lanes = _CONNECTIONS  # in the last round none is idle

    def call(self, records: Sequence[Record]) -> Call:
        """One call."""
        return members.bulk_call(self._owner.object_type, self._owner.mode, records)

    def verdict(self, records: Sequence[Record], reply: Reply) -> Verdict:
        """One outcome per record, in order."""
        found = members.bulk_verdict(records, reply)
        first: Outcome = found.outcomes[0]
        if isinstance(first, MappingFault) and reply.status == 400:
            # The whole call was refused: for one of its members, as like as not.
            outcome: Outcome = SplitNeeded(first.code, first.message)
            if len(records) == 1:
                outcome = members.single_verdict(reply.status, reply.body, reply)
            return Verdict((outcome,) * len(records), reply.status)
        return found


class Batches(Singles):
    """Jobs of 500 operations; the platform works them off one after the other, and holds 500 jobs at most."""

    via = "batch"
    batch_size = 500
    jobs = 200
    serial = True
    lanes = 0

    def machine(self, records: int) -> Machine | None:
        """A job; a record that is left alone goes by itself."""
        return None if records <= 1 else BatchJob(self._owner.object_type, self._owner.mode)

    def forecast(self, jobs: Sequence[int], pace: Pace | None, trip: float) -> Forecast:
        """Post, polls, fetch, over ten connections; the n-th job is done when all before it are."""
        rate = pace.records if pace is not None else _PACE
        free = [0.0] * _CONNECTIONS
        wanted = [(0.0, number, -1) for number in range(min(self.jobs, len(jobs)))]  # when, job, polls (-1: the post)
        done = [0.0] * len(jobs)
        begun, calls, last, worked = len(wanted), 0, 0.0, 0.0
        while wanted:
            at, number, polls = heappop(wanted)
            start = max(at, heappop(free))
            end = start + trip
            heappush(free, end)
            calls += 1
            if polls < 0:
                worked = done[number] = max(worked, end) + jobs[number] / rate
            if polls < 0 or start < done[number]:
                heappush(wanted, (end + poll_wait(polls + 1), number, polls + 1))
                continue
            calls += 1  # the results, which lie elsewhere
            last = max(last, end + trip)
            if begun < len(jobs):
                heappush(wanted, (end + trip, begun, -1))
                begun += 1
        # How often a batch is looked at depends on how the calls fall: what was seen is better than what is reckoned.
        return Forecast(calls if pace is None else pace.calls * len(jobs), last)
