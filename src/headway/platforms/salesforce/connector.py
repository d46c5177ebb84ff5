"""Records into Salesforce: sObject Collections for small syncs, Bulk API 2.0 for large ones.

Sources: Salesforce REST API and Bulk API 2.0 Developer Guides. Rules:
* Up to 2,000 records travel by collections (at most ten calls); more by Bulk, whose jobs cost some eight calls each.
* What little is left to repeat of a bulk run travels by collections, too.
* Upserts go by an external id; updates and deletes by Salesforce's own Id.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from headway.delivery.outcome import Verdict
from headway.delivery.records import Call, Record, Reply
from headway.errors import UsageError
from headway.platforms.catalog_reader import nearest
from headway.platforms.connector import Forecast, Machine, OneCall, Pace, Schema, Shaper, SingleCalls
from headway.platforms.salesforce import collections
from headway.platforms.salesforce.account import VERSION
from headway.platforms.salesforce.bulk import BulkJob, poll_wait
from headway.platforms.salesforce.schema import SalesforceSchema, shaped

__all__ = ["SMALL", "SalesforceConnector"]

SMALL = 2000
_MODES = ("upsert", "insert", "update", "delete")
_VIAS = ("collections", "bulk")
_NAME = re.compile(r"[A-Za-z]\w*", re.ASCII)
_PACE = 5_000.0  # records a second, assumed of a platform that was never watched


class SalesforceConnector(OneCall):
    """One object in one mode, by one key. Raises UsageError for combinations that Salesforce does not offer."""

    platform = "salesforce"
    vias = _VIAS

    def __init__(self, object_type: str, mode: str, key: str) -> None:
        if mode not in _MODES:
            raise UsageError(f"unknown mode {mode!r} of Salesforce: {nearest(mode, _MODES)}")
        if not _NAME.fullmatch(object_type):
            raise UsageError(f"{object_type!r} is no Salesforce object: write its API name, Contact or Invoice__c")
        if key and not _NAME.fullmatch(key):
            raise UsageError(f"--key {key}: write a field's API name, Id or Customer_Number__c")
        if mode in {"update", "delete"} and key != "Id":
            raise UsageError(f"Salesforce can {mode} by its own Id only: give --key Id and a column of that name")
        if mode == "upsert" and key == "Id":
            raise UsageError(
                "Salesforce cannot upsert by Id, which it assigns itself: use --mode update, or an external id"
            )
        self.object_type = object_type
        self.mode = mode
        self.key = key
        self.repeatable = mode != "insert"
        self.key_travels = key != "Id" or mode == "insert"

    def normalise_key(self, key: str) -> str:
        """Trimmed, no more: external ids may or may not tell capitals from small letters."""
        return key.strip()

    def shaper(self, schema: Schema | None) -> Shaper:
        """True and false, cells that clear, parents by their external id."""
        return schema.shaper() if isinstance(schema, SalesforceSchema) else shaped

    def delivery(self, records: int, via: str | None = None) -> Collections | Bulk:
        """By their number, or as named."""
        if via is not None and via not in _VIAS:
            raise UsageError(f"--via {via}: {nearest(via, _VIAS)}")
        bulk = via == "bulk" if via is not None else records > SMALL
        return Bulk(self) if bulk else Collections(self)

    def schema_call(self) -> Call:
        """Describes the object."""
        return Call("GET", f"/services/data/{VERSION}/sobjects/{self.object_type}/describe")

    def schema(self, reply: Reply) -> SalesforceSchema:
        """The fields; raises CredentialsError, MappingError for an unknown object, PlatformError."""
        return SalesforceSchema.from_reply(self.object_type, reply)

    def cached_schema(self, data: bytes) -> SalesforceSchema:
        """A schema from the cache."""
        return SalesforceSchema.from_bytes(data)


class Collections(SingleCalls):
    """200 records a call."""

    via = "collections"
    batch_size = collections.MOST
    batch_bytes = 5_000_000

    def __init__(self, owner: SalesforceConnector) -> None:
        self._owner = owner
        self.repeatable = owner.repeatable

    def call(self, records: Sequence[Record]) -> Call:
        """One call."""
        owner = self._owner
        return collections.call(owner.object_type, owner.mode, owner.key, records)

    def verdict(self, records: Sequence[Record], reply: Reply) -> Verdict:
        """One outcome per record, in order."""
        return collections.verdict(records, reply)


class Bulk(Collections):
    """Jobs of up to 100,000 records and 80 MB (Salesforce takes 100), a few at a time."""

    via = "bulk"
    batch_size = 100_000
    batch_bytes = 80_000_000
    jobs = 4

    def machine(self, records: int) -> Machine | None:
        """A job, unless so few records are left that one call of the collections does."""
        owner = self._owner
        if records <= collections.MOST:
            return None
        return BulkJob(owner.object_type, owner.mode, owner.key)

    def forecast(self, jobs: Sequence[int], pace: Pace | None, trip: float) -> Forecast:
        """Create, upload, close, polls, one result or two; each at the platform's pace."""
        calls = 0.0
        lanes = [0.0] * min(self.jobs, max(1, len(jobs)))
        for records in jobs:
            seconds = records / (pace.records if pace is not None else _PACE)
            waited, polls = 0.0, 0
            while waited < seconds or not polls:
                waited += poll_wait(polls) + trip
                polls += 1
            lanes.sort()
            calls += 4 + polls
            lanes[0] += waited + 4 * trip
        return Forecast(calls, max(lanes, default=0.0))
