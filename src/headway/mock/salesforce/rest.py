"""Single rows, collections, describe and a little SOQL. Source: Salesforce REST API Developer Guide."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from headway.mock.replies import MockReply
from headway.mock.salesforce.bulk import error
from headway.mock.salesforce.objects import Fault, Table
from headway.mock.service import body_of

__all__ = ["Rest"]

_MOST = 200
_SOQL = re.compile(
    r"\s*SELECT\s+(?P<fields>.+?)\s+FROM\s+(?P<object>\w+)(?:\s+WHERE\s+(?P<field>\w+)\s*=\s*'(?P<value>[^']*)')?"
    r"(?:\s+LIMIT\s+(?P<limit>\d+))?\s*",
    re.IGNORECASE,
)


class Rest:
    """What is not Bulk."""

    def __init__(self, tables: Mapping[str, Table], org: str) -> None:
        self._tables = tables
        self._org = org

    def answer(self, method: str, path: str, query: Mapping[str, str], body: bytes) -> MockReply | None:
        """One call below /services/data/vNN.0; None for what is not there."""
        parts = path.strip("/").split("/")
        if parts[0] == "query" and method == "GET":
            return self._query(query.get("q", ""))
        if parts[:2] == ["composite", "sobjects"]:
            return self._collection(method, parts[2:], query, body)
        if parts[0] != "sobjects":
            return None
        if len(parts) == 1:
            return MockReply(200, {"sobjects": [{"name": name} for name in self._tables]})
        table = self._tables.get(parts[1])
        if table is None:
            return None
        if parts[2:] == ["describe"]:
            return MockReply(200, table.told())
        return self._row(table, method, parts[2:], body)

    # -- one row

    def _row(self, table: Table, method: str, rest: list[str], body: bytes) -> MockReply | None:
        said = body_of(body) if method in {"POST", "PATCH"} else {}
        if not isinstance(said, dict):
            return error(400, "JSON_PARSER_ERROR", "the body is no JSON object")
        if not rest:
            return _written(table.write("insert", said, "")) if method == "POST" else None
        field, value = ("Id", rest[0]) if len(rest) == 1 else (rest[0], "/".join(rest[1:]))
        if field not in table.fields:
            return error(404, "NOT_FOUND", f"Provided external ID field does not exist or is not accessible: {field}")
        found = table.find(field, value)
        if method == "PATCH":
            if field == "Id":
                return _written(table.write("update", said | {"Id": value}, ""))
            return _written(table.write("upsert", said | {field: value}, field))
        if found is None:
            return error(404, "NOT_FOUND", "The requested resource does not exist")
        if method == "DELETE":
            table.write("delete", {"Id": found}, "")
            return MockReply(204, None)
        return MockReply(200, {"attributes": {"type": table.name}} | table.rows[found])

    # -- collections

    def _collection(self, method: str, rest: list[str], query: Mapping[str, str], body: bytes) -> MockReply | None:
        if method == "DELETE":
            ids = [each for each in query.get("ids", "").split(",") if each]
            rows: list[Any] = [{"Id": each, "attributes": {"type": self._owner(each)}} for each in ids]
            all_or_none = query.get("allOrNone") == "true"
        else:
            said = body_of(body)
            if not isinstance(said, dict) or not isinstance(said.get("records"), list):
                return error(400, "JSON_PARSER_ERROR", "the body needs records")
            rows, all_or_none = said["records"], said.get("allOrNone") is True
        if not rows:
            return error(400, "REQUIRED_FIELD_MISSING", "At least 1 record is required")
        if len(rows) > _MOST:
            return error(
                400, "EXCEEDED_ID_LIMIT", f"record limit reached. cannot submit more than {_MOST} records in this call"
            )
        key = rest[1] if len(rest) == 2 else ""
        operation = "delete" if method == "DELETE" else "upsert" if key else "insert" if method == "POST" else "update"
        results = [self._write(operation, row, key) for row in rows]
        failed = any(isinstance(each, Fault) for each in results)
        told = [_told(each, upsert=operation == "upsert") for each in results]
        if all_or_none and failed:
            undone = {"statusCode": "ALL_OR_NONE_OPERATION_ROLLED_BACK", "message": "rolled back", "fields": []}
            told = [each if not each["success"] else {"success": False, "errors": [undone]} for each in told]
        return MockReply(200, told, records=sum(not isinstance(each, Fault) for each in results))

    def _owner(self, row_id: str) -> str:
        return next((name for name, table in self._tables.items() if row_id in table.rows), "Contact")

    def _write(self, operation: str, row: Any, key: str) -> tuple[str, bool] | Fault:
        kind = row.get("attributes", {}).get("type") if isinstance(row, dict) else None
        table = self._tables.get(str(kind))
        if table is None:
            return Fault("INVALID_TYPE", f"sObject type '{kind}' is not supported.")
        values = {
            name: value
            for name, value in row.items()
            if name != "attributes" and not (name == "Id" and operation == "insert")
        }
        return table.write(operation, values, key)

    # -- SOQL

    def _query(self, text: str) -> MockReply:
        found = _SOQL.fullmatch(text)
        if found is None:
            return error(400, "MALFORMED_QUERY", f"unexpected token: {text[:40]!r}")
        if found["object"] == "Organization":
            row = {"Id": self._org, "IsSandbox": False, "TimeZoneSidKey": "America/Los_Angeles",
                   "OrganizationType": "Enterprise Edition"}  # fmt: skip
            return MockReply(200, {"totalSize": 1, "done": True, "records": [row]})
        table = self._tables.get(found["object"])
        if table is None:
            return error(400, "INVALID_TYPE", f"sObject type '{found['object']}' is not supported.")
        rows = list(table.rows.values())
        if found["field"]:
            rows = [row for row in rows if str(row.get(found["field"], "")) == found["value"]]
        if found["fields"].strip().upper() == "COUNT()":
            return MockReply(200, {"totalSize": len(rows), "done": True, "records": []})
        rows = rows[: int(found["limit"] or 2000)]
        names = [each.strip() for each in found["fields"].split(",")]
        kind = {"attributes": {"type": table.name}}
        told = [kind | {name: row.get(name) for name in names} for row in rows]
        return MockReply(200, {"totalSize": len(told), "done": True, "records": told})


def _told(result: tuple[str, bool] | Fault, *, upsert: bool) -> dict[str, Any]:
    if isinstance(result, Fault):
        wrong = {"statusCode": result.code, "message": result.message, "fields": list(result.fields)}
        return {"success": False, "errors": [wrong]}
    told: dict[str, Any] = {"id": result[0], "success": True, "errors": []}
    return told | {"created": result[1]} if upsert else told


def _written(result: tuple[str, bool] | Fault) -> MockReply:
    if isinstance(result, Fault):
        status = 404 if result.code in {"INVALID_CROSS_REFERENCE_KEY", "ENTITY_IS_DELETED"} else 400
        body = [{"message": result.message, "errorCode": result.code, "fields": list(result.fields)}]
        return MockReply(status, body)
    if result[1]:
        return MockReply(201, {"id": result[0], "success": True, "errors": [], "created": True}, records=1)
    return MockReply(204, None, records=1)
