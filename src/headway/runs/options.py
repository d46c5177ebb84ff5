"""What the user asked for, checked, and as it is kept with the run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Literal, Self

from headway.accounts.config import parse_share
from headway.errors import UsageError
from headway.stores.model import Duplicates

__all__ = ["Options"]

_CHOICES = {"blank": ("keep", "clear"), "duplicates": ("last", "first", "fail"), "durability": ("normal", "full")}


@dataclass(frozen=True, slots=True)
class Options:
    """A run's options; see `Sync`. Raises UsageError for values that make no sense. Holds no secret."""

    key: str = ""
    mode: str = ""
    map: str | None = None
    blank: Literal["keep", "clear"] = "keep"
    duplicates: Duplicates = "last"
    encoding: str | None = None
    delimiter: str | None = None
    query: str | None = None
    limit: int | None = None
    max_dead: float = 0.2
    wait_for_quota: float = 0.0
    check: bool = True
    rate: float | None = None
    base_url: str | None = None
    tier: str | None = None
    share: float | None = None
    reserve: int | None = None
    columns: tuple[str, ...] = ()
    via: str | None = None
    validate: int = 0
    seats: int | None = None

    def __post_init__(self) -> None:
        for name, known in _CHOICES.items():
            value = getattr(self, name, known[0])
            if value not in known:
                raise UsageError(f"--{name} is {' or '.join(known)}, not {value!r}")
        if self.limit is not None and (isinstance(self.limit, bool) or self.limit < 1):
            raise UsageError(f"--limit must be a whole number of at least 1, not {self.limit!r}")
        if not 0 <= self.max_dead <= 1:
            raise UsageError(f"--max-dead must be between 0 and 1 (or 0% and 100%), not {self.max_dead!r}")
        if not (self.wait_for_quota >= 0 and math.isfinite(self.wait_for_quota)):
            raise UsageError(f"--wait-for-quota must be at least 0 seconds, not {self.wait_for_quota!r}")
        if self.rate is not None and not (self.rate > 0 and math.isfinite(self.rate)):
            raise UsageError(f"--rate must be above 0 records a second, not {self.rate!r}")
        if isinstance(self.validate, bool) or not 0 <= self.validate <= 20:
            raise UsageError(f"--validate must be a number of records from 0 to 20, not {self.validate!r}")
        if self.share is not None:
            object.__setattr__(self, "share", parse_share(self.share, "--share"))

    def kept(self) -> dict[str, object]:
        """For the store: what is not None."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def of(cls, kept: Mapping[str, object], **changes: object) -> Self:
        """Options as they were kept, with some replaced (None leaves one as it is)."""
        known = {field.name for field in fields(cls)}
        values = {name: value for name, value in kept.items() if name in known}
        values["columns"] = tuple(str(name) for name in _list(values.get("columns")))
        values |= {name: value for name, value in changes.items() if value is not None}
        return cls(**values)  # type: ignore[arg-type]

    def reading(self, columns: tuple[str, ...]) -> Self:
        """The same for a source with these columns."""
        return replace(self, columns=columns)


def _list(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else []
