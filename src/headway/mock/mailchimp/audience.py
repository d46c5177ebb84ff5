"""The members of one audience, and what is wrong with one. Source: Mailchimp Marketing API, "List Members"."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Mapping
from typing import Any

from headway.mock.mailchimp.config import Audience, MailchimpConfig, MergeField
from headway.mock.replies import MockReply

__all__ = ["Members", "problem"]

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")
_STATUSES = frozenset({"subscribed", "unsubscribed", "cleaned", "pending", "transactional"})
_BIRTHDAY = re.compile(r"(0?[1-9]|1[0-2])/(0?[1-9]|[12]\d|3[01])")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
_TYPE = "https://mailchimp.com/developer/marketing/docs/errors/"
_numbers = iter(range(1, 1 << 62))


def problem(status: int, title: str, detail: str, errors: list[dict[str, str]] | None = None) -> MockReply:
    """An error as Mailchimp words it (RFC 9457)."""
    instance = str(uuid.UUID(int=next(_numbers)))
    body: dict[str, Any] = {"type": _TYPE, "title": title, "status": status, "detail": detail, "instance": instance}
    if errors:
        body["errors"] = errors
    return MockReply(status, body, {"content-type": "application/problem+json; charset=utf-8"})


class Members:
    """One audience."""

    def __init__(self, made: Audience, config: MailchimpConfig) -> None:
        self.made = made
        self.rows: dict[str, dict[str, Any]] = {}
        self.written: dict[str, int] = {}
        self.unknown_tags = 0
        self._config = config
        self._poison = {each.lower(): words for each, words in config.poison.items()}
        self._compliance = {each.lower() for each in config.compliance}
        self._fields = {each.tag: each for each in made.merge_fields}

    def merge_fields(self) -> list[dict[str, Any]]:
        """As the API tells them."""
        return [
            {"merge_id": number, "tag": each.tag, "name": each.name, "type": each.type, "required": each.required,
             "options": {"choices": list(each.choices)} if each.choices else {}}
            for number, each in enumerate(self.made.merge_fields, 1)
        ]  # fmt: skip

    # -- one member

    def put(self, member_hash: str, said: Mapping[str, Any]) -> MockReply:
        """Write one, whether it is there or not."""
        address = str(said.get("email_address") or "")
        there = self.rows.get(member_hash)
        if there is None and member_hash != _hash(address):
            return problem(404, "Resource Not Found", "The requested resource could not be found.")
        status = said.get("status") or ("" if there is not None else said.get("status_if_new"))
        if there is None and not status:
            return _invalid([("status_if_new", "Data did not match any of the schemas described in anyOf.")])
        wrong = self._wrong(address or str(there["email_address"] if there else ""), said, str(status or "subscribed"))
        return wrong or MockReply(200, self._write(member_hash, said, str(status or "")), records=1)

    def post(self, said: Mapping[str, Any]) -> MockReply:
        """A new one."""
        address = str(said.get("email_address") or "")
        member_hash = _hash(address)
        if member_hash in self.rows:
            return problem(
                400, "Member Exists", f"{address} is already a list member. Use PUT to insert or update list members."
            )
        status = str(said.get("status") or "")
        wrong = self._wrong(address, said, status)
        return wrong or MockReply(200, self._write(member_hash, said, status), records=1)

    def patch(self, member_hash: str, said: Mapping[str, Any]) -> MockReply:
        """Change one that is there."""
        there = self.rows.get(member_hash)
        if there is None:
            return problem(404, "Resource Not Found", "The requested resource could not be found.")
        wrong = self._wrong(there["email_address"], said, str(said.get("status") or "subscribed"))
        return wrong or MockReply(200, self._write(member_hash, said, str(said.get("status") or "")), records=1)

    def remove(self, member_hash: str) -> MockReply:
        """Archive or delete one."""
        if self.rows.pop(member_hash, None) is None:
            return problem(404, "Resource Not Found", "The requested resource could not be found.")
        return MockReply(204, None, records=1)

    # -- many

    def subscribe(self, said: Mapping[str, Any]) -> MockReply:
        """POST /lists/{id}: 200 whatever becomes of each."""
        rows = said.get("members")
        if not isinstance(rows, list) or not rows:
            return _invalid([("members", "Schema describes array, NULL found instead")])
        if len(rows) > 500:
            return _invalid([("members", "Array must not have more than 500 items")])
        new: list[Any] = []
        updated: list[Any] = []
        errors: list[Any] = []
        seen: set[str] = set()
        for row in rows:
            address = str(row.get("email_address") or "") if isinstance(row, dict) else ""
            member_hash = _hash(address)
            if member_hash in seen:
                errors.append(_row_error(address, f"{address} is in the request more than once", "ERROR_GENERIC"))
                continue
            seen.add(member_hash)
            self._subscribe(row, address, member_hash, said, new, updated, errors)
        body = {
            "new_members": new, "updated_members": updated, "errors": errors, "total_created": len(new),
            "total_updated": len(updated), "error_count": len(errors),
        }  # fmt: skip
        return MockReply(200, body, records=len(new) + len(updated))

    def _subscribe(
        self, row: Any, address: str, member_hash: str, said: Mapping[str, Any], new: list[Any], updated: list[Any],
        errors: list[Any],
    ) -> None:  # fmt: skip
        if not isinstance(row, dict):
            errors.append(_row_error("", "Schema describes object, string found instead", "ERROR_GENERIC"))
            return
        there = member_hash in self.rows
        if there and not said.get("update_existing"):
            words = f"{address} is already a list member, do you want to update? please provide update_existing:true"
            errors.append(_row_error(address, words, "ERROR_CONTACT_EXISTS"))
            return
        wrong = self._wrong(address, row, str(row.get("status") or ("subscribed" if there else "")))
        if wrong is not None:
            first = (wrong.body.get("errors") or [{}])[0]
            told = _row_error(address, wrong.body["detail"], "ERROR_GENERIC")
            errors.append(told | {"field": first.get("field", ""), "field_message": first.get("message", "")})
            return
        (updated if there else new).append(self._write(member_hash, row, str(row.get("status") or "")))

    # -- rules

    def _wrong(self, address: str, said: Mapping[str, Any], status: str) -> MockReply | None:
        if not _EMAIL.fullmatch(address):
            return _invalid([("email_address", "This value should be a valid email.")])
        lowered = address.lower()
        if lowered in self._poison:
            return problem(400, "Invalid Resource", f"{address} {self._poison[lowered]}")
        if lowered in self._compliance and status == "subscribed":
            words = f"{address} is in a compliance state due to unsubscribe, bounce, or compliance review."
            return problem(400, "Member In Compliance State", words)
        if status not in _STATUSES:
            return _invalid([("status", "Data did not match any of the schemas described in anyOf.")])
        merges = said.get("merge_fields") or {}
        if not isinstance(merges, dict):
            return _invalid([("merge_fields", "Schema describes object, array found instead")])
        wrong = [(tag, words) for tag, value in merges.items() if (words := self._wrong_field(tag, value))]
        if _hash(address) not in self.rows:
            missing = (each.tag for each in self.made.merge_fields if each.required and not merges.get(each.tag))
            wrong += [(tag, "Please enter a value") for tag in missing]
        return _invalid(wrong, "Your merge fields were invalid.") if wrong else None

    def _wrong_field(self, tag: str, value: Any) -> str:
        field = self._fields.get(tag)
        if field is None:
            self.unknown_tags += 1
            return ""
        return "" if value == "" else _wrong_value(field, value)

    def _write(self, member_hash: str, said: Mapping[str, Any], status: str) -> dict[str, Any]:
        row = self.rows.get(member_hash)
        if row is None:
            row = self.rows[member_hash] = {
                "id": member_hash,
                "email_address": said.get("email_address"),
                "merge_fields": {},
            }
        if status:
            row["status"] = status
        if self._config.keep == "objects":
            known = {tag: value for tag, value in (said.get("merge_fields") or {}).items() if tag in self._fields}
            row["merge_fields"].update(known)
            row.update(
                {name: value for name, value in said.items() if name in {"vip", "language", "tags", "interests"}}
            )
        self.written[member_hash] = self.written.get(member_hash, 0) + 1
        return {"id": member_hash, "email_address": row["email_address"], "status": row.get("status", "")}


def _wrong_value(field: MergeField, value: Any) -> str:
    text = str(value)
    if field.type == "birthday":
        return "" if _BIRTHDAY.fullmatch(text) else "Please enter a valid birthday in MM/DD format"
    if field.type == "number":
        return "" if _NUMBER.fullmatch(text) else "Please enter a number"
    if field.choices and text not in field.choices:
        return "Value must be one of: " + ", ".join(field.choices)
    return "" if len(text) <= 255 else "Value must be 255 characters or less"


def _hash(address: str) -> str:
    return hashlib.md5(address.lower().encode(), usedforsecurity=False).hexdigest()


def _invalid(wrong: list[tuple[str, str]], detail: str = "") -> MockReply:
    words = (
        detail or "The resource submitted could not be validated. For field-specific details, see the 'errors' array."
    )
    return problem(400, "Invalid Resource", words, [{"field": field, "message": message} for field, message in wrong])


def _row_error(address: str, words: str, code: str) -> dict[str, str]:
    return {"email_address": address, "error": words, "error_code": code, "field": "", "field_message": ""}
