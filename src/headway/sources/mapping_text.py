"""The text of `--map`, taken apart: `name = expression` items, parted by commas that no bracket or quote encloses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from headway.errors import MappingError

__all__ = ["Item", "Star", "items", "literal", "plain_name"]

_BARE = re.compile(r"[^\W\d]\w*")
_TARGET = re.compile(r'\s*(?:"((?:[^"]|"")+)"|([\w.:$@-]+))\s*', re.UNICODE)
_STRING = re.compile(r"'((?:[^']|'')*)'")
_QUOTED = re.compile(r'"((?:[^"]|"")+)"')
_INTEGER = re.compile(r"-?(?:0|[1-9]\d{0,8})")
_OPEN = {"(": ")", "[": "]", "{": "}"}
_WORDS: dict[str, object] = {"null": None, "true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Item:
    """One `name = expression` as written; `email` alone is `email = email`."""

    name: str
    expression: str


@dataclass(frozen=True, slots=True)
class Star:
    """`*`: the columns that no other item uses, under their own names."""


def items(text: str) -> list[Item | Star]:
    """Take the text of `--map` apart; raises MappingError that shows where it cannot be read."""
    found: list[Item | Star] = []
    for piece in _pieces(text):
        stripped = piece.strip()
        if not stripped:
            raise MappingError(f"--map: an item is empty in {text.strip()!r}: remove the comma that is too many")
        found.append(Star() if stripped == "*" else _item(stripped))
    _refuse_twice(found)
    return found


def plain_name(expression: str) -> str | None:
    """The column that an expression names, if it does nothing else: `email`, `"E-Mail"`."""
    quoted = _QUOTED.fullmatch(expression)
    if quoted:
        return quoted[1].replace('""', '"')
    bare = _BARE.fullmatch(expression)
    return expression if bare and expression.lower() not in _WORDS else None


def literal(expression: str) -> tuple[object] | None:
    """The value of a text, a short whole number, true, false or null, in a tuple of its own; else None."""
    text = _STRING.fullmatch(expression)
    if text:
        return (text[1].replace("''", "'"),)
    if _INTEGER.fullmatch(expression):
        return (int(expression),)
    return (_WORDS[expression.lower()],) if expression.lower() in _WORDS else None


def _item(piece: str) -> Item:
    target = _TARGET.match(piece)
    if target is None:
        raise MappingError(f"--map: {piece!r} does not begin with a property's name: write name=expression")
    name = target[1].replace('""', '"') if target[1] else target[2]
    rest = piece[target.end() :]
    if not rest:
        return Item(name, piece)
    if not rest.startswith("=") or rest.startswith("=="):
        raise MappingError(f"--map: {piece!r} is not name=expression: put = after the property's name {name!r}")
    if not rest[1:].strip():
        raise MappingError(f"--map: {name!r} has no expression: write {name}=column, or remove it")
    return Item(name, rest[1:].strip())


def _refuse_twice(found: list[Item | Star]) -> None:
    seen: set[str] = set()
    for item in found:
        name = "*" if isinstance(item, Star) else item.name
        if name in seen:
            raise MappingError(f"--map: {name!r} occurs twice: remove one")
        seen.add(name)


def _pieces(text: str) -> Iterator[str]:
    """The text between top-level commas; what stands in quotes or brackets is passed over."""
    awaited: list[str] = []
    start = at = 0
    while at < len(text):
        character = text[at]
        if character in "'\"":
            at = _after_quote(text, at)
            continue
        if character in _OPEN:
            awaited.append(_OPEN[character])
        elif awaited and character == awaited[-1]:
            awaited.pop()
        elif character in ")]}":
            raise MappingError(f"--map: {character!r} at character {at + 1} of {text!r} closes nothing")
        elif character == "," and not awaited:
            yield text[start:at]
            start = at + 1
        at += 1
    if awaited:
        raise MappingError(f"--map: {awaited[-1]!r} is missing in {text!r}")
    yield text[start:]


def _after_quote(text: str, at: int) -> int:
    """Where a quoted text ends; a doubled quote inside is part of it."""
    quote, start = text[at], at
    at += 1
    while at < len(text):
        if text[at] == quote:
            if text[at + 1 : at + 2] != quote:
                return at + 1
            at += 1
        at += 1
    raise MappingError(f"--map: the quote at character {start + 1} of {text!r} is not closed")
