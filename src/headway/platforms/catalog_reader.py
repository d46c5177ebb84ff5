"""The catalogue: what platforms allow, as data in `catalog/*.toml` and in files of the user's own, read and checked.

A user adds a platform with one file, `NAME.toml`, in the first of these folders that has it: the one that
`HEADWAY_PLATFORMS` names, `headway-platforms` in the working directory, `headway/platforms` in the user's
configuration directory. A user's file goes before a built-in entry of the same name, and says so (`Profile.shadows`).
"""

from __future__ import annotations

import os
import sys
import tomllib
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from headway.errors import UsageError
from headway.platforms.catalog_schema import check
from headway.platforms.profile import Cost, LimitEntry, Profile, Rejection, Route, Rule, Tier, nearest

__all__ = ["LimitEntry", "Profile", "Tier", "file_of", "folders", "load", "nearest", "platforms"]


def folders() -> tuple[Path, ...]:
    """Where a user's own platforms are looked for, nearest first."""
    if sys.platform == "win32":
        base = Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    else:
        base = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    named = os.environ.get("HEADWAY_PLATFORMS")
    first = (Path(named),) if named else ()
    return (*first, Path("headway-platforms"), base / "headway" / "platforms")


def platforms() -> tuple[str, ...]:
    """The platforms in the catalogue, the user's included, sorted."""
    return tuple(sorted({*_built_in(), *_own()}))


def file_of(platform: str) -> Path:
    """The file that describes a platform; UsageError for an unknown one."""
    found = _own().get(platform) or _built_in().get(platform)
    if found is None:
        raise UsageError(f"unknown platform {platform!r}: {nearest(platform, platforms())}")
    return found


def load(platform: str) -> Profile:
    """A platform's profile; UsageError for an unknown one and for a file that is wrong."""
    path = file_of(platform)
    own = platform in _own()
    try:
        changed = path.stat().st_mtime_ns
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    return _load(path, changed, platform, str(path) if own else "", own and platform in _built_in())


@lru_cache(maxsize=256)
def _load(path: Path, _changed: int, platform: str, origin: str, shadows: bool) -> Profile:
    try:
        data = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: is not TOML: {error}") from error
    check(data, str(path), platform)
    return _profile(data, origin, shadows)


@lru_cache(maxsize=1)
def _built_in() -> dict[str, Path]:
    folder = Path(str(files("headway.platforms") / "catalog"))
    return {each.stem: each for each in sorted(folder.glob("*.toml"))}


def _own() -> dict[str, Path]:
    found: dict[str, Path] = {}
    for folder in reversed(folders()):  # nearest last, so that it stays
        found |= {each.stem: each for each in sorted(folder.glob("*.toml"))}
    return found


def _profile(data: dict[str, Any], origin: str, shadows: bool) -> Profile:
    batch = data.get("batch", {})
    rejection = _rejection(data["rejection"])
    return Profile(
        platform=data["platform"],
        title=data["title"],
        base_url=data.get("base_url", ""),
        token_env=data.get("token_env", f"{data['platform'].upper().replace('-', '_')}_TOKEN"),
        rate_limit=data.get("rate_limit", ", ".join(map(str, rejection.statuses))),
        batch=batch.get("records", 0),
        objects=tuple(data.get("objects", ())),
        modes=tuple(data.get("modes", ())),
        default_tier=data["default_tier"],
        tiers={name: _tier(name, tier) for name, tier in data["tiers"].items()},
        routes=tuple(_route(route) for route in data.get("routes", ())),
        hosts=tuple(data["hosts"]),
        header_dialect=data.get("header_dialect", "none"),
        header_limit=data.get("header_limit", ""),
        headers_on_rejection=data.get("headers_on_rejection", True),
        rejection=rejection,
        cost=Cost(**data["cost"]) if "cost" in data else None,
        batch_bytes=batch.get("bytes", 0),
        batch_source=batch.get("source", ""),
        note=data.get("note", ""),
        origin=origin,
        shadows=shadows,
    )


def _tier(name: str, data: dict[str, Any]) -> Tier:
    limits = tuple(LimitEntry(**(entry | _dated(entry))) for entry in data["limits"])
    return Tier(
        name, data["title"], limits, data["source"], str(data["date"]), data["verified"],
        note=data.get("note", ""), without_limits=data.get("without_limits", ""),
        rate_unpublished=data.get("rate_unpublished", False),
    )  # fmt: skip


def _dated(entry: dict[str, Any]) -> dict[str, str]:
    return {"date": str(entry["date"])} if "date" in entry else {}


def _route(data: dict[str, Any]) -> Route:
    return Route(
        tuple(data["paths"]), frozenset(data["limits"]), frozenset(data.get("methods", ())), data.get("cost", 1)
    )


def _rejection(data: dict[str, Any]) -> Rejection:
    rules = tuple(
        Rule(
            **{
                **rule,
                "statuses": tuple(rule["statuses"]),
                "equals": tuple(str(each) for each in rule.get("equals", ())),
            }
        )
        for rule in data.get("rules", ())
    )
    return Rejection(tuple(data["statuses"]), rules, data.get("retry_after", ""))
