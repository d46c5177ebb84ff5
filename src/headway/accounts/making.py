"""An account from what is known of it: arguments, headway.toml, the environment."""

from __future__ import annotations

from pathlib import Path

from headway.accounts.account import Account
from headway.accounts.config import AccountConfig, parse_share, read_account
from headway.accounts.credentials import Credentials, checked, find_credentials, login_credentials, measurement
from headway.accounts.logins import Login, Measurement
from headway.errors import UsageError
from headway.limits.limits import Quota
from headway.platforms import catalog_reader
from headway.platforms.connector import Identity
from headway.platforms.profile import Profile

__all__ = ["account", "configured"]

_UNSET = "UTC"


def account(
    platform: str,
    *,
    token: str | None = None,
    login: Login | None = None,
    name: str = "",
    tier: str | None = None,
    share: float | str | None = None,
    reserve: int | None = None,
    base_url: str | None = None,
    state: str | Path | None = None,
    time_zone: str | None = None,
    pacing: str | None = None,
    timeout: float = 30.0,
    identity: str | None = None,
    seats: int | None = None,
    property: str | None = None,  # noqa: A002  # Google's own word
    store: str | Path | None = None,
    fresh: bool = False,
) -> Account:
    """An account on a platform.

    `token`: the credential; `login`: how to come by one, and by the next when it has expired (OAuthRefresh,
    ClientCredentials, JwtBearer, ServiceAccount, Measurement); without either, what headway.toml says of the account
    `name`, or the platform's environment variables. `share`: the part of each limit to use (0.8 or "80%"); `reserve`:
    calls of the day to leave; `state`: where the limits' state lives (default: per user); `time_zone`: of the quota's
    midnight, if not the platform's word; `identity`: the platform's id of the account, where you know it and the
    platform cannot be asked; `seats`: licensed users, where the tier's figures grow with them; `property`: the Google
    Analytics property that reports are asked of, `store`: where they are remembered (default: .headway/records.db, as
    for runs); `fresh`: vouches that nothing was used yet of limits whose state is
    new. Raises UsageError, also for missing credentials.
    """
    platform = platform.lower()
    if seats is not None and (isinstance(seats, bool) or not isinstance(seats, int) or seats < 0):
        raise UsageError(f"seats must be a whole number of licensed users, not {seats!r}")
    profile = catalog_reader.load(platform)
    config = read_account(platform, name) if name and token is None else AccountConfig(platform, name)
    config = configured(config, tier=tier, share=share, reserve=reserve, base_url=base_url, time_zone=time_zone)
    _checked_zone(config)
    seats = config.seats if seats is None else seats
    profile.seated(config.tier or None, seats)
    made = Account(
        config,
        _credentials(config, profile, token, login, reports=property is not None),
        state=state,
        pacing=pacing,
        timeout=timeout,
        seats=seats,
        fresh=fresh,
    )
    if store is not None:
        made.cache = str(store)
    known = made.tokens.login
    if identity is None and property is not None:
        identity = f"properties/{checked_property(property)}"
    if identity is None and isinstance(known, Measurement):
        identity = known.measurement_id
    if identity is not None:
        if not identity.strip():
            raise UsageError("identity: is empty: give the platform's id of the account")
        made.learn(Identity(identity.strip(), config.time_zone or _UNSET))
    return made


def _credentials(
    config: AccountConfig, profile: Profile, token: str | None, login: Login | None, *, reports: bool
) -> Credentials:
    if token is not None and login is not None:
        raise UsageError("account: give a token or a login, not both")
    if login is not None:
        return login_credentials(login)
    if token is not None:
        return Credentials(checked(token, "token"), token.strip())
    stream = measurement(config) if config.platform == "ga4" and not reports else None
    return stream or find_credentials(config, (profile.token_env,))


def configured(
    config: AccountConfig,
    *,
    tier: str | None = None,
    share: float | str | None = None,
    reserve: int | None = None,
    base_url: str | None = None,
    time_zone: str | None = None,
) -> AccountConfig:
    """A configuration with some of its settings replaced; None leaves one as it is."""
    if reserve is not None and (isinstance(reserve, bool) or reserve < 0):
        raise UsageError(f"reserve must be a whole number of calls, not {reserve!r}")
    return AccountConfig(
        config.platform, config.name,
        tier=config.tier if tier is None else tier,
        share=config.share if share is None else parse_share(share, "share"),
        reserve=config.reserve if reserve is None else reserve,
        time_zone=time_zone or config.time_zone,
        base_url=base_url or config.base_url,
        token_env=config.token_env, token_file=config.token_file, token_command=config.token_command,
        where=config.where, settings=config.settings, seats=config.seats,
    )  # fmt: skip


def checked_property(text: str) -> str:
    """The number of a Google Analytics property; raises UsageError."""
    number = text.strip().removeprefix("properties/")
    if not number.isascii() or not number.isdecimal():
        raise UsageError(f"property {text!r}: write its number, 123456789 for example (not the measurement id G-…)")
    return number


def _checked_zone(config: AccountConfig) -> None:
    if config.time_zone is not None:
        Quota(1, resets=f"00:00 {config.time_zone}")
