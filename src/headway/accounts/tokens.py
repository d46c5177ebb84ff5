"""The access token of the moment: which one it is, whether it was ever accepted, when it ends. Safe under threads."""

from __future__ import annotations

import threading
import time

from headway.accounts.credentials import Credentials
from headway.accounts.logins import Token

__all__ = ["Tokens"]

_EARLY = 60.0  # a token that ends so soon is not sent any more: its call might arrive too late


class Tokens:
    """One account's token. `generation` grows with every new one, so that a late refusal of the old one is told."""

    def __init__(self, credentials: Credentials) -> None:
        self.login = credentials.login
        self.generation = 0
        self._lock = threading.Lock()
        self._value = credentials.token
        self._accepted = bool(credentials.token)
        self._ends: float | None = None

    @property
    def value(self) -> str:
        """The token; '' before the first login."""
        return self._value

    @property
    def ending(self) -> bool:
        """Whether it is about to end, by the platform's own word."""
        return self._ends is not None and time.monotonic() > self._ends

    @property
    def hopeless(self) -> bool:
        """Whether a refusal is final: there is no way to log in, or what the last login gave was never accepted."""
        return self.login is None or not self._accepted

    def accepted(self) -> None:
        """The platform took it."""
        self._accepted = True

    def renewed(self, token: Token) -> None:
        """A new one, from now on."""
        with self._lock:
            self._accepted = False
            self._value = token.value
            self.generation += 1
            self._ends = None if token.expires_in is None else time.monotonic() + max(1.0, token.expires_in - _EARLY)
