"""Which of HubSpot's resources a method and a path mean: `/crm/v3/objects/…` or, newer, `/crm/objects/2026-03/…`.

OAuth likewise: `/oauth/v1/token` ends on 2027-02-16, `/oauth/2026-03/token` takes the same form. Source:
https://developers.hubspot.com/changelog/v1-oauth-api-deprecation, seen 2026-11-25.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from headway.mock.schema import STANDARD, alias

__all__ = ["Route", "route"]

_VERSION = re.compile(r"v\d+|20\d\d-\d\d")


@dataclass(frozen=True, slots=True)
class Route:
    """One resource. `name` is the object type, `action` what to do with it (or a property's name, the methods allowed).

    `kind`: batch, search, object, objects, properties, schemas, account, oauth, unknown, "wrong method".
    """

    kind: str
    name: str = ""
    action: str = ""
    object_id: str = ""
    writes: bool = False

    @property
    def scope(self) -> str:
        """The scope that a token needs, '' for none."""
        if self.kind not in {"batch", "search", "object", "objects", "properties"}:
            return ""
        known = alias(self.name)
        area = "schemas" if self.kind == "properties" else "objects"
        return f"crm.{area}.{known if known in STANDARD else 'custom'}.{'write' if self.writes else 'read'}"


_UNKNOWN = Route("unknown")
_BATCH_ACTIONS = {"create", "update", "upsert", "read", "archive"}


@lru_cache(maxsize=4096)
def route(method: str, path: str) -> Route:
    """The resource that a request means."""
    parts = path.strip("/").split("/")
    if parts[0] == "oauth":
        known = len(parts) == 3 and _VERSION.fullmatch(parts[1]) and parts[2] == "token"
        return _only(method, "POST", Route("oauth")) if known else _UNKNOWN
    if parts[0] == "account-info":
        known = len(parts) == 3 and _VERSION.fullmatch(parts[1]) and parts[2] == "details"
        return _only(method, "GET", Route("account")) if known else _UNKNOWN
    if parts[0] in {"crm", "crm-object-schemas"} and len(parts) >= 3:
        area, rest = parts[1], parts[2:]
        if _VERSION.fullmatch(area):
            area = parts[2]
            rest = parts[3:]
        elif _VERSION.fullmatch(rest[0]):
            rest = rest[1:]
        if area == "objects":
            return _objects(method, rest)
        if area == "properties":
            return _properties(method, rest)
        if area == "schemas" and len(rest) <= 1:
            return _only(method, "GET", Route("schemas", rest[0] if rest else ""))
    return _UNKNOWN


def _only(method: str, allowed: str, found: Route) -> Route:
    return found if method == allowed else Route("wrong method", action=allowed)


def _objects(method: str, rest: list[str]) -> Route:
    if len(rest) == 3 and rest[1] == "batch" and rest[2] in _BATCH_ACTIONS:
        return _only(method, "POST", Route("batch", rest[0], rest[2], writes=rest[2] != "read"))
    if len(rest) == 2 and rest[1] == "search":
        return _only(method, "POST", Route("search", rest[0]))
    if len(rest) == 1 and rest[0]:
        actions = {"GET": "list", "POST": "create"}
    elif len(rest) == 2 and rest[1] != "batch":
        actions = {"GET": "read", "PATCH": "update", "DELETE": "archive"}
    else:
        return _UNKNOWN
    action = actions.get(method)
    if action is None:
        return Route("wrong method", action=", ".join(actions))
    return Route("object", rest[0], action, rest[1] if len(rest) == 2 else "", writes=method != "GET")


def _properties(method: str, rest: list[str]) -> Route:
    if len(rest) == 1 and method == "POST":
        return Route("properties", rest[0], "create", writes=True)
    if len(rest) == 1:
        return _only(method, "GET", Route("properties", rest[0]))
    if len(rest) == 2:
        return _only(method, "GET", Route("properties", rest[0], rest[1]))
    return _UNKNOWN
