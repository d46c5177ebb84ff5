"""A credential from where it is kept: environment, file or command. Its value is registered for redaction at once."""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
from collections.abc import Sequence

from headway import redact
from headway.accounts.config import AccountConfig
from headway.errors import UsageError

__all__ = ["checked", "credential_hash", "find_credential"]

_COMMAND_SECONDS = 30


def find_credential(config: AccountConfig, names: Sequence[str]) -> str:
    """The credential of an account; `names` are the platform's environment variables. Raises UsageError."""
    if config.token_file is not None:
        try:
            return checked(config.token_file.read_text(encoding="utf-8"), str(config.token_file))
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{config.where}: token_file {config.token_file} cannot be read: {error}") from error
    if config.token_command is not None:
        return checked(_ask(config), f"{config.where}: token_command")
    wanted = (config.token_env,) if config.token_env else tuple(names)
    for name in wanted:
        if os.environ.get(name):
            return checked(os.environ[name], name)
    of = f"the account {config.name!r}" if config.name else config.platform
    raise UsageError(f"no credentials for {of}: set the environment variable {' or '.join(wanted)}")


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
