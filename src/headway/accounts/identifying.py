"""Who we are, for the library: asked once with the standard library alone, then remembered beside the limits' state.

Rules:
* What the platform said of itself is remembered under the credential's hash and the base URL, for a day.
* The call that asks takes a permit like any other.
* A platform that cannot be asked, or does not answer, leaves the credential's hash to stand in; nothing is unlimited.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from headway.adapters.attempts import taught
from headway.delivery.records import Reply
from headway.errors import HeadwayError
from headway.platforms.connector import Identity
from headway.urls import open_url

if TYPE_CHECKING:
    from headway.accounts.account import Account

__all__ = ["identify", "stand_in"]

_AGE = 86_400.0
_SECONDS = 15.0
_MOST = 1000


def stand_in(credential: str) -> Identity:
    """The identity of an account of which nothing but its credential's hash is known."""
    return Identity(f"key-{credential}", "UTC")


def identify(account: Account) -> Identity:
    """Who the account is: as remembered, else as the platform says, else its credential's hash."""
    if not account.identifiable:
        return stand_in(account.credential)
    place = _place(account.state)
    key = hashlib.sha256(f"{account.platform}|{account.base_url}|{account.credential}".encode()).hexdigest()
    known = _read(place).get(key)
    if known is not None and time.time() - known[0] < _AGE:
        return Identity(known[1], known[2], known[3])
    try:
        found = _ask(account)
    except (HeadwayError, OSError, ValueError):
        return stand_in(account.credential) if known is None else Identity(known[1], known[2], known[3])
    _remember(place, key, found)
    return found


def _ask(account: Account) -> Identity:
    """One call, and a second where the first was refused for its rate."""
    if not account.tokens.value:
        _sign_in(account)
    call = account.identifier.call()
    limiter = account.limiter
    url = account.base_url + call.path
    request = urllib.request.Request(url, headers=account.headers, method=call.method)  # noqa: S310  # checked http(s)
    for _ in range(2):
        asked = account.ask(call.method, call.path)
        with limiter.permit(asked.cost, priority="interactive", timeout=60.0, limits=asked.limits) as permit:
            reply = _send(request)
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
        url = call.url or account.base_url + call.path
        asked = urllib.request.Request(url, data=call.body, headers=dict(call.headers), method=call.method)  # noqa: S310
        reply = _send(asked)
    account.tokens.renewed(login.token(reply))


def _send(request: urllib.request.Request) -> Reply:
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


def _place(state: str) -> Path:
    path = open_url(state, "state").path.expanduser()
    return path.with_name(path.name + ".identities.json")


def _read(place: Path) -> dict[str, tuple[float, str, str, str]]:
    try:
        said = json.loads(place.read_text(encoding="utf-8"))
        return {str(key): (float(at), str(who), str(zone), str(kind)) for key, (at, who, zone, kind) in said.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _remember(place: Path, key: str, found: Identity) -> None:
    """Best effort: without it the platform is asked again."""
    known = _read(place)
    known[key] = (time.time(), found.account_id, found.time_zone, found.kind)
    kept = dict(sorted(known.items(), key=lambda entry: entry[1][0])[-_MOST:])
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=place.parent, prefix=place.name)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(kept, file)
        Path(name).replace(place)
