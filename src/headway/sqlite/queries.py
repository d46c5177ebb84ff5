"""SQL in files: each query has a name and a sentence that says what it is for.

-- name: next_of_group
-- The oldest ready records of one group.
SELECT ...;
"""

from __future__ import annotations

import re
from importlib.resources.abc import Traversable

__all__ = ["read_queries"]

_NAME = re.compile(r"^-- name: (\w+)[ \t]*$", re.MULTILINE)


def read_queries(file: Traversable) -> dict[str, str]:
    """The queries of one .sql file by name, without comments at their head and the semicolon at their end.

    Raises ValueError for a query without a description, a name used twice, or text before the first name.
    """
    before, *parts = _NAME.split(file.read_text(encoding="utf-8"))
    if any(line.strip() and not line.startswith("--") for line in before.splitlines()):
        raise ValueError(f"{file.name}: SQL before the first name")
    queries: dict[str, str] = {}
    for name, text in zip(parts[::2], parts[1::2], strict=True):
        lines = text.strip().splitlines()
        head = next((i for i, line in enumerate(lines) if not line.startswith("--")), len(lines))
        if head == 0:
            raise ValueError(f"{file.name}: query {name} has no description")
        if name in queries:
            raise ValueError(f"{file.name}: two queries are called {name}")
        sql = "\n".join(lines[head:]).strip().removesuffix(";")
        if not sql:
            raise ValueError(f"{file.name}: query {name} is empty")
        queries[name] = sql
    return queries
