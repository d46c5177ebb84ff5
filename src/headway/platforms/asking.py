"""What a call asks of a platform's limits before it is sent: whose count of which it is, and what it costs.

Rules:
* An endpoint is an operation: method and path with what looks like an identifier left out. Where a word and an
  identifier cannot be told apart it counts as an identifier: fewer endpoints are stricter than the platform, more
  would be laxer.
* What only the reply tells is estimated: as the last replies to the same request told it, else as the entry says.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import parse_qs, unquote_plus

from headway.platforms.profile import Cost, LimitEntry, Profile, Route
from headway.platforms.recognition import values_at

__all__ = ["Estimates", "Request", "cost_of", "endpoint_of", "place_of"]

_WORD = r"(?:[a-z]+|[a-z]{2,}(?:[A-Z]+[a-z]{2,})+|v\d+[a-z]*\d*)"
_KEPT = re.compile(rf"{_WORD}(?:[._-]{_WORD})*(?:\.json|\.xml)?|\d{{4}}-\d\d(?:-\d\d)?", re.ASCII)
_LARGEST = 4_194_304  # bytes of a request's body that is looked into
_REMEMBERED = 512


@dataclass(frozen=True, slots=True)
class Request:
    """A call before it is sent; `path` with its query, `body` as far as it is known (empty if not)."""

    method: str
    path: str
    body: bytes = b""
    _read: list[object] = field(default_factory=list, compare=False, repr=False)

    @property
    def bare(self) -> str:
        """The path without its query."""
        return self.path.partition("?")[0]

    @property
    def json(self) -> Any:
        """The JSON of its body, None where there is none; parsed once."""
        if not self._read:
            try:
                self._read.append(json.loads(self.body) if 0 < len(self.body) <= _LARGEST else None)
            except (ValueError, RecursionError):
                self._read.append(None)
        return self._read[0]

    def parameter(self, name: str) -> str:
        """What the query or the body (JSON or a form) says under a name; "" where neither does."""
        told = parse_qs(self.path.partition("?")[2]).get(name, [""])[-1]
        if told or not self.body or len(self.body) > _LARGEST:
            return told
        said = self.json
        if isinstance(said, dict):
            return str(said[name]) if isinstance(said.get(name), str | int) else ""
        found = re.search(rb"(?:^|&)" + re.escape(name).encode() + rb"=([^&]*)", self.body)
        return unquote_plus(found[1].decode("utf-8", "replace")) if found else ""


def endpoint_of(path: str) -> str:
    """The operation that a path names: `/v1/customers/cus_9s6` is `/v1/customers/{}`."""
    parts = path.partition("?")[0].strip("/").split("/")
    return "/" + "/".join(part if _KEPT.fullmatch(part) else "{}" for part in parts)


def place_of(entry: LimitEntry, request: Request) -> str:
    """What of a request, besides the account, a limit's count belongs to: "" for account-wide limits."""
    if entry.scope == "endpoint":
        method = "" if entry.any_method else f"{request.method.upper()} "
        return method + endpoint_of(request.bare)
    if entry.scope != "resource":
        return ""
    if entry.parameter:
        return f"{entry.parameter}={request.parameter(entry.parameter)}"
    parts = request.bare.strip("/").split("/")
    if entry.segments:  # Google's verbs hang on the name: properties/123:runReport
        return "/".join(parts[: entry.segments]).partition(":")[0]
    wanted = entry.resource.strip("/").split("/")
    for at in range(len(parts) - len(wanted) + 1):
        here = parts[at : at + len(wanted)]
        if all(fnmatchcase(part, pattern) for part, pattern in zip(here, wanted, strict=True)):
            return "/".join(here).partition(":")[0].removesuffix(".json")
    return entry.resource


class Estimates:
    """What calls are believed to cost until their replies tell: as the same request did before, else as is assumed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[str, int] = OrderedDict()

    def shape(self, profile: Profile, request: Request) -> str:
        """What makes two requests alike: endpoint and body; of a GraphQL call its query, whatever the variables."""
        if profile.cost is None or profile.cost.known != "after":
            return ""
        said = request.json if request.body else None
        query = said.get("query") if isinstance(said, dict) else None
        text = query.encode() if isinstance(query, str) else request.body
        return f"{endpoint_of(request.bare)} {hashlib.blake2b(text, digest_size=12).hexdigest()}"

    def of(self, shape: str) -> int | None:
        """What such a call is known to cost."""
        with self._lock:
            return self._known.get(shape)

    def learn(self, shape: str, cost: int) -> None:
        """Such a call did cost so much. The highest figure fades slowly: variables change what a query costs."""
        if not shape:
            return
        with self._lock:
            known = self._known.pop(shape, 0)
            self._known[shape] = max(cost, known - max(1, known // 16))
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)


def cost_of(profile: Profile, route: Route | None, request: Request, known: int | None) -> int:
    """What a call costs in the entry's unit, as far as that can be told before it; `known`: as its likes did."""
    cost, dear = profile.cost, 1 if route is None else route.cost
    if cost is None:
        return dear
    found = _counted(cost, request.json) if cost.count and request.body else None
    if cost.known == "after":
        return known if known is not None else max(dear, cost.estimate) * max(1, found or 1)
    return max(dear, cost.estimate) if found is None else max(1, -(-found // cost.each))


def _counted(cost: Cost, said: object) -> int | None:
    """The length of the lists that decide, None where there is none."""
    lists = [
        value for path in cost.count for value in values_at(said, path.removesuffix("[]")) if isinstance(value, list)
    ]
    return sum(map(len, lists)) if lists else None
