"""Under requests: a transport adapter whose connection pools take a permit for every wire attempt."""

from __future__ import annotations

from typing import Any

from requests import ConnectionError  # noqa: A004  # requests' own
from requests.adapters import HTTPAdapter

from headway.adapters.attempts import Conduct
from headway.adapters.urllib3 import gate_pools
from headway.errors import PermitTimeout, UsageError

__all__ = ["limited"]


def limited(conduct: Conduct, inner: HTTPAdapter | None = None) -> HTTPAdapter:
    """An adapter to mount in a `requests.Session`: `inner` itself (default: a new HTTPAdapter), with gated pools.

    Its redirects, its `max_retries` and its proxies take permits of their own. Raises UsageError for an adapter that
    is not built on HTTPAdapter.
    """
    adapter = HTTPAdapter() if inner is None else inner
    if not isinstance(adapter, HTTPAdapter):
        raise UsageError(f"adapter(): inner must be a requests HTTPAdapter, not {type(adapter).__name__}")
    gate_pools(adapter.poolmanager, conduct)
    through_proxy = adapter.proxy_manager_for

    def proxy_manager_for(proxy: Any, **settings: Any) -> Any:
        known = proxy in adapter.proxy_manager
        manager = through_proxy(proxy, **settings)
        if not known:
            gate_pools(manager, conduct)
        return manager

    send = adapter.send

    def unwrapped(*args: Any, **named: Any) -> Any:
        """As `send`; requests takes every OSError for a broken connection, and PermitTimeout is one."""
        try:
            return send(*args, **named)
        except ConnectionError as error:
            if error.args and isinstance(error.args[0], PermitTimeout):
                raise error.args[0] from None
            raise

    adapter.proxy_manager_for = proxy_manager_for  # type: ignore[method-assign]
    adapter.send = unwrapped  # type: ignore[method-assign]
    return adapter
