"""Which calls the platform takes: tokens with their scopes and windows, portals with their day and searches.

A call is counted once, at its arrival, against all its limits or none of them. Other apps' calls that are due by then
are counted first, in the order of their instants.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

from headway.mock.clock import SECOND, Clock
from headway.mock.config import MockConfig, Portal
from headway.mock.limits import CalendarDay, RollingWindow, Traffic

__all__ = ["Account", "App", "Enforcer", "Refusal"]

_UNKNOWN_PER = 10.0  # without a limit, calls are still counted over windows of this length


@dataclass(slots=True)
class Account:
    """What the apps of one portal share."""

    portal: Portal
    day: CalendarDay
    searches: RollingWindow


@dataclass(slots=True)
class App:
    """One token: whose it is, what it may, how it called. `number` stands for the token wherever it is shown."""

    number: int
    token: str
    account: Account
    window: RollingWindow
    seconds: RollingWindow
    scopes: frozenset[str] | None
    oauth: bool
    traffic: list[Traffic] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Refusal:
    """The limit that stands in the way, and the seconds until it lets one more call pass."""

    policy: str
    frees_in: float


class Enforcer:
    """All counting of one platform. Limits may be changed while it runs (`change`)."""

    def __init__(self, config: MockConfig, clock: Clock) -> None:
        self.config = config
        self.clock = clock
        self.apps: dict[str, App] = {}
        self.accounts: dict[int, Account] = {}
        self.revoked: set[str] = set()
        self.refused: dict[str, int] = {}
        self.foreign = 0
        self.foreign_refused = 0
        self._windows: dict[object, RollingWindow] = {}
        self._traffic: dict[object, list[Traffic]] = {}

    def app(self, token: str) -> App | None:
        """The app of a token, None if it is not accepted."""
        found = self.apps.get(token)
        if found is None:
            known = token in self.config.portals or token in self.config.scopes
            if token in self.revoked or (self.config.only_known and not known):
                return None
            found = self.apps[token] = self._new(token)
        return None if token in self.revoked else found

    def account(self, portal: Portal) -> Account:
        """The account of a portal."""
        found = self.accounts.get(portal.portal_id)
        if found is None:
            searches = RollingWindow(self.config.search, 1.0, count_rejected=self.config.count_rejected)
            found = Account(portal, CalendarDay(self.config.daily, portal.time_zone), searches)
            self.accounts[portal.portal_id] = found
        return found

    def admit(self, app: App, *, search: bool = False) -> Refusal | None:
        """Count a call that arrives now; says which limit refuses it."""
        now, wall = self.clock.monotonic(), self.clock.wall()
        self.catch_up(app, now, wall)
        return self._admit(app, now, wall, search=search)

    def visit(self, app: App, calls: int) -> int:
        """So many calls of another app, now, in the window of this one; says how many were refused."""
        now, wall = self.clock.monotonic(), self.clock.wall()
        return sum(not self._foreign(app, now, wall) for _ in range(calls))

    def catch_up(self, app: App, now: int, wall: int) -> None:
        """Count the other apps' calls that were due before now."""
        if not app.traffic:
            return
        for at in heapq.merge(*(each.until(now) for each in app.traffic)):
            self._foreign(app, at, wall - (now - at))

    def forget(self) -> None:
        """Empty windows and days, no apps, no counts; revoked tokens stay revoked."""
        self.apps.clear()
        self.accounts.clear()
        self._windows.clear()
        self._traffic.clear()
        self.refused.clear()
        self.foreign = self.foreign_refused = 0

    def change(self, config: MockConfig) -> None:
        """Other amounts from now on; what was counted stays counted unless a window's length changes."""
        self.config = config
        for account in self.accounts.values():
            account.day.amount = config.daily
            account.searches.amount = config.search
        amount, per = config.window or (None, _UNKNOWN_PER)
        for window in self._windows.values():
            window.amount, window.per = amount, round(per * SECOND)

    # -- inside

    def _admit(self, app: App, now: int, wall: int, *, search: bool) -> Refusal | None:
        account = app.account
        refusal: Refusal | None = None
        if account.day.full(wall):
            refusal = Refusal("DAILY", account.day.frees_in(wall))
        elif search and account.searches.full(now):
            refusal = Refusal("SECONDLY", account.searches.frees_in(now))
        elif app.window.full(now):
            refusal = Refusal("TEN_SECONDLY_ROLLING", app.window.frees_in(now))
        if refusal is not None:
            self.refused[refusal.policy] = self.refused.get(refusal.policy, 0) + 1
            app.window.refuse(now)
            if search:
                account.searches.refuse(now)
            return refusal
        account.day.count(wall)
        app.window.count(now)
        app.seconds.count(now)
        if search:
            account.searches.count(now)
        return None

    def _foreign(self, app: App, now: int, wall: int) -> bool:
        self.foreign += 1
        if app.account.day.full(wall) or app.window.full(now):
            self.foreign_refused += 1
            return False
        app.account.day.count(wall)
        app.window.count(now)
        return True

    def _new(self, token: str) -> App:
        config = self.config
        portal = config.portals.get(token, config.portal)
        key: object = token if config.window_scope == "token" else portal.portal_id
        scopes = config.scopes.get(token)
        app = App(
            len(self.apps) + 1, token, self.account(portal), self._window(key), RollingWindow(None, 1.0), scopes,
            token in config.oauth_tokens,
        )  # fmt: skip
        if key not in self._traffic:
            now = self.clock.monotonic()
            self._traffic[key] = [
                Traffic(each.calls, each.per, each.pattern, f"{config.seed}-{key}-{number}", now)
                for number, each in enumerate(config.foreign)
                if each.token in {"", token}
            ]
        app.traffic = self._traffic[key]
        return app

    def _window(self, key: object) -> RollingWindow:
        found = self._windows.get(key)
        if found is None:
            amount, per = self.config.window or (None, _UNKNOWN_PER)
            found = self._windows[key] = RollingWindow(amount, per, count_rejected=self.config.count_rejected)
        return found
