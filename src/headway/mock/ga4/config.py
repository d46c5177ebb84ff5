"""How a mock Google Analytics 4 behaves: data streams, quotas of the Data API, who may call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from headway.errors import UsageError
from headway.mock.clock import Clock
from headway.mock.service import WireConfig

if TYPE_CHECKING:
    from headway.mock.ga4.property import GA4Mock

__all__ = ["GA4Config"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GA4Config(WireConfig):
    """What it enforces; UsageError for what makes no sense.

    Measurement Protocol: `measurement_ids` and `api_secrets` that exist (empty: any); events sent with others are lost
    without a word, as at Google's. `debug_hits`: calls that the debug endpoint takes. `keep_events`: keep them whole.

    Data API, per property, None for no limit: `daily` requests and `concurrent` ones, `tokens_day`, `tokens_hour`,
    `tokens_project_hour`; a report costs something within `cost`, the same report always the same. `rows` of a report.

    Who may call: any bearer token; with `only_issued` those that the token endpoint gave to `service_accounts` (e-mail
    → public key, PEM), which end after `token_ttl` seconds; with `anonymous` calls without a token as well.
    `forbidden_properties` are refused with 403.
    """

    measurement_ids: frozenset[str] = frozenset()
    api_secrets: frozenset[str] = frozenset()
    debug_hits: int | None = 20
    keep_events: bool = True
    daily: int | None = 10_000
    concurrent: int | None = 10
    tokens_day: int | None = 200_000
    tokens_hour: int | None = 40_000
    tokens_project_hour: int | None = 14_000
    cost: tuple[int, int] = (3, 9)
    rows: int = 250
    only_issued: bool = False
    anonymous: bool = False
    token_ttl: float | None = None
    service_accounts: Mapping[str, str] = field(default_factory=dict)
    forbidden_properties: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        super(GA4Config, self).__post_init__()  # slots make another class of it
        if not 1 <= self.cost[0] <= self.cost[1] or self.rows < 0:
            raise UsageError("a report costs at least 1 token, and has at least 0 rows")

    def platform(self, clock: Clock | None = None) -> GA4Mock:
        """The property that behaves so."""
        from headway.mock.ga4.property import GA4Mock

        return GA4Mock(self, clock)
