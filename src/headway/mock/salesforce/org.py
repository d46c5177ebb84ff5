"""A Salesforce org: counts a call when it arrives, refuses it or does it.

Sources: Salesforce REST API Developer Guide, Bulk API 2.0 Developer Guide, API limits cheat sheet.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from headway.mock.clock import SECOND, Clock
from headway.mock.counting import InFlight, Rolling
from headway.mock.granting import Granting
from headway.mock.journal import Entry
from headway.mock.replies import MockReply
from headway.mock.salesforce.bulk import BulkJob, error, made
from headway.mock.salesforce.config import STANDARD, SalesforceConfig
from headway.mock.salesforce.objects import Table
from headway.mock.salesforce.rest import Rest
from headway.mock.service import Came, Service, body_of, form_of

__all__ = ["SalesforceMock"]

_DAY = 86_400.0
_BATCH = 10_000
_BASE = re.compile(r"/services/data/v(?P<version>\d+\.\d+)(?P<rest>/.*)?")
_JOB = re.compile(r"/jobs/ingest/(?P<id>\w+)(?:/(?P<what>\w+))?/?")
_RESULTS = frozenset({"successfulresults", "failedresults", "unprocessedrecords"})
_NOT_FOUND = ("NOT_FOUND", "The requested resource does not exist")


class SalesforceMock(Service):
    """State and rules of one org."""

    config: SalesforceConfig

    def __init__(self, config: SalesforceConfig | None = None, clock: Clock | None = None) -> None:
        super().__init__(config or SalesforceConfig(), clock)
        made = self.config
        self.tokens = Granting(
            self.clock, clients=made.clients, keys=made.jwt_keys, ttl=made.token_ttl, only_issued=made.only_issued,
            tell_ttl=False,
        )  # fmt: skip
        self.acts = {
            ("GET", "objects"): self._act_objects, ("GET", "ledger"): self._act_ledger,
            ("GET", "jobs"): self._act_jobs, ("POST", "tokens"): self.tokens.act,
            ("POST", "limits"): self._act_limits, ("POST", "expire"): self.tokens.act_expire,
        }  # fmt: skip

    def forget(self) -> None:
        """Start anew."""
        super().forget()
        config = self.config
        self.tables = {
            each.name: Table(each, number, keep=config.keep == "objects", lock=config.lock_rows, seed=config.seed)
            for number, each in enumerate((*STANDARD, *config.objects))
        }
        self.rest = Rest(self.tables, config.org_id)
        self.day = Rolling(config.daily or 1 << 62, _DAY)
        self.batches = Rolling(config.bulk_batches or 1 << 62, _DAY)
        self.bulk_records = Rolling(config.bulk_records or 1 << 62, _DAY)
        self.running = InFlight(config.long_running or 1 << 62, config.long_after)
        self.jobs: dict[str, BulkJob] = {}
        self.uploads = self.uploaded = self.closes = 0

    # -- counting

    def admit(self, came: Came) -> MockReply | None:
        """Count a call; its refusal, if it goes no further."""
        if came.path in {"/services/data", "/services/data/"} or came.path == "/services/oauth2/token":
            return None
        scheme, _, token = came.authorization.partition(" ")
        if scheme.lower() not in {"bearer", "oauth"} or not self.tokens.good(token.strip()):
            return error(401, "INVALID_SESSION_ID", "Session expired or invalid")
        came.who = token.strip()
        now, wall = self.clock.monotonic(), self.clock.wall()
        if not self.running.fits(1, now, wall):
            return self.limited(
                came, "concurrency", error(403, "REQUEST_LIMIT_EXCEEDED", "ConcurrentPerOrgLongTxn Limit exceeded.")
            )
        if not self.day.fits(1, now, wall):
            return self.limited(came, "daily", error(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."))
        self.day.take(1, now, wall, came.entry.number)
        self.running.take(1, now, wall, came.entry.number)
        return None

    def ended(self, entry: Entry) -> None:
        """A call is over."""
        self.running.end(entry.number)

    def told(self, came: Came) -> Mapping[str, str]:
        """Sforce-Limit-Info, as every REST reply has it."""
        del came
        left = self.day.left(self.clock.monotonic(), 0)
        return (
            {"sforce-limit-info": f"api-usage={self.day.amount - left}/{self.day.amount}"} if self.config.daily else {}
        )

    # -- working

    def work(self, came: Came, body: bytes) -> MockReply:
        """Do it."""
        if came.path == "/services/oauth2/token":
            more = {"instance_url": self.url, "issued_at": str(self.clock.wall() // 1_000_000), "scope": "api"}
            return (
                self.tokens.ask(form_of(body), more)
                if came.method == "POST"
                else error(405, "METHOD_NOT_ALLOWED", "POST")
            )
        if came.path == "/services/oauth2/userinfo":
            return MockReply(
                200, {"organization_id": self.config.org_id, "user_id": "005000000000001AAA", "zoneinfo": "UTC"}
            )
        found = _BASE.fullmatch(came.path)
        if found is None:
            if came.path.rstrip("/") == "/services/data":
                return MockReply(200, [{"label": "Spring", "url": "/services/data/v60.0", "version": "60.0"}])
            return error(404, *_NOT_FOUND)
        rest = unquote(found["rest"] or "/")
        if came.who in self.config.read_only_tokens and came.method != "GET":
            return error(403, "INSUFFICIENT_ACCESS", "insufficient access rights on object id")
        if rest.rstrip("/") == "/limits":
            return MockReply(200, self._limits())
        if rest.rstrip("/").lower().startswith("/jobs/ingest"):
            return self._ingest(came, rest, found["version"], body)
        reply = self.rest.answer(came.method, rest, came.query, body)
        return reply or error(404, *_NOT_FOUND)

    def _limits(self) -> dict[str, Any]:
        now = self.clock.monotonic()
        counts = {"DailyApiRequests": self.day, "DailyBulkApiBatches": self.batches}
        return {name: {"Max": each.amount, "Remaining": each.left(now, 0)} for name, each in counts.items()}

    # -- Bulk API 2.0

    def _ingest(self, came: Came, rest: str, version: str, body: bytes) -> MockReply:
        if rest.rstrip("/").lower() == "/jobs/ingest":
            if came.method == "POST":
                return self._create(body_of(body), version)
            states = [job.told(self._state(job)) for job in self.jobs.values()]
            return MockReply(200, {"done": True, "records": states, "nextRecordsUrl": None})
        found = _JOB.fullmatch(rest)
        job = self.jobs.get(found["id"]) if found else None
        if found is None or job is None:
            return error(404, *_NOT_FOUND)
        what = (found["what"] or "").lower()
        if what in _RESULTS and came.method == "GET":
            self._catch_up(job)
            return MockReply(200, None, {"content-type": "text/csv"}, raw=job.csv_of(what, self.config.seed))
        if what == "batches" and came.method == "PUT":
            return self._upload(came, job, body)
        if what:
            return error(404, *_NOT_FOUND)
        return self._one(came, job, body)

    def _create(self, said: Any, version: str) -> MockReply:
        if not isinstance(said, dict):
            return error(400, "JSON_PARSER_ERROR", "the body is no JSON object")
        now, wall = self.clock.monotonic(), self.clock.wall()
        job = made(said, self.tables, f"750{len(self.jobs) + 1:012d}AAA", version, now, wall)
        if isinstance(job, MockReply):
            return job
        self.jobs[job.id] = job
        return MockReply(200, job.told("Open"))

    def _upload(self, came: Came, job: BulkJob, body: bytes) -> MockReply:
        reply = job.upload(body)
        if reply.status != 201:
            return reply
        now, records = self.clock.monotonic(), max(1, len(job.rows))
        for name, count, cost in (
            ("bulk-batches", self.batches, -(-records // _BATCH)),
            ("bulk-records", self.bulk_records, records),
        ):
            if not count.fits(cost, now, 0):
                job.uploads, job.rows = 0, []
                return self.limited(came, name, error(403, "REQUEST_LIMIT_EXCEEDED", f"{name} Limit exceeded."))
        self.batches.take(-(-records // _BATCH), now, 0, 0)
        self.bulk_records.take(records, now, 0, 0)
        self.uploads += 1
        self.uploaded += len(job.rows)
        return reply

    def _one(self, came: Came, job: BulkJob, body: bytes) -> MockReply:
        state = self._state(job)
        if came.method == "GET":
            self._catch_up(job)
            return MockReply(200, job.told(state) | job.counted())
        if came.method == "DELETE":
            if state not in {"JobComplete", "Aborted", "Failed"}:
                return error(400, "InvalidJobState", f"Job {job.id} is {state} and cannot be deleted")
            del self.jobs[job.id]
            return MockReply(204, None)
        said = body_of(body)
        wanted = said.get("state") if isinstance(said, dict) else None
        if came.method != "PATCH" or wanted not in {"UploadComplete", "Aborted"}:
            return error(400, "INVALIDJOBSTATE", f"a job's state cannot become {wanted}")
        if state != "Open" and not (wanted == "Aborted" and state in {"UploadComplete", "InProgress"}):
            return error(400, "INVALIDJOBSTATE", f"Job {job.id} is {state}: its state cannot become {wanted}")
        if wanted == "Aborted":
            self._catch_up(job)
            job.aborted = True
            return MockReply(200, job.told("Aborted"))
        if not job.uploads:
            return error(400, "INVALIDJOBSTATE", f"Job {job.id} holds no data")
        self.closes += 1
        job.close(self.clock.monotonic(), self.closes, self._unknown_field, self.config.fail_jobs)
        told = job.told("UploadComplete")
        return MockReply(200, told)

    def _unknown_field(self, job: BulkJob) -> str:
        table = self.tables[job.sobject]
        for name in job.header:
            if name not in table.fields and "." not in name:
                return f"InvalidBatch : Field name not found : {name}"
        return ""

    def _state(self, job: BulkJob) -> str:
        return job.state(self.clock.monotonic(), round(self.config.bulk_delay * SECOND), self.config.bulk_rate)

    def _catch_up(self, job: BulkJob) -> None:
        if not job.aborted:
            due = job.due(self.clock.monotonic(), round(self.config.bulk_delay * SECOND), self.config.bulk_rate)
            job.work(self.tables[job.sobject], due)

    # -- telling

    def worded(self, status: int) -> MockReply:
        """A made-up error with that status, as Salesforce words it."""
        code, message = _WORDS.get(status, ("UNKNOWN_EXCEPTION", "An unexpected error occurred"))
        return error(status, code, message)

    def extras(self) -> dict[str, Any]:
        """Jobs, uploads, writes."""
        for job in self.jobs.values():
            self._catch_up(job)
        states: dict[str, int] = {}
        for job in self.jobs.values():
            state = self._state(job)
            states[state] = states.get(state, 0) + 1
        again = sum(count - 1 for table in self.tables.values() for count in table.written.values() if count > 1)
        return {
            "daily_used": self.day.amount - self.day.left(self.clock.monotonic(), 0), "bulk_jobs": states,
            "uploads": self.uploads, "uploaded_records": self.uploaded, "logins": self.tokens.logins,
            "objects": {name: len(table.rows) for name, table in self.tables.items() if table.rows},
            "writes": {name: table.writes for name, table in self.tables.items() if table.writes},
            "duplicate_writes": again,
        }  # fmt: skip

    def _act_objects(self, name: str, query: dict[str, str], said: Any) -> MockReply:
        del said
        if not name:
            return MockReply(200, {each: len(table.rows) for each, table in self.tables.items()})
        rows = list(self.tables[name].rows.items())[: int(query.get("limit", 1_000_000))]
        return MockReply(200, dict(rows))

    def _act_ledger(self, name: str, query: dict[str, str], said: Any) -> MockReply:
        del said
        least = int(query.get("least", 1))
        return MockReply(200, {key: n for key, n in self.tables[name].written.items() if n >= least})

    def _act_jobs(self, name: str, query: dict[str, str], said: Any) -> MockReply:
        del name, query, said
        told = [
            {
                "id": job.id,
                "state": self._state(job),
                "object": job.sobject,
                "records": len(job.rows),
                "uploads": job.uploads,
            }
            for job in self.jobs.values()
        ]
        return MockReply(200, {"jobs": told})

    def _act_limits(self, name: str, query: dict[str, str], said: Any) -> MockReply:
        del name, query
        counts: dict[str, Rolling | InFlight] = {
            "daily": self.day,
            "long_running": self.running,
            "bulk_batches": self.batches,
        }
        for limit, amount in said.items():
            counts[limit].amount = int(amount)
        return MockReply(200, dict(said))


_WORDS = {
    401: ("INVALID_SESSION_ID", "Session expired or invalid"),
    403: ("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."),
    429: ("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."),
    503: ("SERVER_UNAVAILABLE", "The server is unavailable to handle this request."),
}
