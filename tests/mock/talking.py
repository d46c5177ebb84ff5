"""A plain client, so that no code of ours stands between a test and the mock's bytes."""

from __future__ import annotations

import http.client
import json
from urllib.parse import urlsplit

from headway.mock.clock import ManualClock
from headway.mock.config import MockConfig
from headway.mock.hubspot import HubSpotMock

ACCOUNT = "/account-info/v3/details"
CONTACTS = "/crm/v3/objects/contacts"
UPSERT = f"{CONTACTS}/batch/upsert"


class Client:
    """One keep-alive connection of one app: status, headers in lower case, decoded body."""

    def __init__(self, url: str, token: str = "t") -> None:
        parts = urlsplit(url)
        self.connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
        self.headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}

    def __call__(self, method: str, path: str, body: object = None):
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body)
        self.connection.request(method, path, data, self.headers)
        reply = self.connection.getresponse()
        text = reply.read()
        headers = {name.lower(): value for name, value in reply.getheaders()}
        return reply.status, headers, json.loads(text) if text else None

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()


class World:
    """A mock in virtual time, without sockets."""

    def __init__(self, **options: object) -> None:
        self.clock = ManualClock()
        self.mock = HubSpotMock(MockConfig(**options), self.clock)

    def call(self, method: str = "GET", path: str = ACCOUNT, body: object = None, token: str = "t", query: str = ""):
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        reply = self.mock.answer(method, path, f"Bearer {token}", data, query)
        from headway.mock.app import _encode

        return reply.status, reply.headers, json.loads(_encode(reply.body)) if reply.body is not None else None

    def upsert(self, *emails: str, trace: bool = True, **properties: object):
        return self.call("POST", UPSERT, inputs(*emails, trace=trace, **properties))

    def status(self, **options: object) -> int:
        return self.call(**options)[0]


def inputs(*emails: str, trace: bool = True, **properties: object) -> dict[str, list[dict[str, object]]]:
    """The body of an upsert by e-mail."""
    made = [{"id": each, "idProperty": "email", "properties": {"email": each, **properties}} for each in emails]
    if trace:
        for number, each in enumerate(made):
            each["objectWriteTraceId"] = f"trace-{number}"
    return {"inputs": made}
