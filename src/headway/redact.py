"""Secrets kept out of errors, notes and stored attempts: by the name they stand under, and by their value.

Rules:
* Whoever obtains a credential registers its value; from then on `text` never lets it through, wherever it stands.
* What stands under a name of a secret (`Authorization: …`, `"access_token": "…"`, `?hapikey=…`) goes as well.
* Redaction is for text that people read; it never touches a payload.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote

__all__ = ["MASK", "headers", "is_secret_name", "register", "text"]

MASK = "[redacted]"

_SHORTEST = 6  # a shorter "secret" would blank half of every message
_NAME = (
    r"(?:proxy-)?authorization|set-cookie|cookie|x-api-key|api[-_]?key|hapikey|api[-_]?secret|client[-_]?secret"
    r"|(?:[a-z]+[-_])?(?:token|password|passwd)|secret"
)
_SECRET_NAME = re.compile(_NAME, re.IGNORECASE)
_NAMED = re.compile(
    rf"""(?P<before>(?<![\w-])["']?(?:{_NAME})["']?\s*[:=]\s*)"""
    r"""(?P<value>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|(?:(?:bearer|basic|token)\s+)?[^\s"'&,;}\])]+)""",
    re.IGNORECASE,
)
_BEARER = re.compile(r"\b(?P<scheme>bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)
_USERINFO = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://)(?P<user>[^\s/:@]*):[^\s/@]+@", re.IGNORECASE)

_registered: dict[str, None] = {}


def register(*secrets: str) -> None:
    """Remember values that must never be shown; values of less than six characters are left out."""
    for secret in secrets:
        for form in (secret, quote(secret, safe="")):
            if len(form) >= _SHORTEST:
                _registered[form] = None


def is_secret_name(name: str) -> bool:
    """Whether what stands under this name is a secret."""
    return _SECRET_NAME.fullmatch(name) is not None


def text(value: object) -> str:
    """`str(value)` without secrets."""
    shown = str(value)
    for secret in _registered:
        if secret in shown:
            shown = shown.replace(secret, MASK)
    if ":" not in shown and "=" not in shown and "earer" not in shown:
        return shown
    shown = _USERINFO.sub(rf"\g<scheme>\g<user>:{MASK}@", shown)
    shown = _NAMED.sub(_masked, shown)
    return _BEARER.sub(rf"\g<scheme> {MASK}", shown)


def headers(fields: Mapping[str, str]) -> dict[str, str]:
    """Header fields as they may be shown."""
    return {name: MASK if is_secret_name(name) else text(value) for name, value in fields.items()}


def _masked(match: re.Match[str]) -> str:
    value = match["value"]
    quotes = value[0] if value[0] in "\"'" else ""
    return f"{match['before']}{quotes}{MASK}{quotes}"
