r"""Named accounts in headway.toml, and how a destination is written.

Rules:
* `hubspot:contacts` is the platform's default account, whose credential comes from the environment;
  `hubspot/portal-12:contacts` is the one that headway.toml describes as `[accounts.portal-12]`.
* headway.toml is looked for in the working directory, then in the user's configuration directory
  ($XDG_CONFIG_HOME/headway, ~/.config/headway; %APPDATA%\headway on Windows). The first that describes the account
  counts. Directories above the working directory are not searched: where a credential comes from must be plain to see.
* A file says where a credential is (`token_env`, `token_file`, `token_command`), never the credential itself.
"""

from __future__ import annotations

import os
import re
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from headway.errors import UsageError
from headway.sources.nearest import did_you_mean

__all__ = ["AccountConfig", "Address", "config_files", "parse_destination", "parse_share", "read_account"]

FILE = "headway.toml"

_DESTINATION = re.compile(r"(?P<platform>[a-z0-9_-]+)(?:/(?P<account>[^:/\s]+))?:(?P<object>[^\s:]+)", re.IGNORECASE)
_SECRETS = ("client_secret", "refresh_token", "private_key", "api_secret")
_SETTINGS = (
    "client_id", "username", "login_url", "instance_url", "service_account_file", "measurement_id", "property",
    *(f"{name}_env" for name in _SECRETS), *(f"{name}_file" for name in _SECRETS),
)  # fmt: skip
_WAYS = ("token_env", "token_file", "token_command")


@dataclass(frozen=True, slots=True)
class Address:
    """A destination as written: platform, name of the account ('' for the default one), kind of object."""

    platform: str
    account: str
    object_type: str


@dataclass(frozen=True, slots=True)
class AccountConfig:
    """What is known of an account before the platform is asked. `where` is the file it stands in, for messages."""

    platform: str
    name: str = ""
    tier: str = ""
    share: float = 1.0
    reserve: int = 0
    time_zone: str | None = None
    base_url: str | None = None
    token_env: str | None = None
    token_file: Path | None = None
    token_command: str | tuple[str, ...] | None = None
    where: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    seats: int = 0


def parse_destination(text: str) -> Address:
    """Take `PLATFORM[/ACCOUNT]:OBJECT` apart; raises UsageError."""
    found = _DESTINATION.fullmatch(text.strip())
    if found is None:
        raise UsageError(
            f"destination {text!r}: write PLATFORM:OBJECT or PLATFORM/ACCOUNT:OBJECT, for example hubspot:contacts"
        )
    return Address(found["platform"].lower(), found["account"] or "", found["object"])


def config_files() -> tuple[Path, ...]:
    """Where headway.toml may be, nearest first."""
    if sys.platform == "win32":
        base = Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    else:
        base = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return (Path(FILE), base / "headway" / FILE)


def read_account(platform: str, name: str) -> AccountConfig:
    """The account that headway.toml describes under `[accounts.NAME]`; raises UsageError."""
    known: list[str] = []
    for path in config_files():
        accounts = _accounts(path)
        if name in accounts:
            return _checked(platform, name, accounts[name], path)
        known += accounts
    looked = " or ".join(str(path) for path in config_files())
    if not known:
        raise UsageError(f"account {name!r} is not configured: describe it as [accounts.{name}] in {looked}")
    raise UsageError(f"account {name!r} is not in {looked}{did_you_mean(name, known)}")


def parse_share(value: object, where: str) -> float:
    """A share as a number above 0 and at most 1, or as text like '80%'; raises UsageError."""
    share = value
    if isinstance(value, str):
        try:
            share = float(value.rstrip(" %")) / (100 if value.rstrip().endswith("%") else 1)
        except ValueError:
            share = None
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
        raise UsageError(f"{where}: share must be above 0 and at most 1 (or '80%'), not {value!r}")
    return float(share)


def _accounts(path: Path) -> Mapping[str, object]:
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        tables = tomllib.loads(text.decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: is not TOML: {error}") from error
    accounts = tables.get("accounts", {})
    if not isinstance(accounts, dict):
        raise UsageError(f"{path}: accounts must be tables: [accounts.NAME]")
    return accounts


def _checked(platform: str, name: str, table: object, path: Path) -> AccountConfig:
    where = f"{path}: [accounts.{name}]"
    if not isinstance(table, dict):
        raise UsageError(f"{where}: must be a table")
    _check_names(table, where)
    if str(table.get("platform", platform)).lower() != platform:
        raise UsageError(f"{where}: is an account of {table['platform']}, not of {platform}")
    reserve = table.get("reserve", 0)
    if isinstance(reserve, bool) or not isinstance(reserve, int) or reserve < 0:
        raise UsageError(f"{where}: reserve must be a whole number of calls, not {reserve!r}")
    seats = table.get("seats", 0)
    if isinstance(seats, bool) or not isinstance(seats, int) or seats < 0:
        raise UsageError(f"{where}: seats must be a whole number of licensed users, not {seats!r}")
    file = _text(table, "token_file", where)
    return AccountConfig(
        platform,
        name,
        tier=_text(table, "tier", where) or "",
        share=parse_share(table.get("share", 1.0), where),
        reserve=reserve,
        time_zone=_text(table, "time_zone", where),
        base_url=_text(table, "base_url", where),
        token_env=_text(table, "token_env", where),
        token_file=None if file is None else path.parent / Path(file).expanduser(),
        token_command=_command(table, where),
        where=where,
        settings=_settings(table, where, path),
        seats=seats,
    )


def _settings(table: Mapping[str, object], where: str, path: Path) -> Mapping[str, str]:
    """What logins need; files are looked for beside headway.toml."""
    found: dict[str, str] = {}
    for name in _SETTINGS:
        value = _text(table, name, where)
        if value is not None:
            found[name] = str(path.parent / Path(value).expanduser()) if name.endswith("_file") else value
    return found


def _check_names(table: Mapping[str, object], where: str) -> None:
    known = ("platform", "tier", "seats", "share", "reserve", "time_zone", "base_url", *_WAYS, *_SETTINGS)
    for key in table:
        if key in {"token", "api_key", "password", "secret", *_SECRETS}:
            raise UsageError(f"{where}: keep credentials out of this file: use token_env, token_file or token_command")
        if key not in known:
            raise UsageError(f"{where}: unknown setting {key!r}{did_you_mean(key, known)}")
    ways = [way for way in _WAYS if way in table]
    if len(ways) > 1:
        raise UsageError(f"{where}: give only one of {', '.join(ways)}")


def _command(table: Mapping[str, object], where: str) -> str | tuple[str, ...] | None:
    command = table.get("token_command")
    if isinstance(command, list) and command and all(isinstance(word, str) for word in command):
        return tuple(command)
    return _text(table, "token_command", where)


def _text(table: Mapping[str, object], key: str, where: str) -> str | None:
    value = table.get(key)
    if key not in table:
        return None
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"{where}: {key} must be a text, not {value!r}")
    return value
