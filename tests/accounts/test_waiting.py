"""What stands in the way of a call, and whether it is worth waiting for."""

import pytest

from headway.accounts.waiting import Obstacle, obstacle
from headway.limits.status import LimitStatus


def status(name, next_free=0.0, *, kind="window", paused=None):
    return LimitStatus(name, kind, 100, 0, 0, 0, next_free, paused)


@pytest.mark.parametrize(
    ("statuses", "found"),
    [
        ([], None),
        ([status("a")], None),
        ([status("a", 3.0)], Obstacle("a", "window", 3.0)),
        ([status("a", 3.0), status("b", 9.0, kind="quota")], Obstacle("b", "quota", 9.0)),
        ([status("a", None)], Obstacle("a", "window", None)),
        ([status("a", None), status("b", 2.0)], Obstacle("b", "window", 2.0)),
        ([status("a", 3.0, paused=60.0)], Obstacle("a", "window", 60.0)),
        ([status("other", 3.0)], None),
    ],
)
def test_the_limit_that_stands_in_the_way_longest_is_named(statuses, found):
    assert obstacle(statuses, frozenset("ab")) == found
