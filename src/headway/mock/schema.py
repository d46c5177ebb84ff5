"""The properties of the mock's objects: types, options, read-only and unique flags, as HubSpot reports them.

Shapes: developers.hubspot.com, properties API and object schemas API.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from headway.errors import UsageError
from headway.mock.values import checker

__all__ = ["CUSTOM", "STANDARD", "CustomObject", "Property", "alias", "from_official", "type_id"]

_FIELDS = {
    "string": "text", "number": "number", "date": "date", "datetime": "date", "enumeration": "select",
    "bool": "booleancheckbox", "phone_number": "phonenumber",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Property:
    """One property; UsageError for an unknown type. `wrong(value)`: code and message of a value it does not take."""

    name: str
    label: str = ""
    type: str = "string"
    field: str = ""
    options: tuple[str, ...] = ()
    unique: bool = False
    read_only: bool = False
    calculated: bool = False
    wrong: Callable[[str], tuple[str, str] | None] | None = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.type not in _FIELDS:
            raise UsageError(f"property {self.name!r} has an unknown type {self.type!r}: one of {', '.join(_FIELDS)}")
        object.__setattr__(self, "label", self.label or self.name.removeprefix("hs_").replace("_", " ").capitalize())
        object.__setattr__(self, "field", self.field or _FIELDS[self.type])
        object.__setattr__(self, "options", tuple(self.options))
        many = self.field == "checkbox"
        object.__setattr__(self, "wrong", checker(self.name, self.type, self.options, many=many))

    def told(self) -> dict[str, Any]:
        """As the properties API tells it."""
        return {
            "updatedAt": "2026-01-01T00:00:00.000Z",
            "createdAt": "2026-01-01T00:00:00.000Z",
            "name": self.name,
            "label": self.label,
            "type": self.type,
            "fieldType": self.field,
            "description": "",
            "groupName": "information",
            "options": [
                {"label": value.replace("_", " ").title(), "value": value, "displayOrder": order, "hidden": False}
                for order, value in enumerate(self.options)
            ],
            "displayOrder": -1,
            "calculated": self.calculated,
            "externalOptions": False,
            "hasUniqueValue": self.unique,
            "hidden": False,
            "hubspotDefined": True,
            "modificationMetadata": {
                "archivable": not self.read_only,
                "readOnlyDefinition": self.read_only,
                "readOnlyValue": self.read_only,
            },
            "formField": False,
        }


@dataclass(frozen=True, slots=True)
class CustomObject:
    """A custom object: its name, its own properties, HubSpot's id of its type, and the property shown first."""

    name: str
    properties: tuple[Property, ...] = ()
    type_id: str = ""
    primary: str = ""

    def told(self, portal: int) -> dict[str, Any]:
        """As the schemas API tells it."""
        common = [*_COMMON, *self.properties]
        return {
            "id": self.type_id.partition("-")[2],
            "name": self.name,
            "labels": {"singular": self.name.capitalize(), "plural": f"{self.name.capitalize()}s"},
            "objectTypeId": self.type_id,
            "fullyQualifiedName": f"p{portal}_{self.name}",
            "primaryDisplayProperty": self.primary or next((each.name for each in self.properties), "hs_object_id"),
            "requiredProperties": [],
            "searchableProperties": [],
            "properties": [each.told() for each in common],
            "associations": [],
            "archived": False,
        }


def from_official(told: dict[str, Any]) -> Property:
    """A property from the body that the properties API takes; UsageError or KeyError for what is no property."""
    options = tuple(str(each["value"]) for each in told.get("options", ()))
    return Property(
        str(told["name"]), str(told.get("label", "")), str(told.get("type", "string")), str(told.get("fieldType", "")),
        options, unique=bool(told.get("hasUniqueValue", told.get("unique", False))),
        read_only=bool(told.get("read_only", False)),
    )  # fmt: skip


_TYPE_IDS = {"contacts": "0-1", "companies": "0-2", "deals": "0-3", "tickets": "0-5", "products": "0-7"}
_ALIASES: dict[str, str] = {
    **{identity: name for name, identity in _TYPE_IDS.items()},
    **{
        single: name
        for name, single in zip(_TYPE_IDS, ("contact", "company", "deal", "ticket", "product"), strict=True)
    },
}


def alias(name: str) -> str:
    """The plain name of an object type that is given as `0-1`, `contact` or `contacts`."""
    return _ALIASES.get(name.lower(), name)


def type_id(name: str) -> str:
    """HubSpot's id of an object type, its name where there is none."""
    return _TYPE_IDS.get(name, name)


def _text(*names: str) -> Iterable[Property]:
    return (Property(name) for name in names)


def _numbers(*names: str) -> Iterable[Property]:
    return (Property(name, type="number") for name in names)


def _enum(name: str, *options: str, field: str = "select") -> Property:
    return Property(name, type="enumeration", field=field, options=options)


def _times(*names: str, read_only: bool = False) -> Iterable[Property]:
    return (Property(name, type="datetime", read_only=read_only) for name in names)


_COMMON: list[Property] = [
    Property("hs_object_id", "Record ID", "number", unique=True, read_only=True),
    *_times("hs_createdate", "hs_lastmodifieddate", read_only=True),
    Property("hs_created_by_user_id", type="number", read_only=True),
    Property("hs_object_source", read_only=True),
    _enum("hubspot_owner_id", field="select"),
]
_STAGES = (
    "subscriber", "lead", "marketingqualifiedlead", "salesqualifiedlead", "opportunity", "customer", "evangelist",
    "other",
)  # fmt: skip
_INDUSTRIES = (
    "ACCOUNTING", "AIRLINES_AVIATION", "APPAREL_FASHION", "AUTOMOTIVE", "BANKING", "BIOTECHNOLOGY", "CHEMICALS",
    "COMPUTER_SOFTWARE", "CONSTRUCTION", "CONSUMER_GOODS", "EDUCATION_MANAGEMENT", "ENTERTAINMENT",
    "FINANCIAL_SERVICES",
    "GOVERNMENT_ADMINISTRATION", "HIGHER_EDUCATION", "HOSPITAL_HEALTH_CARE", "INFORMATION_TECHNOLOGY_AND_SERVICES",
    "INSURANCE", "INTERNET", "LEGAL_SERVICES", "MARKETING_AND_ADVERTISING", "NON_PROFIT_ORGANIZATION_MANAGEMENT",
    "REAL_ESTATE", "RESEARCH", "RETAIL", "TELECOMMUNICATIONS", "UTILITIES",
)  # fmt: skip

STANDARD: dict[str, list[Property]] = {
    "contacts": [
        *_COMMON,
        *_times("createdate", "lastmodifieddate", read_only=True),
        *_text(
            "email", "firstname", "lastname", "company", "jobtitle", "website", "address", "city", "state", "zip",
            "country", "message", "salutation", "fax", "twitterhandle",
        ),
        Property("phone", type="phone_number"),
        Property("mobilephone", type="phone_number"),
        _enum("lifecyclestage", *_STAGES, field="radio"),
        _enum(
            "hs_lead_status", "NEW", "OPEN", "IN_PROGRESS", "OPEN_DEAL", "UNQUALIFIED", "ATTEMPTED_TO_CONTACT",
            "CONNECTED", "BAD_TIMING", field="radio",
        ),
        _enum("hs_language", "en", "de", "fr", "es", "it", "nl", "pt", "ja", "zh-cn", "ko"),
        _enum("interests", "sport", "music", "travel", field="checkbox"),
        Property("date_of_birth", type="date"),
        *_times("last_seen"),
        *_numbers("age", "annualrevenue", "numemployees"),
        Property("vip", type="bool", options=("true", "false")),
        Property("customer_number", unique=True),
        Property("hs_score", type="number", read_only=True, calculated=True),
        Property("hs_email_domain", read_only=True, calculated=True),
    ],
    "companies": [
        *_COMMON,
        *_times("createdate", read_only=True),
        *_text(
            "name", "domain", "website", "address", "address2", "city", "state", "zip", "country", "description",
            "about_us", "founded_year", "linkedin_company_page", "timezone",
        ),
        Property("phone", type="phone_number"),
        *_numbers("numberofemployees", "annualrevenue"),
        _enum("industry", *_INDUSTRIES),
        _enum("type", "PROSPECT", "PARTNER", "RESELLER", "VENDOR", "OTHER"),
        _enum("lifecyclestage", *_STAGES, field="radio"),
        Property("is_public", type="bool", options=("true", "false")),
        Property("university_domain", unique=True),
        Property("hs_num_open_deals", type="number", read_only=True, calculated=True),
    ],
    "deals": [
        *_COMMON,
        *_times("createdate", read_only=True),
        *_text("dealname", "description"),
        *_numbers("amount", "hs_priority_score"),
        *_times("closedate"),
        _enum("pipeline", "default"),
        _enum(
            "dealstage", "appointmentscheduled", "qualifiedtobuy", "presentationscheduled", "decisionmakerboughtin",
            "contractsent", "closedwon", "closedlost", field="radio",
        ),
        _enum("dealtype", "newbusiness", "existingbusiness", field="radio"),
        Property("deal_number", unique=True),
        Property("hs_is_closed", type="bool", options=("true", "false"), read_only=True, calculated=True),
    ],
    "tickets": [
        *_COMMON,
        *_times("createdate", read_only=True),
        *_text("subject", "content"),
        _enum("hs_pipeline", "0"),
        _enum("hs_pipeline_stage", "1", "2", "3", "4"),
        _enum("hs_ticket_priority", "LOW", "MEDIUM", "HIGH", "URGENT"),
        _enum("source_type", "CHAT", "EMAIL", "FORM", "PHONE"),
        Property("ticket_number", unique=True),
    ],
    "products": [
        *_COMMON,
        *_times("createdate", read_only=True),
        *_text("name", "description", "hs_url"),
        *_numbers("price", "hs_cost_of_goods_sold"),
        _enum("hs_product_type", "inventory", "non_inventory", "service"),
        Property("hs_sku", unique=True),
    ],
}  # fmt: skip

CUSTOM: list[Property] = [*_COMMON, *_text("name", "description")]
