"""The objects that a mock portal holds, with unique indexes and a ledger of writes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from headway.mock.schema import CUSTOM, STANDARD, CustomObject, Property, alias, type_id
from headway.mock.values import as_text

__all__ = ["ObjectType", "Portals", "folded", "normalised"]


_FORGOTTEN: dict[str, str] = {}  # stands for every object where only keys are kept


def folded(name: str, value: str) -> str:
    """A unique value as HubSpot compares it: e-mail addresses trimmed and in lower case."""
    return value.strip().lower() if name == "email" else value


class ObjectType:
    """All objects of one type in one portal.

    `by_id` and the unique indexes hold what is there; `written` counts the writes of every key, `again` those of keys
    that had been written before.
    """

    def __init__(self, name: str, type_id: str, properties: Iterable[Property], keep: str, *, ledger: bool) -> None:
        self.name = name
        self.type_id = type_id
        self.properties = {each.name: each for each in properties}
        self.by_id: dict[str, dict[str, str]] = {}
        self.written: dict[str, int] = {}
        self.writes = 0
        self.again = 0
        self._keep = keep
        self._ledger = ledger
        self._indexes: dict[str, dict[str, str]] = {}
        for each in self.properties.values():
            self._index(each)

    def add(self, each: Property) -> None:
        """One more property, or another definition of one."""
        self.properties[each.name] = each
        self._index(each)

    def is_unique(self, name: str) -> bool:
        """Whether the property may be an idProperty."""
        return name in self._indexes or name == "hs_object_id"

    @property
    def shown(self) -> list[str]:
        """The properties that a read shows when it names none."""
        first = (
            "email",
            "firstname",
            "lastname",
            "name",
            "domain",
            "dealname",
            "amount",
            "subject",
            "content",
            "price",
        )
        return [name for name in first if name in self.properties] + ["hs_lastmodifieddate"]

    @property
    def unique_names(self) -> Iterable[str]:
        """The properties that no two objects may share a value of."""
        return self._indexes

    def find(self, name: str | None, value: str) -> str | None:
        """The id of the object with this value of a unique property (None or hs_object_id: the id itself)."""
        if not name or name == "hs_object_id":
            return value if value in self.by_id else None
        return self._indexes.get(name, {}).get(folded(name, value))

    def write(self, object_id: str, properties: dict[str, str], at: str) -> dict[str, str]:
        """Create or change an object at an instant; returns it as stored."""
        if self._keep == "nothing":
            return {"hs_object_id": object_id, **properties}
        stored = self.by_id.get(object_id)
        for name, index in self._indexes.items():
            value = properties.get(name)
            if value is not None:
                if stored is not None and (old := stored.get(name)) and index.get(old) == object_id:
                    del index[old]
                if value:
                    index[value] = object_id
        if self._keep == "keys":
            self.by_id[object_id] = _FORGOTTEN
            return {"hs_object_id": object_id, **properties}
        if stored is None:
            stored = self.by_id[object_id] = {"hs_object_id": object_id, "createdate": at}
        stored |= properties
        stored["hs_lastmodifieddate"] = at
        return stored

    def note(self, key: str) -> None:
        """One write of a key in the ledger."""
        self.writes += 1
        if not self._ledger:
            return
        count = self.written.get(key, 0) + 1
        self.written[key] = count
        if count > 1:
            self.again += 1

    def remove(self, object_id: str) -> bool:
        """Archive an object; False if it is not there."""
        gone = self.by_id.pop(object_id, None)
        if gone is None:
            return False
        for name, index in self._indexes.items():
            value = gone.get(name, "")
            if index.get(value) == object_id:
                del index[value]
        return True

    def clear(self) -> None:
        """Forget all objects and writes."""
        self.by_id.clear()
        self.written.clear()
        self.writes = self.again = 0
        for index in self._indexes.values():
            index.clear()

    def _index(self, each: Property) -> None:
        if (each.unique and each.name != "hs_object_id") or (each.name == "email" and self.name == "contacts"):
            self._indexes.setdefault(each.name, {})


def normalised(properties: dict[str, Any]) -> dict[str, str]:
    """Values as HubSpot keeps them."""
    values = {name: as_text(value) for name, value in properties.items()}
    if "email" in values:
        values["email"] = folded("email", values["email"])
    return values


class Portals:
    """Objects by portal and type; ids are unique over all."""

    def __init__(
        self,
        unique: Iterable[tuple[str, str]] = (),
        properties: Iterable[tuple[str, Property]] = (),
        custom: Iterable[CustomObject] = (),
        keep: str = "objects",
        *,
        ledger: bool = True,
    ) -> None:
        self._types: dict[tuple[int, str], ObjectType] = {}
        self._more = [(owner, Property(name, unique=True)) for owner, name in unique] + list(properties)
        self._keep = keep
        self._ledger = ledger
        self._last_id = 171_000_000_000
        self.custom: dict[str, CustomObject] = {}
        for each in custom:
            self.define(each)
        for owner, _ in self._more:
            if alias(owner) not in STANDARD and owner not in self.custom:
                self.define(CustomObject(owner))

    def define(self, custom: CustomObject) -> CustomObject:
        """One more custom object, with an id of its type if it has none."""
        number = custom.type_id or f"2-{3_465_404 + len(self.custom)}"
        made = CustomObject(custom.name, custom.properties, number, custom.primary)
        self.custom[made.name] = made
        return made

    def add_property(self, owner: str, made: Property) -> None:
        """One more property of an object type, in every portal."""
        self._more.append((owner, made))
        for _, kind in self.all():
            if kind.name == alias(owner):
                kind.add(made)

    def type(self, portal: int, name: str) -> ObjectType | None:
        """An object type of a portal, by any of its names, None if there is none."""
        found = self._types.get((portal, name))
        return self._open(portal, name) if found is None else found

    def custom_named(self, portal: int, name: str) -> CustomObject | None:
        """A custom object by its name, full name or type id."""
        short = name.removeprefix(f"p{portal}_").removeprefix("p_")
        return self.custom.get(short) or next((each for each in self.custom.values() if each.type_id == name), None)

    def _open(self, portal: int, name: str) -> ObjectType | None:
        known = alias(name)
        if known in STANDARD:
            properties, identity = list(STANDARD[known]), type_id(known)
        elif custom := self.custom_named(portal, name):
            known, identity, properties = custom.name, custom.type_id, [*CUSTOM, *custom.properties]
        else:
            return None
        kind = self._types.get((portal, known))
        if kind is None:
            properties += [each for owner, each in self._more if alias(owner) == known]
            kind = ObjectType(known, identity, properties, self._keep, ledger=self._ledger)
            self._types[portal, known] = kind
        self._types[portal, name] = kind
        return kind

    def all(self) -> list[tuple[int, ObjectType]]:
        """Every type that was used, with its portal."""
        return [(portal, kind) for (portal, name), kind in self._types.items() if name == kind.name]

    def new_id(self) -> str:
        """The next object id."""
        self._last_id += 1
        return str(self._last_id)

    def forget(self) -> None:
        """Drop all objects and ledgers; the schema stays."""
        for _, kind in self.all():
            kind.clear()
