"""How a mock platform behaves: limits, zone, delays, who may call."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["MockConfig", "Portal"]


@dataclass(frozen=True, slots=True)
class Portal:
    """One account: its id, the zone of its midnight and its kind."""

    portal_id: int = 62515
    time_zone: str = "US/Eastern"
    account_type: str = "STANDARD"


@dataclass(frozen=True, slots=True)
class MockConfig:
    """What a mock HubSpot enforces.

    `window`: (calls, seconds) of the rolling window per token, None for none; `daily`: calls per portal and calendar
    day, None for none; `search`: calls per second and portal on search paths, None for none. `count_rejected`: whether
    refused calls count as well. `latency`: seconds of service; `jitter`: each call is delayed by up to so many seconds
    before it is counted and again after. `portals`: token → portal; any other token is the `portal`, unless
    `only_known`. `read_only_tokens` may not write (403). `unique`: (object type, property) pairs to add to the schema
    as unique text properties. `journal`: how many requests the journal keeps.
    """

    window: tuple[int, float] | None = (100, 10.0)
    daily: int | None = 40_000
    search: int | None = 5
    count_rejected: bool = False
    latency: float = 0.0
    jitter: float = 0.0
    portal: Portal = Portal()
    portals: dict[str, Portal] = field(default_factory=dict)
    only_known: bool = False
    read_only_tokens: frozenset[str] = frozenset()
    unique: tuple[tuple[str, str], ...] = ()
    journal: int = 200_000
    seed: int = 1
