"""Bulk API 2.0 ingest jobs: their states follow from the clock, their results from the rows.

Source: Salesforce Bulk API 2.0 Developer Guide.
"""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from headway.mock.clock import SECOND
from headway.mock.replies import MockReply, stamp
from headway.mock.salesforce.objects import Fault, Table

__all__ = ["MOST_BYTES", "BulkJob", "error"]

MOST_BYTES = 100 * 1024 * 1024
_OPERATIONS = frozenset({"insert", "update", "upsert", "delete", "hardDelete"})
_ENDS = {"LF": "\n", "CRLF": "\r\n"}

csv.field_size_limit(1 << 24)


def error(status: int, code: str, message: str) -> MockReply:
    """An error as Salesforce words it: an array."""
    return MockReply(status, [{"message": message, "errorCode": code}])


@dataclass(slots=True)
class BulkJob:
    """One job. `closed`: when it was closed (monotonic ns), `number` its turn among those; `done`: rows worked off."""

    id: str
    sobject: str
    operation: str
    key: str
    created: int
    wall: int
    version: str
    line_ending: str = "LF"
    aborted: bool = False
    closed: int | None = None
    number: int = 0
    uploads: int = 0
    header: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    wrong: str = ""
    done: int = 0
    results: list[tuple[int, tuple[str, bool] | Fault]] = field(default_factory=list)
    fails_at: int | None = None

    # -- the way

    def upload(self, body: bytes) -> MockReply:
        """The CSV."""
        if self.state(0, 0, 1) != "Open":
            return error(400, "InvalidJobState", f"Job {self.id} is not open")
        if self.uploads:
            return error(400, "ClientInputError", "Data was uploaded to this job already")
        if len(body) > MOST_BYTES:
            return error(413, "RequestEntityTooLarge", "The uploaded data is larger than 150 MB in base64")
        self.uploads += 1
        self._read(body)
        return MockReply(201, None, records=len(self.rows))

    def _read(self, body: bytes) -> None:
        try:
            text = body.decode("utf-8")
        except UnicodeDecodeError:
            self.wrong = "InvalidBatch : the data is not UTF-8"
            return
        if self.line_ending == "LF" and "\r\n" in text.split('"', 1)[0]:
            self.wrong = "ClientInputError : LineEnding is invalid on user data. Current LineEnding setting is LF"
            return
        try:
            rows = csv.reader(io.StringIO(text, newline=""), strict=True)
            self.header = next(rows, [])
            self.rows = [row for row in rows if row]
        except csv.Error as fault:
            self.wrong = f"InvalidBatch : {fault}"
            return
        if any(len(row) != len(self.header) for row in self.rows):
            self.wrong = "InvalidBatch : the number of columns differs from the header's"

    def close(self, now: int, number: int, check: Callable[[BulkJob], str], fails: tuple[int, ...]) -> None:
        """No more data comes."""
        self.closed, self.number = now, number
        self.wrong = self.wrong or check(self)
        if number in fails and not self.wrong:
            self.fails_at = len(self.rows) // 2

    def state(self, now: int, delay: int, rate: float) -> str:
        """Where it stands now."""
        if self.aborted:
            return "Aborted"
        if self.closed is None:
            return "Open"
        if now < self.closed + delay:
            return "UploadComplete"
        if self.wrong:
            return "Failed"
        due = self.due(now, delay, rate)
        if due < (len(self.rows) if self.fails_at is None else self.fails_at):
            return "InProgress"
        return "JobComplete" if self.fails_at is None else "Failed"

    def due(self, now: int, delay: int, rate: float) -> int:
        """Rows that are worked off by now."""
        if self.closed is None or self.wrong:
            return 0
        passed = max(0, now - self.closed - delay) / SECOND
        most = len(self.rows) if self.fails_at is None else self.fails_at
        return min(most, int(passed * rate))

    def work(self, table: Table, until: int) -> None:
        """Work rows off."""
        operation = "delete" if self.operation == "hardDelete" else self.operation
        for index in range(self.done, until):
            row = self.rows[index]
            values: dict[str, Any] = {}
            for name, cell in zip(self.header, row, strict=True):
                if cell == "#N/A":
                    values[name] = None
                elif cell:
                    values[name] = cell
            self.results.append((index, table.write(operation, values, self.key, bulk=True)))
        self.done = max(self.done, until)

    # -- telling

    def told(self, state: str) -> dict[str, Any]:
        """As JSON."""
        at = stamp(self.wall).replace("Z", "+0000")
        body: dict[str, Any] = {
            "id": self.id, "operation": self.operation, "object": self.sobject, "createdById": "005000000000001AAA",
            "createdDate": at, "systemModstamp": at, "state": state, "concurrencyMode": "Parallel",
            "contentType": "CSV", "apiVersion": float(self.version), "lineEnding": self.line_ending,
            "columnDelimiter": "COMMA",
        }  # fmt: skip
        if self.key:
            body["externalIdFieldName"] = self.key
        if state == "Open":
            body["contentUrl"] = f"services/data/v{self.version}/jobs/ingest/{self.id}/batches"
        return body

    def counted(self) -> dict[str, Any]:
        """What GET tells beside."""
        failed = sum(isinstance(result, Fault) for _, result in self.results)
        body: dict[str, Any] = {
            "jobType": "V2Ingest", "numberRecordsProcessed": self.done, "numberRecordsFailed": failed, "retries": 0,
            "totalProcessingTime": self.done, "apiActiveProcessingTime": self.done, "apexProcessingTime": 0,
        }  # fmt: skip
        if self.wrong:
            body["errorMessage"] = self.wrong
        elif self.fails_at is not None and self.done >= self.fails_at:
            body["errorMessage"] = "InternalServerError : the job was stopped after an internal error"
        return body

    def csv_of(self, which: str, seed: int) -> bytes:
        """A result, in no particular order."""
        lines: list[list[str]]
        if which == "unprocessedrecords":
            head, lines = self.header, self.rows[self.done :]
        elif which == "successfulresults":
            head = ["sf__Id", "sf__Created", *self.header]
            lines = [
                [result[0], "true" if result[1] else "false", *self.rows[index]]
                for index, result in self.results
                if not isinstance(result, Fault)
            ]
        else:
            head = ["sf__Id", "sf__Error", *self.header]
            lines = [
                ["", f"{result.code}:{result.message}:{','.join(result.fields)} --", *self.rows[index]]
                for index, result in self.results
                if isinstance(result, Fault)
            ]
        lines = list(lines)
        random.Random(f"results-{seed}-{self.id}").shuffle(lines)
        out = io.StringIO(newline="")
        write = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator=_ENDS[self.line_ending]).writerow
        write(head)
        for line in lines:
            write(line)
        return out.getvalue().encode()


def made(
    said: Mapping[str, Any], tables: Mapping[str, Table], job_id: str, version: str, now: int, wall: int
) -> BulkJob | MockReply:
    """A job as it was asked for, or why there is none."""
    sobject, operation = str(said.get("object") or ""), str(said.get("operation") or "")
    key = str(said.get("externalIdFieldName") or "")
    table = tables.get(sobject)
    if table is None:
        return error(400, "INVALIDENTITY", f"InvalidEntity : Entity '{sobject}' is not supported by the Bulk API.")
    if operation not in _OPERATIONS:
        return error(400, "INVALIDJOB", f"InvalidJob : unknown operation {operation}")
    if operation == "upsert" and (key not in table.fields or not (table.fields[key].external_id or key == "Id")):
        return error(
            400, "INVALIDJOB", f"InvalidJob : Field name provided, {key} does not match an External ID for {sobject}"
        )
    if said.get("contentType", "CSV") != "CSV" or said.get("columnDelimiter", "COMMA") != "COMMA":
        return error(400, "INVALIDJOB", "InvalidJob : only CSV with commas is taken here")
    ending = str(said.get("lineEnding", "LF"))
    if ending not in _ENDS:
        return error(400, "INVALIDJOB", f"InvalidJob : unknown lineEnding {ending}")
    return BulkJob(job_id, sobject, operation, key if operation == "upsert" else "", now, wall, version, ending)
