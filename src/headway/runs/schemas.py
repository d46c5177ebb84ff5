"""What the destination's object looks like: asked once, remembered for an hour, and asked again before it is blamed.

Rules:
* A remembered schema may pass a mapping or a row, but never refuses one: whoever has just made the missing property in
  the platform must not be told for an hour that there is none.
"""

from __future__ import annotations

from collections.abc import Sequence

from headway.accounts.link import Cache, OpenAccount
from headway.errors import MappingError, PlatformError
from headway.platforms.connector import Connector, RowChecker, Schema

__all__ = ["SchemaCheck"]

_AGE = 3600.0


class SchemaCheck:
    """The schema of one destination, for one mapping."""

    def __init__(self, link: OpenAccount, connector: Connector, cache: Cache, columns: Sequence[str]) -> None:
        self._link = link
        self._connector = connector
        self._cache = cache
        self._columns = tuple(columns)
        self._key = f"{link.cache_key}|{connector.object_type}"
        self.schema: Schema | None = None
        self.fresh = False

    async def columns(self) -> None:
        """Refuse columns and keys that the destination does not have; raises MappingError, CredentialsError."""
        schema = self._remembered()
        if schema is not None:
            self.schema = schema
            try:
                self._check(schema)
            except MappingError:
                pass
            else:
                return
        self._check(await self._ask())

    def rows(self) -> RowChecker | None:
        """What checks a row's values; None if nothing is to be checked."""
        assert self.schema is not None
        return self.schema.row_checker(self._columns)

    async def renewed_rows(self) -> RowChecker | None:
        """As `rows`, of a schema that was asked for just now."""
        await self._ask()
        return self.rows()

    def _check(self, schema: Schema) -> None:
        schema.check_columns(self._columns, self._connector.key, self._connector.mode)

    def _remembered(self) -> Schema | None:
        data = self._cache.cache_get("schema", self._key, _AGE)
        if data is None:
            return None
        try:
            return self._connector.cached_schema(data)
        except PlatformError:
            return None  # written by another version

    async def _ask(self) -> Schema:
        call = self._connector.schema_call()
        assert call is not None
        schema = self._connector.schema(await self._link.ask(call, "schema"))
        self._cache.cache_put("schema", self._key, schema.to_bytes())
        self.schema = schema
        self.fresh = True
        return schema
