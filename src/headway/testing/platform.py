"""A mock platform for a test, and what the test may ask of it afterwards. It shares no code with what it judges."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from headway.errors import UsageError
from headway.mock.app import MockApp
from headway.mock.config import MockConfig, parse_window
from headway.mock.entries import EntryConfig
from headway.mock.ga4.config import GA4Config
from headway.mock.mailchimp.config import MailchimpConfig
from headway.mock.salesforce.config import SalesforceConfig
from headway.mock.server import Served, serve

__all__ = ["TestPlatform", "asgi", "mock_platform"]

_SHOWN = 5


class TestPlatform:
    """A running mock: `url`, `stats()`, and assertions that say what differed."""

    __test__ = False  # pytest: this is no test class

    def __init__(self, served: Served, window: tuple[int, float] | None) -> None:
        self._served = served
        self._window = window
        self.url = served.url

    def __repr__(self) -> str:
        return f"<TestPlatform at {self.url}>"

    def stats(self) -> dict[str, Any]:
        """Everything that was counted, as GET /_mock/stats tells it."""
        return self._served.stats()

    @property
    def requests(self) -> int:
        """Requests that arrived, refused ones included."""
        return int(self.stats()["requests"])

    def objects(self, kind: str = "contacts") -> list[dict[str, Any]]:
        """The properties of every stored object of a kind: contacts, Contact, an audience's id, events.

        Raises UsageError for a mock that stores none.
        """

        def read(mock: Any) -> list[dict[str, Any]]:
            if hasattr(mock, "tables"):
                return [dict(row) for row in mock.tables[kind].rows.values()]
            if hasattr(mock, "audiences"):
                return [row | row["merge_fields"] for row in mock.audiences[kind].rows.values()]
            if hasattr(mock, "events"):
                return [dict(event) for event in mock.events]
            kinds = [each for _, each in mock.objects.all() if each.name == kind]
            return [dict(stored) for each in kinds for stored in each.by_id.values()]

        if not any(hasattr(self._served.mock, name) for name in ("objects", "tables", "audiences", "events")):
            raise UsageError("this mock stores no objects: it enforces limits only")
        return self._served.call(read)

    def assert_no_429(self) -> None:
        """No call was refused for its rate."""
        stats = self.stats()
        refused = int(stats["rate_limited"])
        assert refused == 0, f"{refused} of {stats['requests']} calls were refused: {stats.get('refused_for', '')}"

    def assert_never_above_limit(self) -> None:
        """No window at the platform held more than it may."""
        if self._window is None:
            raise UsageError("assert_never_above_limit: this mock has no window")
        most = int(self.stats()["most_arrivals_in_any_window"])
        amount, per = self._window
        assert most <= amount, f"{most} calls arrived within {per:g} s; the limit is {amount}"

    def assert_delivered(self, keys: Iterable[str], *, kind: str = "contacts", by: str = "email") -> None:
        """At least these are there."""
        there = {str(each.get(by)) for each in self.objects(kind)}
        missing = sorted(set(keys) - there)
        assert not missing, f"{len(missing)} of {kind} are missing: {_some(missing)}"

    def assert_delivered_exactly(
        self, wanted: Iterable[str] | Mapping[str, Mapping[str, object]], *, kind: str = "contacts", by: str = "email"
    ) -> None:
        """These and no others are there; with a mapping of key to properties, with these values."""
        there = {str(each.get(by)): each for each in self.objects(kind)}
        self.assert_delivered(wanted, kind=kind, by=by)
        more = sorted(there.keys() - set(wanted))
        assert not more, f"{len(more)} of {kind} should not be there: {_some(more)}"
        if isinstance(wanted, Mapping):
            for key, properties in wanted.items():
                for name, value in properties.items():
                    found = there[key].get(name)
                    assert found == value, f"{kind} {key}: {name} is {found!r}, not {value!r}"


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")


def _configured(platform: str, window: str | tuple[int, float] | None, settings: dict[str, Any]) -> Any:
    if platform == "hubspot":
        config = MockConfig(**settings)
        if isinstance(window, str):
            return replace(config, window=parse_window(window))
        return config if window is None else replace(config, window=window)
    if window is not None:
        raise UsageError(f"window= is for hubspot; give {platform}'s amounts by name: amounts={{'daily': 20}}")
    own = {"salesforce": SalesforceConfig, "mailchimp": MailchimpConfig, "ga4": GA4Config}.get(platform)
    if own is not None and not settings.keys() & {"tier", "amounts", "seats"}:
        return own(**settings)
    return EntryConfig(platform, **settings)


@contextmanager
def mock_platform(
    platform: str = "hubspot", *, window: str | tuple[int, float] | None = None, **settings: Any
) -> Iterator[TestPlatform]:
    """A mock on a free port of 127.0.0.1 for as long as the block runs; any entry of the catalogue.

    `window`: "100/10s" or (100, 10.0) for hubspot; `settings` as MockConfig (hubspot), SalesforceConfig,
    MailchimpConfig, GA4Config, or EntryConfig (any other; these three as well, with `tier` or `amounts`) have them.
    """
    config = _configured(platform, window, settings)
    with serve(config) as served:
        yield TestPlatform(served, getattr(config, "window", None))


def asgi(platform: str = "hubspot", *, window: str | tuple[int, float] | None = None, **settings: Any) -> MockApp:
    """The same platform without a socket, as an ASGI application: for httpx2.ASGITransport and the like."""
    return MockApp(_configured(platform, window, settings))
