"""Headway: data into marketing APIs as fast as each platform allows, without a 429 that could have been foreseen.

Everything public is here; modules are imported when a name is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from headway.version import __version__

if TYPE_CHECKING:
    from headway.accounts.account import Account as Account
    from headway.accounts.account import Destination as Destination
    from headway.accounts.logins import ClientCredentials as ClientCredentials
    from headway.accounts.logins import JwtBearer as JwtBearer
    from headway.accounts.logins import Measurement as Measurement
    from headway.accounts.logins import OAuthRefresh as OAuthRefresh
    from headway.accounts.logins import ServiceAccount as ServiceAccount
    from headway.accounts.making import account as account
    from headway.adapters.attempts import call_options as call_options
    from headway.adapters.doors import adapt as adapt
    from headway.adapters.urllib3 import patch_urllib3 as patch_urllib3
    from headway.delivery.retry import RetryPolicy as RetryPolicy
    from headway.errors import CredentialsError as CredentialsError
    from headway.errors import ForkedLimiter as ForkedLimiter
    from headway.errors import HeadwayError as HeadwayError
    from headway.errors import LedgerError as LedgerError
    from headway.errors import LimiterClosed as LimiterClosed
    from headway.errors import MappingError as MappingError
    from headway.errors import NeverGranted as NeverGranted
    from headway.errors import PermitTimeout as PermitTimeout
    from headway.errors import PlatformError as PlatformError
    from headway.errors import QueueFull as QueueFull
    from headway.errors import RateLimited as RateLimited
    from headway.errors import Rejected as Rejected
    from headway.errors import RunLocked as RunLocked
    from headway.errors import SourceError as SourceError
    from headway.errors import StateVersionError as StateVersionError
    from headway.errors import Transient as Transient
    from headway.errors import TransportError as TransportError
    from headway.errors import UsageError as UsageError
    from headway.limiter.limiter import Limiter as Limiter
    from headway.limiter.permit import Permit as Permit
    from headway.limits.limits import Adaptive as Adaptive
    from headway.limits.limits import Bucket as Bucket
    from headway.limits.limits import Concurrency as Concurrency
    from headway.limits.limits import Quota as Quota
    from headway.limits.limits import TokenBucket as TokenBucket
    from headway.limits.limits import Window as Window
    from headway.limits.status import LimitStatus as LimitStatus
    from headway.platforms.ga4.reports import ReportRequest as ReportRequest
    from headway.platforms.ga4.reports import ReportTable as ReportTable
    from headway.pool.model import DeadTask as DeadTask
    from headway.pool.model import PoolReport as PoolReport
    from headway.pool.pool import Pool as Pool
    from headway.runs.report import Plan as Plan
    from headway.runs.report import Report as Report
    from headway.runs.sync import Sync as Sync

_HOMES = {
    "Account": "headway.accounts.account",
    "Adaptive": "headway.limits.limits",
    "Bucket": "headway.limits.limits",
    "ClientCredentials": "headway.accounts.logins",
    "Concurrency": "headway.limits.limits",
    "CredentialsError": "headway.errors",
    "DeadTask": "headway.pool.model",
    "Destination": "headway.accounts.account",
    "ForkedLimiter": "headway.errors",
    "HeadwayError": "headway.errors",
    "JwtBearer": "headway.accounts.logins",
    "LedgerError": "headway.errors",
    "LimitStatus": "headway.limits.status",
    "Limiter": "headway.limiter.limiter",
    "LimiterClosed": "headway.errors",
    "MappingError": "headway.errors",
    "Measurement": "headway.accounts.logins",
    "NeverGranted": "headway.errors",
    "OAuthRefresh": "headway.accounts.logins",
    "Permit": "headway.limiter.permit",
    "PermitTimeout": "headway.errors",
    "Plan": "headway.runs.report",
    "PlatformError": "headway.errors",
    "Pool": "headway.pool.pool",
    "PoolReport": "headway.pool.model",
    "QueueFull": "headway.errors",
    "Quota": "headway.limits.limits",
    "RateLimited": "headway.errors",
    "Rejected": "headway.errors",
    "Report": "headway.runs.report",
    "ReportRequest": "headway.platforms.ga4.reports",
    "ReportTable": "headway.platforms.ga4.reports",
    "RetryPolicy": "headway.delivery.retry",
    "RunLocked": "headway.errors",
    "ServiceAccount": "headway.accounts.logins",
    "SourceError": "headway.errors",
    "StateVersionError": "headway.errors",
    "Sync": "headway.runs.sync",
    "TokenBucket": "headway.limits.limits",
    "Transient": "headway.errors",
    "TransportError": "headway.errors",
    "UsageError": "headway.errors",
    "Window": "headway.limits.limits",
    "account": "headway.accounts.making",
    "adapt": "headway.adapters.doors",
    "call_options": "headway.adapters.attempts",
    "patch_urllib3": "headway.adapters.urllib3",
}

__all__ = [
    "Account",
    "Adaptive",
    "Bucket",
    "ClientCredentials",
    "Concurrency",
    "CredentialsError",
    "DeadTask",
    "Destination",
    "ForkedLimiter",
    "HeadwayError",
    "JwtBearer",
    "LedgerError",
    "LimitStatus",
    "Limiter",
    "LimiterClosed",
    "MappingError",
    "Measurement",
    "NeverGranted",
    "OAuthRefresh",
    "Permit",
    "PermitTimeout",
    "Plan",
    "PlatformError",
    "Pool",
    "PoolReport",
    "QueueFull",
    "Quota",
    "RateLimited",
    "Rejected",
    "Report",
    "ReportRequest",
    "ReportTable",
    "RetryPolicy",
    "RunLocked",
    "ServiceAccount",
    "SourceError",
    "StateVersionError",
    "Sync",
    "TokenBucket",
    "Transient",
    "TransportError",
    "UsageError",
    "Window",
    "__version__",
    "account",
    "adapt",
    "call_options",
    "patch_urllib3",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'headway' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
