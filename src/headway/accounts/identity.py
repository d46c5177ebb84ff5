"""Whose account a credential belongs to: one answer for runs and for the library.

Rules:
* An identity is what the platform said (or the user), never less. It is remembered beside the limits' state, under
  the credential's hash and the base URL, for a day; after that it is asked for again, and used where the platform does
  not answer: whose account it is does not change.
* Until the platform has told, the credential's hash stands in for the account in the keys of shared limits, so that
  nothing is unlimited. A stand-in is neither remembered nor kept with a run; the limits move over when the platform
  tells.
* A platform that did not tell is asked again before a later call: after 1 s, then twice as long, at most 15 minutes.
* The call that asks takes a permit like any other.

`identify` asks with the standard library alone, for clients of the user's; a run asks within its event loop
(link.py). Both recall, read and remember here.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headway.adapters.attempts import taught
from headway.delivery.records import Call, Reply
from headway.errors import HeadwayError
from headway.limits.ticket import chosen
from headway.platforms.connector import Identity
from headway.urls import open_url

if TYPE_CHECKING:
    from headway.accounts.account import Account

__all__ = ["Asking", "Known", "identify", "is_stand_in", "recall", "remember", "stand_in"]

_AGE = 86_400.0  # an account may move its midnight to another zone
_SECONDS = 15.0
_MOST = 1000
_FIRST, _LONGEST = 1.0, 900.0
_STAND_IN = "key-"


def stand_in(credential: str) -> str:
    """What stands for the account of a credential, given as its hash, while nobody has told whose it is."""
    return f"{_STAND_IN}{credential}"


def is_stand_in(account_id: str) -> bool:
    """Whether this is no identity: runs of earlier versions kept stand-ins."""
    return account_id.startswith(_STAND_IN)


@dataclass(frozen=True, slots=True)
class Known:
    """What a platform said of an account; `fresh` if that was within a day."""

    identity: Identity
    fresh: bool


class Asking:
    """When to ask a platform that did not tell whose account it is. Instants are monotonic seconds."""

    __slots__ = ("_again", "failures")

    def __init__(self) -> None:
        self.failures = 0
        self._again = 0.0

    def due(self, now: float) -> bool:
        """Whether to ask, now that a call is about to go out."""
        return not self.failures or now >= self._again

    def failed(self, now: float) -> float:
        """It did not tell; returns the seconds until it is asked again."""
        wait = min(_LONGEST, _FIRST * 2.0 ** min(self.failures, 20))
        self.failures += 1
        self._again = now + wait
        return wait


# -- what was told before


def recall(account: Account) -> Known | None:
    """What the platform said of this account, as remembered beside the limits' state; None if nothing is."""
    found = _read(_place(account.state)).get(_key(account))
    if found is None:
        return None
    at, who, zone, kind = found
    return Known(Identity(who, zone, kind), 0 <= time.time() - at < _AGE)


def remember(account: Account, said: Identity) -> None:
    """Keep what the platform said. Best effort: without it the platform is asked again."""
    place = _place(account.state)
    known = _read(place)
    known[_key(account)] = (time.time(), said.account_id, said.time_zone, said.kind)
    kept = dict(sorted(known.items(), key=lambda entry: entry[1][0])[-_MOST:])
    with suppress(OSError):
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=place.parent, prefix=place.name)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(kept, file)
        Path(name).replace(place)


def _key(account: Account) -> str:
    return hashlib.sha256(f"{account.platform}|{account.base_url}|{account.credential}".encode()).hexdigest()


def _place(state: str) -> Path:
    """The file beside the limits' state."""
    path = open_url(state, "state").path.expanduser()
    return path.with_name(path.name + ".identities.json")


def _read(place: Path) -> dict[str, tuple[float, str, str, str]]:
    try:
        said = json.loads(place.read_text(encoding="utf-8"))
        return {str(key): (float(at), str(who), str(zone), str(kind)) for key, (at, who, zone, kind) in said.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


# -- asking with the standard library


def identify(account: Account) -> Identity:
    """Whose account it is: as remembered, else as the platform says. Blocks.

    Raises HeadwayError if the platform cannot be asked or does not tell, and nothing is remembered.
    """
    known = recall(account)
    if known is not None and known.fresh:
        return known.identity
    try:
        found = _ask(account)
    except HeadwayError:
        if known is None:
            raise
        return known.identity
    except (OSError, ValueError, http.client.HTTPException) as error:
        if known is None:
            raise HeadwayError(f"{account.name}: no answer ({type(error).__name__})") from error
        return known.identity
    remember(account, found)
    return found


def _ask(account: Account) -> Identity:
    """One call, and a second where the first was refused for its rate."""
    if not account.tokens.value:
        _sign_in(account)
    call = account.identifier.call()
    limiter = account.limiter
    for _ in range(2):
        asked = account.ask(call.method, call.path)
        with limiter.permit(asked.cost, priority="interactive", timeout=60.0, limits=chosen(asked.limits)) as permit:
            reply = _send(call, account.base_url + call.path, account.headers)
            heard = account.tell(asked, reply.status, reply.headers, reply.body)
            if taught(permit, reply.status, reply.headers, heard) is None:
                break
    return account.identifier.read(reply)


def _sign_in(account: Account) -> None:
    """The first token of an account that logs in."""
    login = account.tokens.login
    assert login is not None
    call = login.call(time.time())
    reply = None
    if call is not None:
        reply = _send(call, call.url or account.base_url + call.path, call.headers)
    account.tokens.renewed(login.token(reply))


def _send(call: Call, url: str, headers: Mapping[str, str]) -> Reply:
    request = urllib.request.Request(  # noqa: S310  # the base URL was checked: http or https
        url, data=call.body, headers=dict(headers), method=call.method
    )
    started = time.perf_counter()
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as response:  # noqa: S310
            status, fields, body = response.status, response.headers, response.read(1 << 20)
    except urllib.error.HTTPError as error:
        with error:
            status, fields, body = error.code, error.headers, error.read(1 << 20)
    return Reply(
        status,
        {name.lower(): value for name, value in fields.items()},
        body,
        time.perf_counter() - started,
        time.time_ns(),
    )
