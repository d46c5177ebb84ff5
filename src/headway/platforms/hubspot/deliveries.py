"""Records into HubSpot's CRM: batch upsert, insert, update and archive, 100 per call.

Source: HubSpot CRM API, batch endpoints (developers.hubspot.com/docs/api/crm). Rules:
* Every input carries its record's id as `objectWriteTraceId`: one bad input then costs no other its place.
* The key property travels in `properties` as well, so that an upsert that creates has it; `hs_object_id` does not, for
  nobody may write it.
* Payloads are spliced, never parsed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from headway.delivery.outcome import Verdict
from headway.delivery.records import Call, Record, Reply
from headway.errors import UsageError
from headway.platforms.catalog_reader import nearest
from headway.platforms.connector import OneCall
from headway.platforms.hubspot import verdicts
from headway.platforms.hubspot.schema import HubSpotSchema

__all__ = ["HubSpotConnector"]

_MODES = {"upsert": "upsert", "insert": "create", "update": "update", "archive": "archive"}
_STANDARD = ("contacts", "companies", "deals", "tickets", "products")
_CUSTOM = re.compile(r"(?:\d+-\d+|p\d*_?[A-Za-z0-9_]+|[A-Za-z][A-Za-z0-9_]*)")
_JSON = {"content-type": "application/json"}


class _Input(msgspec.Struct, omit_defaults=True):
    properties: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    id: str = ""
    idProperty: str = ""  # noqa: N815  # HubSpot's own name
    objectWriteTraceId: str = ""  # noqa: N815


class _Batch(msgspec.Struct):
    inputs: list[_Input]


_encode = msgspec.json.Encoder().encode


class HubSpotConnector(OneCall):
    """One object type in one mode, by one key. Raises UsageError for combinations that HubSpot does not offer."""

    platform = "hubspot"
    batch_size = 100
    batch_bytes = 3_000_000

    def __init__(self, object_type: str, mode: str, key: str) -> None:
        if mode not in _MODES:
            raise UsageError(f"unknown mode {mode!r} of HubSpot: {nearest(mode, _MODES)}")
        if not _CUSTOM.fullmatch(object_type):
            raise UsageError(
                f"{object_type!r} is no HubSpot object: {nearest(object_type, _STANDARD)}, or a custom one"
            )
        if mode == "archive" and key != "hs_object_id":
            raise UsageError(
                f"HubSpot archives by its own id only: give --key hs_object_id and a column of that name, not {key!r}"
            )
        if mode == "upsert" and key == "hs_object_id":
            raise UsageError("HubSpot cannot upsert by hs_object_id, which it assigns itself: use --mode update")
        self.object_type = object_type
        self.mode = mode
        self.key = key
        self.repeatable = mode != "insert"
        self.key_travels = key != "hs_object_id"
        self._path = f"/crm/v3/objects/{object_type}/batch/{_MODES[mode]}"

    def normalise_key(self, key: str) -> str:
        """Trimmed; an e-mail address, which HubSpot keeps in lower case, in lower case."""
        key = key.strip()
        return key.lower() if self.key == "email" else key

    def call(self, records: Sequence[Record]) -> Call:
        """One batch call; the payloads go in as they are."""
        raw = msgspec.Raw
        if self.mode == "archive":
            inputs = [_Input(id=record.key) for record in records]
        elif self.mode == "insert":
            inputs = [_Input(raw(record.payload), objectWriteTraceId=str(record.id)) for record in records]
        else:
            by = "" if self.key == "hs_object_id" else self.key
            inputs = [_Input(raw(record.payload), record.key, by, str(record.id)) for record in records]
        return Call("POST", self._path, _encode(_Batch(inputs)), _JSON)

    def verdict(self, records: Sequence[Record], reply: Reply) -> Verdict:
        """What the reply says of each record, in order."""
        return verdicts.judge(records, reply, self.key, self.mode)

    def delivery(self, records: int, via: str | None = None) -> HubSpotConnector:
        """There is but one way; raises UsageError for a name of another."""
        del records
        if via is not None:
            raise UsageError(f"--via {via}: records travel to HubSpot in one way only: leave it out")
        return self

    def schema_call(self) -> Call:
        """Reads the object's properties."""
        return Call("GET", f"/crm/v3/properties/{self.object_type}")

    def schema(self, reply: Reply) -> HubSpotSchema:
        """The properties; raises CredentialsError, MappingError for an unknown object, PlatformError."""
        return HubSpotSchema.from_reply(self.object_type, reply)

    def cached_schema(self, data: bytes) -> HubSpotSchema:
        """A schema from the cache."""
        return HubSpotSchema.from_bytes(data)
