"""What an audience looks like: its merge fields, and the fields that every member has.

Source: Mailchimp Marketing API, "List Merges".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import msgspec

from headway.delivery.outcome import Rejected
from headway.delivery.records import Reply
from headway.errors import CredentialsError, MappingError, PlatformError
from headway.platforms.cached import CachedSchema
from headway.platforms.connector import RowChecker
from headway.platforms.mailchimp.account import message_of
from headway.platforms.mailchimp.members import OWN
from headway.platforms.nearest import did_you_mean

__all__ = ["AudienceSchema", "Merge"]

_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")
_STATUSES = ("subscribed", "unsubscribed", "cleaned", "pending", "transactional")
_BIRTHDAY = re.compile(r"(0?[1-9]|1[0-2])/(0?[1-9]|[12]\d|3[01])")
_DATE = re.compile(r"\d{4}-\d\d-\d\d|\d\d?/\d\d?/\d{4}")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)")
_LONGEST = 255


class Merge(msgspec.Struct, omit_defaults=True):
    """One merge field."""

    tag: str
    name: str = ""
    type: str = "text"
    required: bool = False
    choices: list[str] = []


class _Options(msgspec.Struct):
    choices: list[str] = []


class _Told(msgspec.Struct):
    tag: str
    name: str = ""
    type: str = "text"
    required: bool = False
    options: _Options | None = None


class _Merges(msgspec.Struct):
    merge_fields: list[_Told]


class AudienceSchema(CachedSchema):
    """The merge fields of one audience, by tag."""

    audience: str
    merges: dict[str, Merge]

    @classmethod
    def from_reply(cls, audience: str, reply: Reply) -> AudienceSchema:
        """Read the reply to the schema call."""
        said = message_of(reply)
        if reply.status in {401, 403}:
            raise CredentialsError(f"Mailchimp does not let this key read audience {audience}: {said}")
        if reply.status in {400, 404}:
            raise MappingError(
                f"Mailchimp knows no audience {audience!r} ({said}): look its id up in the audience's settings"
            )
        if reply.status != 200:
            raise PlatformError(f"Mailchimp did not tell the fields of {audience} (HTTP {reply.status}: {said})")
        try:
            told = msgspec.json.decode(reply.body, type=_Merges, strict=False).merge_fields
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise PlatformError(f"Mailchimp's fields of {audience} cannot be read: {error}") from error
        merges = [Merge(t.tag, t.name, t.type, t.required, t.options.choices if t.options else []) for t in told]
        return cls(audience, {each.tag: each for each in merges})

    def check_columns(self, columns: Sequence[str], key: str, mode: str) -> None:
        """Raises MappingError for the first column that is neither a member's own field nor a merge field."""
        del key
        if mode in {"archive", "delete"}:
            return
        for column in columns:
            if column in OWN or column in self.merges or column.startswith("interests."):
                continue
            labels = {tag: each.name for tag, each in self.merges.items()} | dict.fromkeys(OWN, "")
            raise MappingError(
                f"audience {self.audience} has no field {column!r}{did_you_mean(column, labels)} (map the column or "
                "leave it out)"
            )

    def row_checker(self, columns: Sequence[str]) -> RowChecker | None:
        """What says what is wrong with a row's values."""
        checks: dict[str, Callable[[str], str]] = {
            "email_address": lambda text: "" if _ADDRESS.fullmatch(text) else f"{text!r} is no e-mail address",
            "status": _one_of(_STATUSES), "status_if_new": _one_of(_STATUSES),
        }  # fmt: skip
        checks |= {tag: _check(merge) for tag, merge in self.merges.items()}
        looked = {name: checks[name] for name in columns if name in checks}

        def check(values: Mapping[str, object]) -> Rejected | None:
            for name, look in looked.items():
                value = values.get(name)
                if value is None or value == "":
                    continue
                wrong = look(str(value).strip())
                if wrong:
                    return Rejected("INVALID_VALUE", f"{name}: {wrong}")
            return None

        return check


def _one_of(known: Sequence[str]) -> Callable[[str], str]:
    return lambda text: "" if text in known else f"{text[:60]!r} is not among {', '.join(known[:8])}"


def _check(merge: Merge) -> Callable[[str], str]:
    if merge.type in {"dropdown", "radio"} and merge.choices:
        return _one_of(merge.choices)
    if merge.type == "number":
        return lambda text: "" if _NUMBER.fullmatch(text) else f"{text[:60]!r} is no number"
    if merge.type == "birthday":
        return lambda text: "" if _BIRTHDAY.fullmatch(text) else f"{text[:60]!r} is no birthday: write 12/31"
    if merge.type == "date":
        return lambda text: "" if _DATE.fullmatch(text) else f"{text[:60]!r} is no date: write 2026-11-30"
    return lambda text: "" if len(text) <= _LONGEST else f"{len(text)} characters, more than the {_LONGEST} that fit"
