"""The catalogue: what platforms allow, as data in `catalog/*.toml` and in files of the user's own, read and checked.

A user adds a platform with one file, `NAME.toml`, in the first of these folders that has it: the one that
`HEADWAY_PLATFORMS` names, `headway-platforms` in the working directory, `headway/platforms` in the user's
configuration directory. A user's file goes before a built-in entry of the same name, and says so (`Profile.shadows`).
"""

from __future__ import annotations

import os
import sys
import tomllib
from dataclasses import replace
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from headway.errors import UsageError
from headway.platforms.catalog_checks import check_profile
from headway.platforms.catalog_schema import build, wrong
from headway.platforms.profile import LimitEntry, Profile, Tier, nearest

__all__ = ["LimitEntry", "Profile", "Tier", "file_of", "folders", "load", "nearest", "parse", "platforms"]


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
    return parse(data, str(path), platform, origin, shadows=shadows)


@lru_cache(maxsize=1)
def _built_in() -> dict[str, Path]:
    folder = Path(str(files("headway.platforms") / "catalog"))
    return {each.stem: each for each in sorted(folder.glob("*.toml"))}


def _own() -> dict[str, Path]:
    found: dict[str, Path] = {}
    for folder in reversed(folders()):  # nearest last, so that it stays
        found |= {each.stem: each for each in sorted(folder.glob("*.toml"))}
    return found


def parse(data: dict[str, Any], where: str, name: str, origin: str = "", *, shadows: bool = False) -> Profile:
    """The profile that `data`, read from the file `where`, describes for the platform `name`; raises UsageError."""
    found = build(Profile, data, where, origin=origin, shadows=shadows)
    if found.platform != name:
        wrong(where, "platform", f"is {found.platform!r}, but the file is named {name}.toml: let them agree")
    tiers = {each: build(Tier, tier, where, f"tiers.{each}", name=each) for each, tier in found.tiers.items()}
    statuses = ", ".join(map(str, found.rejection.statuses))
    found = replace(
        found, tiers=tiers, rate_limit=found.rate_limit or statuses,
        token_env=found.token_env or f"{name.upper().replace('-', '_')}_TOKEN",
    )  # fmt: skip
    check_profile(found, where)
    return found
