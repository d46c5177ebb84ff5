from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.adapters.platform import Platform, platform


@pytest.fixture
def server() -> Iterator[Platform]:
    with platform() as running:
        yield running
