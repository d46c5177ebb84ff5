"""A credential from where it is kept: environment, file or command. Its value is registered for redaction at once.

Rules:
* A plain token comes first: the platform's environment variable, or what headway.toml says of the account. One from a
  file or a command is looked up once more when the platform refuses it.
* Else what a login needs (see logins.py), from the platform's environment variables; for an account in headway.toml
  from its settings: `client_id`, `client_secret_env`, `refresh_token_file`, ….
"""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from headway import redact
from headway.accounts.config import AccountConfig
from headway.accounts.logins import (
    ClientCredentials,
    JwtBearer,
    Login,
    Measurement,
    OAuthRefresh,
    Reread,
    ServiceAccount,
)
from headway.errors import UsageError

__all__ = [
    "Credentials",
    "checked",
    "credential_hash",
    "find_credentials",
    "find_token",
    "login_credentials",
    "measurement",
    "setting",
]

_COMMAND_SECONDS = 30
_NOTHING: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Credentials:
    """What an account shows: a token, or how to log in for one. `secret` stays while tokens change.

    `base_url`: the account's own address, where the credentials tell it.
    """

    secret: str = field(repr=False)
    token: str = field(default="", repr=False)
    login: Login | None = field(default=None, repr=False)
    base_url: str = ""


def find_credentials(config: AccountConfig, names: Sequence[str]) -> Credentials:
    """The credentials of an account; `names` are the platform's variables for a plain token. Raises UsageError."""
    base_url = setting(config, "instance_url", "SALESFORCE_INSTANCE_URL") if config.platform == "salesforce" else ""
    ways = (config.token_file, config.token_command)
    plain = any(ways) or any(os.environ.get(name) for name in _variables(config, names))
    if plain:
        token = find_token(config, names)
        login: Login | None = None
        if any(ways):
            login = Reread(token, lambda: find_token(config, names))
        return Credentials(token, token, login, base_url or "")
    find = _LOGINS.get(config.platform)
    found = None if find is None else find(config)
    if found is not None:
        return Credentials(found.secret, "", found, base_url or "")
    wanted = " or ".join(_variables(config, names))
    more = _LOGIN_WORDS.get(config.platform, "")
    of = f"the account {config.name!r}" if config.name else config.platform
    raise UsageError(f"no credentials for {of}: set the environment variable {wanted}{more}")


def login_credentials(login: Login) -> Credentials:
    """Credentials that are a login."""
    return Credentials(login.secret, "", login)


def find_token(config: AccountConfig, names: Sequence[str]) -> str:
    """The plain token of an account; raises UsageError."""
    if config.token_file is not None:
        return _of_file(config.token_file, f"{config.where}: token_file")
    if config.token_command is not None:
        return checked(_ask(config), f"{config.where}: token_command")
    for name in _variables(config, names):
        if os.environ.get(name):
            return checked(os.environ[name], name)
    raise UsageError(f"no token for {config.name or config.platform}")


def _variables(config: AccountConfig, names: Sequence[str]) -> Sequence[str]:
    return (config.token_env,) if config.token_env else tuple(names)


def setting(config: AccountConfig, name: str, variable: str, *, secret: bool = False) -> str:
    """A setting of an account: from headway.toml, for the platform's default account from its variable; '' if absent.

    A secret is never in headway.toml: `NAME_env` or `NAME_file` says where it is.
    """
    found = config.settings.get(f"{name}_env") or (variable if not config.name else "")
    file = config.settings.get(f"{name}_file")
    value = config.settings.get(name) or ""
    if not value and file:
        value = _text_of(Path(file), f"{config.where}: {name}_file")
    if not value and found:
        value = os.environ.get(found, "")
    value = value.strip()
    if secret and value:
        redact.register(value)
    return value


def _hubspot(config: AccountConfig) -> Login | None:
    client = setting(config, "client_id", "HUBSPOT_CLIENT_ID")
    secret = setting(config, "client_secret", "HUBSPOT_CLIENT_SECRET", secret=True)
    refresh = setting(config, "refresh_token", "HUBSPOT_REFRESH_TOKEN", secret=True)
    return OAuthRefresh(client, secret, refresh) if client and secret and refresh else None


def _salesforce(config: AccountConfig) -> Login | None:
    client = setting(config, "client_id", "SALESFORCE_CLIENT_ID")
    secret = setting(config, "client_secret", "SALESFORCE_CLIENT_SECRET", secret=True)
    if client and secret:
        return ClientCredentials(client, secret)
    user = setting(config, "username", "SALESFORCE_USERNAME")
    key = setting(config, "private_key", "SALESFORCE_PRIVATE_KEY", secret=True)
    file = os.environ.get("SALESFORCE_PRIVATE_KEY_FILE", "") if not config.name else ""
    if not key and file:
        key = _text_of(Path(file), "SALESFORCE_PRIVATE_KEY_FILE")
    if not (client and user and key):
        return None
    audience = setting(config, "login_url", "SALESFORCE_LOGIN_URL") or "https://login.salesforce.com"
    return JwtBearer(client, user, key, audience)


def measurement(config: AccountConfig) -> Credentials | None:
    """What the Measurement Protocol asks for; None where it is not all there."""
    stream = setting(config, "measurement_id", "GA4_MEASUREMENT_ID")
    secret = setting(config, "api_secret", "GA4_API_SECRET", secret=True)
    return login_credentials(Measurement(stream, secret)) if stream and secret else None


def _google(config: AccountConfig) -> Login | None:
    file = config.settings.get("service_account_file", "")
    if not file and not config.name:
        file = os.environ.get("GA4_SERVICE_ACCOUNT_FILE") or os.environ.get("GOOGLE_APPLICATION_CREDENTIALS") or ""
    return ServiceAccount.from_file(file) if file else None


_LOGINS: Mapping[str, Callable[[AccountConfig], Login | None]] = {
    "hubspot": _hubspot, "salesforce": _salesforce, "ga4": _google,
}  # fmt: skip
_LOGIN_WORDS = {
    "hubspot": ", or HUBSPOT_CLIENT_ID, HUBSPOT_CLIENT_SECRET and HUBSPOT_REFRESH_TOKEN",
    "salesforce": (
        ", or SALESFORCE_CLIENT_ID with SALESFORCE_CLIENT_SECRET, or with SALESFORCE_USERNAME and "
        "SALESFORCE_PRIVATE_KEY_FILE"
    ),
    "ga4": " or GA4_SERVICE_ACCOUNT_FILE (reports), GA4_MEASUREMENT_ID and GA4_API_SECRET (events)",
}


def checked(token: str, where: str) -> str:
    """A token that can travel in a header, remembered for redaction; raises UsageError without showing it."""
    token = token.strip()
    if not token:
        raise UsageError(f"{where}: is empty: it should hold the access token")
    redact.register(token)
    if not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError(f"{where}: holds characters that no access token has (a line break, a blank, an accent)")
    return token


def credential_hash(token: str) -> str:
    """What stands for a credential in shared state: keyed, so that it can be compared but not looked up."""
    return hashlib.blake2b(token.encode(), digest_size=12, key=b"headway credential").hexdigest()


def _of_file(path: Path, where: str) -> str:
    return checked(_text_of(path, where), str(path))


def _text_of(path: Path, where: str) -> str:
    try:
        return path.expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{where} {path} cannot be read: {error}") from error


def _ask(config: AccountConfig) -> str:
    command = config.token_command
    assert command is not None
    words = shlex.split(command) if isinstance(command, str) else list(command)
    try:
        done = subprocess.run(  # the user's own configuration names it
            words, capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        raise UsageError(f"{config.where}: token_command could not be run: {type(error).__name__}") from error
    if done.returncode != 0:
        raise UsageError(
            f"{config.where}: token_command ended with {done.returncode}: {redact.text(done.stderr.strip()[-200:])}"
        )
    return done.stdout
