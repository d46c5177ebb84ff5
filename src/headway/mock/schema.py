"""The properties of the mock's objects: types, options, read-only and unique flags, as HubSpot reports them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

__all__ = ["STANDARD", "MockProperty", "wrong_value"]

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


@dataclass(frozen=True, slots=True)
class MockProperty:
    """One property."""

    name: str
    label: str
    type: str = "string"
    field: str = "text"
    options: tuple[str, ...] = ()
    unique: bool = False
    read_only: bool = False
    calculated: bool = False

    def told(self) -> dict[str, Any]:
        """As the properties API tells it."""
        return {
            "name": self.name,
            "label": self.label,
            "type": self.type,
            "fieldType": self.field,
            "options": [{"label": value.title(), "value": value, "hidden": False} for value in self.options],
            "hasUniqueValue": self.unique,
            "calculated": self.calculated,
            "hidden": False,
            "groupName": "information",
            "modificationMetadata": {
                "readOnlyValue": self.read_only, "readOnlyDefinition": True, "archivable": False,
            },
        }  # fmt: skip


_STAGES = ("subscriber", "lead", "marketingqualifiedlead", "salesqualifiedlead", "opportunity", "customer", "other")


def _text(*names: str) -> list[MockProperty]:
    labels = {"firstname": "First Name", "lastname": "Last Name", "jobtitle": "Job Title", "phone": "Phone Number"}
    return [MockProperty(name, labels.get(name, name.replace("_", " ").title())) for name in names]


_COMMON = [
    MockProperty("hs_object_id", "Record ID", "number", "number", unique=True, read_only=True),
    MockProperty("createdate", "Create Date", "datetime", "date", read_only=True),
    MockProperty("hs_lastmodifieddate", "Last Modified Date", "datetime", "date", read_only=True, calculated=True),
]

STANDARD: dict[str, list[MockProperty]] = {
    "contacts": [
        *_COMMON,
        *_text(
            "email", "firstname", "lastname", "phone", "mobilephone", "company", "jobtitle", "website", "address",
            "city", "state", "zip", "country", "message",
        ),
        MockProperty("lifecyclestage", "Lifecycle Stage", "enumeration", "radio", _STAGES),
        MockProperty("hs_language", "Preferred language", "enumeration", "select", ("en", "de", "fr", "es")),
        MockProperty("interests", "Interests", "enumeration", "checkbox", ("sport", "music", "travel")),
        MockProperty("date_of_birth", "Date of birth", "date", "date"),
        MockProperty("last_seen", "Last seen", "datetime", "date"),
        MockProperty("age", "Age", "number", "number"),
        MockProperty("vip", "VIP", "bool", "booleancheckbox", ("true", "false")),
        MockProperty("customer_number", "Customer number", unique=True),
        MockProperty("hs_score", "Score", "number", "calculation_score", read_only=True, calculated=True),
    ],
    "companies": [
        *_COMMON,
        *_text("name", "domain", "website", "phone", "address", "city", "state", "zip", "country", "description"),
        MockProperty("numberofemployees", "Number of Employees", "number", "number"),
        MockProperty("industry", "Industry", "enumeration", "select", ("EDUCATION_MANAGEMENT", "INTERNET", "BANKING")),
        MockProperty("university_domain", "University domain", unique=True),
    ],
    "deals": [
        *_COMMON,
        *_text("dealname", "description"),
        MockProperty("amount", "Amount", "number", "number"),
        MockProperty("closedate", "Close Date", "datetime", "date"),
        MockProperty("dealstage", "Deal Stage", "enumeration", "radio", ("qualifiedtobuy", "closedwon", "closedlost")),
        MockProperty("deal_number", "Deal number", unique=True),
    ],
    "tickets": [
        *_COMMON,
        *_text("subject", "content"),
        MockProperty("hs_ticket_priority", "Priority", "enumeration", "select", ("LOW", "MEDIUM", "HIGH")),
        MockProperty("ticket_number", "Ticket number", unique=True),
    ],
    "products": [
        *_COMMON, *_text("name", "description"), MockProperty("price", "Price", "number", "number"),
        MockProperty("hs_sku", "SKU", unique=True),
    ],
}  # fmt: skip


def wrong_value(found: MockProperty, value: Any) -> str:
    """HubSpot's code for a value that a property does not take, '' if it does."""
    if value is None or value == "":
        return ""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if found.name == "email":
        return "" if _EMAIL.fullmatch(text.strip()) else "INVALID_EMAIL"
    if found.type == "enumeration":
        parts = text.split(";") if found.field == "checkbox" else [text]
        return "" if all(part.strip() in found.options for part in parts if part.strip()) else "INVALID_OPTION"
    if found.type == "number":
        return "" if _is(float, text) else "INVALID_INTEGER"
    if found.type == "bool":
        return "" if text in {"true", "false", "1", "0"} else "INVALID_BOOLEAN"
    if found.type == "date":
        return "" if _is(date.fromisoformat, text) or text.isdigit() else "INVALID_DATE"
    if found.type == "datetime":
        return "" if _is(datetime.fromisoformat, text) or text.isdigit() else "INVALID_DATE"
    return ""


def _is(parse: Any, text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True
