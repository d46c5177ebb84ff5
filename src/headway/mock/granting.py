"""Access tokens of a mock: issued for client credentials, refresh tokens or signed assertions; they end by the clock.

Sources: RFC 6749 sections 4.4, 5 and 6; RFC 7523.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headway.mock.clock import SECOND, Clock
from headway.mock.replies import MockReply

__all__ = ["Granting"]

_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


class Granting:
    """The tokens of one platform.

    `clients`: id → secret; `refresh`: refresh token → client id; `keys`: who signs (iss) → public key in PEM. `ttl`:
    seconds that a token is good for. `only_issued`: no other token is accepted.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        clients: Mapping[str, str] | None = None,
        refresh: Mapping[str, str] | None = None,
        keys: Mapping[str, str] | None = None,
        ttl: float | None = None,
        only_issued: bool = False,
        tell_ttl: bool = True,
    ) -> None:
        self._clock = clock
        self._clients = dict(clients or {})
        self._refresh = dict(refresh or {})
        self._keys = dict(keys or {})
        self._ttl = ttl
        self._only_issued = only_issued
        self._tell_ttl = tell_ttl
        self._issued: dict[str, int | None] = {}
        self.revoked: set[str] = set()
        self.refusing = False  # every login is refused
        self.logins = 0

    def good(self, token: str) -> bool:
        """Whether a call with this token is accepted."""
        if not token or token in self.revoked:
            return False
        if token in self._issued:
            ends = self._issued[token]
            return ends is None or self._clock.monotonic() < ends
        return not self._only_issued

    def expire(self) -> None:
        """Every token that was issued so far ends now."""
        self._issued = dict.fromkeys(self._issued, 0)

    def act(self, name: str, query: dict[str, str], said: Any) -> MockReply:
        """The admin's: {"revoke": "…"} | {"accept": "…"}."""
        del name, query
        if "revoke" in said:
            self.revoked.add(str(said["revoke"]))
        if "accept" in said:
            self.revoked.discard(str(said["accept"]))
        return MockReply(200, {"revoked": len(self.revoked)})

    def act_expire(self, name: str, query: dict[str, str], said: Any) -> MockReply:
        """The admin's: every token that was issued ends now."""
        del name, query, said
        self.expire()
        return MockReply(200, {})

    def ask(self, form: Mapping[str, str], more: Mapping[str, str] | None = None) -> MockReply:
        """A request for a token."""
        wrong = self._wrong(form)
        if self.refusing:
            wrong = "invalid_grant"
        if wrong:
            return MockReply(400, {"error": wrong, "error_description": _WORDS[wrong]})
        self.logins += 1
        token = f"issued-token-{self.logins:06d}"
        self._issued[token] = None if self._ttl is None else self._clock.monotonic() + round(self._ttl * SECOND)
        body: dict[str, object] = {"access_token": token, "token_type": "Bearer"}
        if self._tell_ttl and self._ttl is not None:
            body["expires_in"] = int(self._ttl)
        return MockReply(200, body | dict(more or {}))

    def _wrong(self, form: Mapping[str, str]) -> str:
        grant = form.get("grant_type")
        if grant == _BEARER:
            return self._wrong_assertion(form.get("assertion", ""))
        if self._clients.get(form.get("client_id", "")) != form.get("client_secret") or not form.get("client_secret"):
            return "invalid_client"
        if grant == "client_credentials":
            return ""
        if grant == "refresh_token":
            owner = self._refresh.get(form.get("refresh_token", ""))
            return "" if owner == form.get("client_id") else "invalid_grant"
        return "unsupported_grant_type"

    def _wrong_assertion(self, assertion: str) -> str:
        import jwt

        try:
            claims = jwt.decode(assertion, options={"verify_signature": False})
            key = self._keys.get(str(claims.get("iss")))
            if key is None:
                return "invalid_client"
            # The clock that decides is the mock's: it may have been advanced.
            jwt.decode(assertion, key, algorithms=["RS256"], options={"verify_aud": False, "verify_exp": False})
        except jwt.PyJWTError:
            return "invalid_grant"
        ends = claims.get("exp")
        fine = isinstance(ends, int | float) and self._clock.wall() / SECOND < ends
        return "" if fine else "invalid_grant"


_WORDS = {
    "invalid_client": "invalid client credentials",
    "invalid_grant": "the grant is expired, revoked or malformed",
    "unsupported_grant_type": "grant type not supported",
}
