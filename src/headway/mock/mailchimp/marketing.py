"""A Mailchimp account: counts connections, refuses what is too much, writes members at once or in batches.

Source: Mailchimp Marketing API.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from headway.mock.clock import Clock
from headway.mock.counting import Rolling
from headway.mock.journal import Entry
from headway.mock.mailchimp.audience import Members, problem
from headway.mock.mailchimp.batches import Batch, Batches
from headway.mock.mailchimp.config import MailchimpConfig
from headway.mock.mailchimp.connections import Connections
from headway.mock.replies import MockReply
from headway.mock.service import Came, Service, body_of

__all__ = ["MailchimpMock"]

_LIST = re.compile(r"/3\.0/lists/(?P<list>\w+)(?:/(?P<rest>.*))?")
_MEMBER = re.compile(r"members/(?P<hash>[0-9a-f]{32})(?:/(?P<more>.+))?")
_NOT_FOUND = ("Resource Not Found", "The requested resource could not be found.")


class MailchimpMock(Service):
    """State and rules of one account."""

    config: MailchimpConfig

    def __init__(self, config: MailchimpConfig | None = None, clock: Clock | None = None) -> None:
        self.revoked: set[str] = set()
        super().__init__(config or MailchimpConfig(), clock)
        self.acts = {
            ("GET", "objects"): self._act_objects, ("GET", "ledger"): self._act_ledger,
            ("GET", "batches"): self._act_batches, ("POST", "tokens"): self._act_tokens,
            ("POST", "limits"): self._act_limits,
        }  # fmt: skip

    def forget(self) -> None:
        """Start anew."""
        super().forget()
        config = self.config
        self.audiences = {each.id: Members(each, config) for each in config.audiences}
        self.connections = Connections(config.connections, config.keeps_slot)
        self.second = Rolling(config.bare_403_above or 1 << 62, 1.0)
        self.batches = Batches(self._operate, config.batch_delay, config.batch_rate, config.seed)
        self.leaked = self.fetches = 0

    # -- counting

    def admit(self, came: Came) -> MockReply | None:
        """Count a call; its refusal, if it goes no further."""
        if came.path.startswith("/results/"):
            return None
        key = _key(came.authorization)
        if not key or key in self.revoked or (self.config.keys and key not in self.config.keys):
            words = "Your API key may be invalid, or you've attempted to access the wrong datacenter."
            return problem(401, "API Key Invalid", words)
        came.who = key
        now = self.clock.monotonic()
        if not self.second.fits(1, now, 0):
            return self.limited(came, "rate", MockReply(403, None, {"content-type": "text/html"}))
        self.second.take(1, now, 0, came.entry.number)
        if not self.connections.take(key, came.entry.number, now):
            words = f"You have exceeded the limit of {self.connections.amount} simultaneous connections."
            return self.limited(came, "concurrency", problem(429, "Too Many Requests", words))
        return None

    def ended(self, entry: Entry) -> None:
        """A call is over."""
        self.connections.end(entry.number, self.clock.monotonic(), replied=entry.status not in {0, 499})

    # -- working

    def work(self, came: Came, body: bytes) -> MockReply:
        """Do it."""
        self.batches.catch_up_all(self.clock.monotonic())  # what was due before this call was done before it
        if came.path.startswith("/results/"):
            return self._results(came)
        if came.who in self.config.read_only_keys and came.method != "GET":
            return problem(403, "Forbidden", "You do not have permission to access the requested resource.")
        path = came.path.rstrip("/")
        if path == "/3.0":
            account = {"account_id": self.config.account_id, "account_name": "Mock", "account_timezone": "US/Eastern"}
            return MockReply(200, account | {"email": "owner@example.com"})
        if path == "/3.0/ping":
            return MockReply(200, {"health_status": "Everything's Chimpy!"})
        if path == "/3.0/batches" or path.startswith("/3.0/batches/"):
            return self._batch(came, path, body)
        return self._operate(came.method, came.path, came.query, body, came.who)

    def _operate(self, method: str, path: str, query: dict[str, str], body: bytes, key: str) -> MockReply:
        """One call on lists and members, by itself or in a batch."""
        del key
        if path.rstrip("/") == "/3.0/lists" and method == "GET":
            told = [{"id": each.made.id, "name": each.made.name} for each in self.audiences.values()]
            return MockReply(200, {"lists": told, "total_items": len(told)})
        found = _LIST.fullmatch(path.rstrip("/"))
        members = self.audiences.get(found["list"]) if found else None
        if found is None or members is None:
            return problem(404, *_NOT_FOUND)
        said = body_of(body)
        if not isinstance(said, dict):
            return problem(400, "JSON Parse Error", "We encountered an unspecified JSON parsing error.")
        return self._on_list(members, method, found["rest"] or "", query, said)

    def _on_list(
        self, members: Members, method: str, rest: str, query: dict[str, str], said: dict[str, Any]
    ) -> MockReply:
        if not rest:
            if method == "GET":
                return MockReply(200, {"id": members.made.id, "name": members.made.name})
            return members.subscribe(said) if method == "POST" else _wrong_method()
        if rest == "merge-fields" and method == "GET":
            told = members.merge_fields()
            return MockReply(200, {"merge_fields": told, "list_id": members.made.id, "total_items": len(told)})
        if rest == "members" and method in {"GET", "POST"}:
            if method == "POST":
                return members.post(said)
            if not all(query.get(name, "0").isdecimal() for name in ("offset", "count")):
                return problem(400, "Invalid Resource", "offset and count must be numbers")
            start, count = int(query.get("offset", 0)), int(query.get("count", 10))
            rows = list(members.rows.values())
            return MockReply(200, {"members": rows[start : start + count], "total_items": len(rows)})
        found = _MEMBER.fullmatch(rest)
        if found is None:
            return problem(404, *_NOT_FOUND)
        return self._on_member(members, method, found["hash"], found["more"] or "", said)

    def _on_member(self, members: Members, method: str, member: str, more: str, said: dict[str, Any]) -> MockReply:
        if more == "actions/delete-permanent" and method == "POST":
            return members.remove(member)
        if more == "tags" and method == "POST":
            return MockReply(204, None) if member in members.rows else problem(404, *_NOT_FOUND)
        if more:
            return problem(404, *_NOT_FOUND)
        if method == "PUT":
            return members.put(member, said)
        if method == "PATCH":
            return members.patch(member, said)
        if method == "DELETE":
            return members.remove(member)
        if method == "GET":
            row = members.rows.get(member)
            return problem(404, *_NOT_FOUND) if row is None else MockReply(200, row)
        return _wrong_method()

    # -- batches

    def _batch(self, came: Came, path: str, body: bytes) -> MockReply:
        now = self.clock.monotonic()
        if path == "/3.0/batches":
            if came.method == "GET":
                told = [self.batches.told(each, now, self._host()) for each in self.batches.all.values()]
                return MockReply(200, {"batches": told, "total_items": len(told)})
            return self._start(came, body_of(body), now)
        batch = self.batches.all.get(path.rpartition("/")[2])
        if batch is None or batch.key != came.who:
            return problem(404, *_NOT_FOUND)
        if came.method == "DELETE":
            self.batches.remove(batch, now)
            return MockReply(204, None)
        return MockReply(200, self.batches.told(batch, now, self._host()))

    def _start(self, came: Came, said: Any, now: int) -> MockReply:
        operations = said.get("operations") if isinstance(said, dict) else None
        if not isinstance(operations, list) or not operations or not all(isinstance(each, dict) for each in operations):
            return problem(400, "Invalid Resource", "operations: Schema describes array")
        if len(operations) > self.config.operations_per_batch:
            return problem(
                400, "Invalid Resource", f"more than {self.config.operations_per_batch} operations in a batch"
            )
        most = self.config.pending_batches
        if most is not None and self.batches.pending(came.who, now) >= most:
            return self.limited(
                came, "pending", problem(429, "Too Many Requests", f"You have more than {most} pending batches.")
            )
        batch = self.batches.start(came.who, operations, now, self.clock.wall())
        return MockReply(200, self.batches.told(batch, now, self._host()))

    def _host(self) -> str:
        return self.config.results_host or self.url

    def _results(self, came: Came) -> MockReply:
        if came.authorization:
            self.leaked += 1
            return MockReply(400, None, {"content-type": "application/xml"}, raw=b"<Error>InvalidArgument</Error>")
        batch: Batch | None = self.batches.all.get(came.path.removeprefix("/results/").removesuffix(".tar.gz"))
        if batch is None or self.batches.state(batch, self.clock.monotonic()) != "finished":
            return MockReply(403, None, {"content-type": "application/xml"}, raw=b"<Error>AccessDenied</Error>")
        self.fetches += 1
        self.batches.catch_up(batch, self.clock.monotonic())
        return MockReply(200, None, {"content-type": "application/gzip"}, raw=self.batches.packed(batch))

    # -- telling

    def worded(self, status: int) -> MockReply:
        """A made-up error with that status, as Mailchimp words it."""
        title, detail = _WORDS.get(status, ("Internal Server Error", "An unexpected internal error has occurred."))
        return problem(status, title, detail)

    def extras(self) -> dict[str, Any]:
        """Connections, members, batches."""
        now = self.clock.monotonic()
        states: dict[str, int] = {}
        for batch in self.batches.all.values():
            self.batches.catch_up(batch, now)
            state = self.batches.state(batch, now)
            states[state] = states.get(state, 0) + 1
        return {
            "most_connections": self.connections.most, "seconds_with": dict(self.connections.seconds_with),
            "members": {name: len(each.rows) for name, each in self.audiences.items()},
            "writes": {name: sum(each.written.values()) for name, each in self.audiences.items()},
            "duplicate_writes": sum(n - 1 for each in self.audiences.values() for n in each.written.values()),
            "unknown_merge_tags": sum(each.unknown_tags for each in self.audiences.values()),
            "batches": states, "most_pending_batches": self.batches.most_pending,
            "leaked_credentials": self.leaked, "result_fetches": self.fetches,
        }  # fmt: skip

    def _act_objects(self, name: str, query: dict[str, str], said: Any) -> MockReply:
        del said
        if not name:
            return MockReply(200, {each: len(members.rows) for each, members in self.audiences.items()})
        rows = list(self.audiences[name].rows.items())[: int(query.get("limit", 1_000_000))]
        return MockReply(200, dict(rows))

    def _act_ledger(self, name: str, query: dict[str, str], said: Any) -> MockReply:
        del said
        least = int(query.get("least", 1))
        return MockReply(200, {key: n for key, n in self.audiences[name].written.items() if n >= least})

    def _act_batches(self, name: str, query: dict[str, str], said: Any) -> MockReply:
        del name, query, said
        now = self.clock.monotonic()
        return MockReply(200, {"batches": [self.batches.told(each, now, "") for each in self.batches.all.values()]})

    def _act_tokens(self, name: str, query: dict[str, str], said: Any) -> MockReply:
        del name, query
        if "revoke" in said:
            self.revoked.add(str(said["revoke"]))
        if "accept" in said:
            self.revoked.discard(str(said["accept"]))
        return MockReply(200, {"revoked": len(self.revoked)})

    def _act_limits(self, name: str, query: dict[str, str], said: Any) -> MockReply:
        del name, query
        self.connections.amount = int(said["connections"])
        return MockReply(200, dict(said))


def _key(authorization: str) -> str:
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(value.strip(), validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _wrong_method() -> MockReply:
    return problem(405, "Method Not Allowed", "The requested method and resource are not compatible.")


_WORDS = {
    401: ("API Key Invalid", "Your API key may be invalid, or you've attempted to access the wrong datacenter."),
    403: ("Forbidden", "You do not have permission to access the requested resource."),
    429: ("Too Many Requests", "You have exceeded the limit of 10 simultaneous connections."),
    503: ("Service Unavailable", "The service is down for maintenance."),
}
