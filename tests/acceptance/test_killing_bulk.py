"""A bulk sync that is killed again and again loses nothing and uploads nothing twice."""

from __future__ import annotations

import pytest

from tests.acceptance.bulk_killing import kill_and_resume


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_killed_and_resumed_nothing_is_lost_and_nothing_uploaded_twice(seed):
    found = kill_and_resume(6000, 5, seed=seed, size=1000)
    assert found.kills >= 3
    assert found.balanced
    assert found.report["dead"] == found.bad
    assert found.codes == {"INVALID_EMAIL_ADDRESS"}
    assert found.stats["duplicate_writes"] == 0
    assert found.stats["objects"]["Contact"] == 6000 - found.bad
    # Only what the two failing jobs left undone was uploaded once more.
    assert found.stats["uploaded_records"] <= 6000 + 2 * 500
