"""An entry of the catalogue as a mock reads it: the data alone, none of the client's code."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs
from zoneinfo import ZoneInfo

from headway.errors import UsageError
from headway.mock.clock import Clock
from headway.mock.faults import Fault

__all__ = ["EntryConfig", "read_entry"]


def read_entry(entry: str | Path) -> dict[str, Any]:
    """The data of a built-in entry, by name, or of a TOML file; UsageError if there is none."""
    path = Path(entry)
    if path.suffix != ".toml":
        path = Path(str(files("headway") / "platforms" / "catalog" / f"{entry}.toml"))
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise UsageError(f"there is no entry {str(entry)!r} to make a mock of: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: is not TOML: {error}") from error


@dataclass(frozen=True, slots=True)
class EntryConfig:
    """What a mock of a catalogue entry enforces: `entry`, a built-in name or the path of a TOML file, and its `tier`.

    `amounts` replaces amounts by limit ({"daily": 20}); `seats`: licensed users; `time_zone` of the account's midnight.
    Delays in seconds as in MockConfig: `latency` of service, `jitter` before a call is counted and again after.
    `retry_after`: rejections carry one even where the platform documents none. All that is random follows `seed`.
    """

    entry: str | Path
    tier: str = ""
    amounts: Mapping[str, int] | None = None
    seats: int = 0
    time_zone: str = "UTC"
    latency: float = 0.0
    jitter: float = 0.0
    retry_after: bool = False
    faults: tuple[Fault, ...] = ()
    journal: int = 200_000
    max_body: int = 10_000_000
    seed: int = 1

    def __post_init__(self) -> None:
        data = read_entry(self.entry)
        if not self.seats and any("per_seat" in each for each in tier_of(data, self.tier)):
            raise UsageError(
                f"tier {self.tier or data['default_tier']!r} of {data['title']} grows with the licensed users: say how "
                "many there are, seats=40 or --seats 40"
            )
        if self.latency < 0 or self.jitter < 0:
            raise UsageError("latency and jitter of a mock are not negative")
        try:
            ZoneInfo(self.time_zone)
        except (KeyError, OSError, ValueError) as error:
            raise UsageError(f"unknown time zone {self.time_zone!r}: use a name such as Europe/Berlin") from error

    @property
    def arrival_delay(self) -> tuple[float, float]:
        """Seconds (least, most) before a call is counted."""
        return (0.0, self.jitter)

    @property
    def reply_delay(self) -> tuple[float, float]:
        """Seconds (least, most) between a call's work and its reply."""
        return (self.latency, self.latency + self.jitter)

    def platform(self, clock: Clock | None = None) -> Any:
        """The mock of this entry."""
        from headway.mock.generic import GenericMock

        return GenericMock(self, clock)


def tier_of(data: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The limits of a tier ('' for the default one); UsageError for an unknown one."""
    wanted = name or data["default_tier"]
    if wanted not in data["tiers"]:
        raise UsageError(f"unknown tier {wanted!r} of {data['title']}: there are {', '.join(data['tiers'])}")
    limits: list[dict[str, Any]] = data["tiers"][wanted]["limits"]
    return limits


def routed(data: Mapping[str, Any], method: str, path: str, tier: str = "") -> tuple[frozenset[str] | None, int]:
    """The limits that a call counts against (None: all) and what it costs; the first route that matches decides."""
    tier = tier or data["default_tier"]
    for route in data.get("routes", ()):
        meant = method in route.get("methods", (method,)) and tier in route.get("tiers", (tier,))
        if meant and any(fnmatchcase(path, each) for each in route["paths"]):
            return frozenset(route["limits"]), route.get("cost", 1)
    return (frozenset() if data.get("routes") else None), 1


def place_of(limit: Mapping[str, Any], token: str, method: str, path: str, query: str = "") -> object:
    """Whose count it is: the scope of the limit, as a key."""
    scope = limit["scope"]
    if scope in {"credential", "user"}:
        return token
    if scope == "endpoint":
        return "" if limit.get("any_method") else method, _operation(path)
    if scope == "resource" and "parameter" in limit:
        return token, tuple(parse_qs(query).get(limit["parameter"], ()))
    if scope == "resource" and "resource" in limit:
        wanted = re.escape(limit["resource"]).replace(r"\*", "[^/:]+")
        found = re.search(f"(?:^|/)({wanted})(?:[:/]|$)", path)
        return found[1].removesuffix(".json") if found else limit["resource"]
    if scope == "resource":
        return "/".join(path.strip("/").split("/")[: limit["segments"]]).split(":")[0]
    return ""


def _operation(path: str) -> str:
    """The path without identifiers: parts that hold a digit, an @ or a % or begin with a capital, versions aside."""
    parts = []
    for part in path.strip("/").split("/"):
        version = re.fullmatch(r"v\d+\w*|\d{4}-\d\d", part)
        known = version or not re.search(r"[\d@%]|^[A-Z]|^[a-z]?[a-z]?[A-Z]|[A-Z].?$", part)
        parts.append(part if known else "*")
    return "/".join(parts)
