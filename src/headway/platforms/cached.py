"""A schema that is remembered between runs, as bytes."""

from __future__ import annotations

from typing import Self

import msgspec

from headway.errors import PlatformError

__all__ = ["CachedSchema"]


class CachedSchema(msgspec.Struct):
    """To bytes and back; what a schema holds is its platform's."""

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """From the cache; raises PlatformError when it is not one of ours."""
        try:
            return msgspec.json.decode(data, type=cls)
        except msgspec.DecodeError as error:
            raise PlatformError(f"a cached schema cannot be read: {error}") from error

    def to_bytes(self) -> bytes:
        """For the cache."""
        return msgspec.json.encode(self)
