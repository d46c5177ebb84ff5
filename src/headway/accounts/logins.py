"""How an account comes by a new access token when the old one has expired: OAuth, signed assertions, a look at a file.

Pure but for the signing: each login says the call to make and reads its reply. Sources: RFC 6749 sections 4.4 and 6
(client credentials, refresh), RFC 7523 (JWT bearer); HubSpot "OAuth", Salesforce "OAuth 2.0 JWT Bearer Flow" and
"Client Credentials Flow", Google "Using OAuth 2.0 for Server to Server Applications". Secrets are registered for
redaction when a login is made, and none is shown by `repr`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlencode

from headway import redact
from headway.delivery.records import Call, Reply
from headway.errors import CredentialsError, PlatformError, UsageError

__all__ = [
    "ClientCredentials",
    "JwtBearer",
    "Login",
    "Measurement",
    "OAuthRefresh",
    "Reread",
    "ServiceAccount",
    "Token",
]

_FORM = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_REFUSED = frozenset({400, 401, 403})
_ANALYTICS = "https://www.googleapis.com/auth/analytics.readonly"


@dataclass(frozen=True, slots=True)
class Token:
    """An access token, and for how many seconds it is good, as far as the platform says."""

    value: str = field(repr=False)
    expires_in: float | None = None


class Login(Protocol):
    """How to get a token. `secret` is what does not change when tokens do; its hash stands for the account."""

    @property
    def secret(self) -> str:
        """What the account is known by, secretly."""

    def call(self, wall: float) -> Call | None:
        """The call that asks for a token, at `wall` in Unix seconds; None where no call is needed."""

    def token(self, reply: Reply | None) -> Token:
        """The token in the reply; CredentialsError if it was refused, PlatformError if the reply makes no sense."""


def _form(path: str, url: str, **fields: str) -> Call:
    return Call("POST", path, urlencode(fields).encode(), _FORM, url=url, timeout=30.0)


def _read(reply: Reply | None, who: str) -> Token:
    assert reply is not None
    said = _object(reply.body)
    value = said.get("access_token")
    if reply.status == 200 and isinstance(value, str) and value:
        redact.register(value)
        expires = said.get("expires_in")
        known = isinstance(expires, int | float) and not isinstance(expires, bool) and 0 < expires < 1e7
        return Token(value, float(expires) if known and expires is not None else None)
    words = (said.get(name) for name in ("error_description", "message", "error", "status"))
    message = redact.text(next((str(each) for each in words if each), f"HTTP {reply.status}"))[:300]
    if reply.status in _REFUSED:
        raise CredentialsError(f"{who} refuses a new access token: {message}; check the credentials, then resume")
    raise PlatformError(f"{who} gave no access token (HTTP {reply.status}: {message}); try again later")


def _object(body: bytes) -> dict[str, Any]:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


@dataclass(frozen=True, slots=True)
class OAuthRefresh:
    """HubSpot's OAuth: a refresh token, which stays, buys access tokens of 30 minutes (RFC 6749 section 6)."""

    client_id: str
    client_secret: str = field(repr=False)
    refresh_token: str = field(repr=False)
    path: str = "/oauth/v1/token"

    def __post_init__(self) -> None:
        _registered(self, "client_id", "client_secret", "refresh_token")

    @property
    def secret(self) -> str:
        """The refresh token: it belongs to one account and one app."""
        return f"{self.client_id}|{self.refresh_token}"

    def call(self, wall: float) -> Call:
        """Asks for a token."""
        del wall
        return _form(
            self.path, "", grant_type="refresh_token", client_id=self.client_id, client_secret=self.client_secret,
            refresh_token=self.refresh_token,
        )  # fmt: skip

    def token(self, reply: Reply | None) -> Token:
        """See `Login`."""
        return _read(reply, "HubSpot")


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """Salesforce's client credentials flow, at the org's own address (RFC 6749 section 4.4)."""

    client_id: str
    client_secret: str = field(repr=False)
    path: str = "/services/oauth2/token"

    def __post_init__(self) -> None:
        _registered(self, "client_id", "client_secret")

    @property
    def secret(self) -> str:
        """Client id and secret."""
        return f"{self.client_id}|{self.client_secret}"

    def call(self, wall: float) -> Call:
        """Asks for a token."""
        del wall
        fields = {"client_id": self.client_id, "client_secret": self.client_secret}
        return _form(self.path, "", grant_type="client_credentials", **fields)

    def token(self, reply: Reply | None) -> Token:
        """See `Login`."""
        return _read(reply, "Salesforce")


@dataclass(frozen=True, slots=True)
class JwtBearer:
    """Salesforce's JWT bearer flow: an assertion signed with the connected app's private key (RS256; RFC 7523).

    `private_key` in PEM; `audience`: https://login.salesforce.com, or https://test.salesforce.com for sandboxes. Needs
    PyJWT (pip install headway[salesforce]).
    """

    client_id: str
    username: str
    private_key: str = field(repr=False)
    audience: str = "https://login.salesforce.com"
    path: str = "/services/oauth2/token"

    def __post_init__(self) -> None:
        _registered(self, "client_id", "username", "private_key", register=("private_key",))

    @property
    def secret(self) -> str:
        """Who logs in, and with which key."""
        return f"{self.client_id}|{self.username}|{self.private_key}"

    def call(self, wall: float) -> Call:
        """Asks for a token with an assertion that is good for three minutes."""
        claims = {"iss": self.client_id, "sub": self.username, "aud": self.audience, "exp": int(wall) + 180}
        assertion = _signed(claims, self.private_key, "salesforce")
        return _form(self.path, "", grant_type=_BEARER, assertion=assertion)

    def token(self, reply: Reply | None) -> Token:
        """See `Login`."""
        return _read(reply, "Salesforce")


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """A Google service account: an assertion signed with its key buys tokens of an hour (RFC 7523).

    Needs PyJWT (pip install headway[google]).
    """

    client_email: str
    private_key: str = field(repr=False)
    token_uri: str = "https://oauth2.googleapis.com/token"  # noqa: S105  # an address
    key_id: str = ""
    scope: str = _ANALYTICS

    def __post_init__(self) -> None:
        _registered(self, "client_email", "private_key", register=("private_key",))

    @classmethod
    def from_file(cls, path: str | Path) -> ServiceAccount:
        """From the JSON file that Google Cloud hands out; raises UsageError."""
        try:
            said = json.loads(Path(path).expanduser().read_text(encoding="utf-8"))
            return cls(
                said["client_email"], said["private_key"], said["token_uri"], str(said.get("private_key_id", ""))
            )
        except OSError as error:
            raise UsageError(f"service account {path}: cannot be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"service account {path}: is no service account's JSON key (client_email, private_key, token_uri)"
            ) from error

    @property
    def secret(self) -> str:
        """Who logs in, and with which key."""
        return f"{self.client_email}|{self.private_key}"

    def call(self, wall: float) -> Call:
        """Asks for a token."""
        now = int(wall)
        claims = {"iss": self.client_email, "scope": self.scope, "aud": self.token_uri, "iat": now, "exp": now + 3600}
        assertion = _signed(claims, self.private_key, "google", self.key_id)
        return _form("", self.token_uri, grant_type=_BEARER, assertion=assertion)

    def token(self, reply: Reply | None) -> Token:
        """See `Login`."""
        return _read(reply, "Google")


@dataclass(frozen=True, slots=True)
class Measurement:
    """A Google Analytics data stream: its measurement id and a Measurement Protocol API secret. Nothing to renew."""

    measurement_id: str
    api_secret: str = field(repr=False)

    def __post_init__(self) -> None:
        _registered(self, "measurement_id", "api_secret")

    @property
    def secret(self) -> str:
        """Id and secret."""
        return f"{self.measurement_id}|{self.api_secret}"

    @property
    def query(self) -> str:
        """What goes with every call, in its address: never to be shown."""
        name = "firebase_app_id" if ":" in self.measurement_id else "measurement_id"
        return urlencode({name: self.measurement_id, "api_secret": self.api_secret})

    def call(self, wall: float) -> None:
        """No call is needed."""
        del wall

    def token(self, reply: Reply | None) -> Token:
        """There is none."""
        del reply
        raise CredentialsError("Google Analytics refuses the measurement id or the API secret")


@dataclass(frozen=True, slots=True)
class Reread:
    """A token from a file or a command: looked up once more when the platform refuses the one that was there."""

    first: str = field(repr=False)
    look: Callable[[], str] = field(repr=False)

    @property
    def secret(self) -> str:
        """The token that was there first."""
        return self.first

    def call(self, wall: float) -> None:
        """No call is needed."""
        del wall

    def token(self, reply: Reply | None) -> Token:
        """What is there now; CredentialsError if it is what was refused, or cannot be read."""
        del reply
        try:
            found = self.look()
        except UsageError as error:
            raise CredentialsError(f"the token was refused, and no other is to be had: {error}") from error
        return Token(found)


def _signed(claims: Mapping[str, object], key: str, extra: str, key_id: str = "") -> str:
    try:
        import jwt
    except ImportError as error:
        raise UsageError(f"signing in with a key needs PyJWT: pip install 'headway[{extra}]'") from error
    try:
        return jwt.encode(dict(claims), key, algorithm="RS256", headers={"kid": key_id} if key_id else None)
    except (ValueError, TypeError, jwt.PyJWTError) as error:
        raise UsageError(f"the private key cannot sign ({type(error).__name__}): it must be RSA, in PEM") from error


def _registered(login: object, *names: str, register: tuple[str, ...] | None = None) -> None:
    for name in names:
        value = getattr(login, name)
        if not isinstance(value, str) or not value.strip():
            raise UsageError(f"{type(login).__name__}: {name} is empty")
        if name in (register if register is not None else names[1:]):
            redact.register(value.strip())
