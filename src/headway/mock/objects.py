"""The objects that a mock portal holds, with unique indexes and a ledger of writes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from headway.mock.schema import STANDARD, MockProperty

__all__ = ["ObjectType", "Portals", "now_text"]


class ObjectType:
    """All objects of one type in one portal."""

    def __init__(self, name: str, properties: Iterable[MockProperty]) -> None:
        self.name = name
        self.properties = {each.name: each for each in properties}
        self.by_id: dict[str, dict[str, Any]] = {}
        self.written: Counter[str] = Counter()
        self._indexes: dict[str, dict[str, str]] = {}

    def add(self, each: MockProperty) -> None:
        """One more property."""
        self.properties[each.name] = each

    def is_unique(self, name: str) -> bool:
        """Whether the property may be an idProperty."""
        found = self.properties.get(name)
        return (name == "email" and self.name == "contacts") or (found is not None and found.unique)

    def find(self, name: str | None, value: str) -> str | None:
        """The id of the object with this value of a unique property (None or hs_object_id: the id itself)."""
        if name in {None, "", "hs_object_id"}:
            return value if value in self.by_id else None
        return self._indexes.get(str(name), {}).get(self._folded(str(name), value))

    def write(self, object_id: str, properties: dict[str, Any], ledger_key: str) -> dict[str, Any]:
        """Create or change an object; returns it as stored."""
        stored = self.by_id.setdefault(object_id, {"hs_object_id": object_id})
        for name, value in properties.items():
            text = "" if value is None else (str(value).lower() if isinstance(value, bool) else str(value))
            text = text.strip().lower() if name == "email" else text
            stored[name] = text
            if self.is_unique(name):
                self._indexes.setdefault(name, {})[self._folded(name, text)] = object_id
        self.written[ledger_key] += 1
        return stored

    def remove(self, object_id: str) -> None:
        """Archive an object."""
        gone = self.by_id.pop(object_id, {})
        for name, index in self._indexes.items():
            if name in gone:
                index.pop(self._folded(name, gone[name]), None)

    @staticmethod
    def _folded(name: str, value: str) -> str:
        return value.strip().lower() if name == "email" else value


class Portals:
    """Objects by portal and type; ids are unique over all."""

    def __init__(self, unique: Iterable[tuple[str, str]] = ()) -> None:
        self._types: dict[tuple[int, str], ObjectType] = {}
        self._unique = tuple(unique)
        self._next = 171_000_000_000
        self.custom: set[str] = {name for name, _ in self._unique if name not in STANDARD}

    def type(self, portal: int, name: str) -> ObjectType | None:
        """An object type of a portal, None if there is none of that name."""
        found = self._types.get((portal, name))
        if found is None and (name in STANDARD or name in self.custom):
            common = [each for each in STANDARD["companies"] if each.name.startswith(("hs_", "name", "createdate"))]
            found = ObjectType(name, STANDARD.get(name, common))
            for owner, each in self._unique:
                if owner == name:
                    found.add(MockProperty(each, each, unique=True))
            self._types[portal, name] = found
        return found

    def all(self) -> Iterable[tuple[int, ObjectType]]:
        """Every type that was used, with its portal."""
        return [(portal, found) for (portal, _), found in self._types.items()]

    def new_id(self) -> str:
        """The next object id."""
        self._next += 1
        return str(self._next)


def now_text() -> str:
    """An instant as HubSpot writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
