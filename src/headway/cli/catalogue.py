"""limits: what the catalogue knows."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from headway.cli.common import SEATS, as_json, emit, table

if TYPE_CHECKING:
    from headway.platforms.profile import LimitEntry, Profile, Tier

__all__ = ["limits"]

_SCOPES = {"credential": "app or key", "identity": "account", "resource": "resource in the path"}


@click.command(short_help="Show the platforms' limits that Headway knows.")
@click.argument("platform", required=False)
@click.option("--tier", help="Only this tier of PLATFORM.")
@SEATS
@as_json
def limits(platform: str | None, tier: str | None, seats: int | None, json_: bool) -> None:
    """Show the catalogue: all platforms, or what one PLATFORM allows, per tier, and where the figures come from.

    Platforms of your own are TOML files in ./headway-platforms, in headway/platforms of your configuration directory,
    or in the folder that HEADWAY_PLATFORMS names.

    \b
    headway limits
    headway limits salesforce --tier licensed --seats 40
    """
    from headway.errors import UsageError
    from headway.platforms import catalog_reader

    if tier is not None and platform is None:
        raise UsageError("--tier needs a PLATFORM: headway limits salesforce --tier licensed")
    names = (platform.lower(),) if platform else catalog_reader.platforms()
    profiles = [catalog_reader.load(name) for name in names]
    seats = seats or 0
    chosen = [(each, [each.seated(tier, seats)] if tier else list(each.tiers.values())) for each in profiles]
    if json_:
        emit([_as_json(profile, tiers, seats) for profile, tiers in chosen])
        return
    if platform is None:
        _overview(profiles)
    for profile, tiers in chosen if platform else ():
        _page(profile, tiers, seats)
    for profile in profiles:
        if profile.shadows:
            click.echo(f"{profile.platform}: {profile.origin} stands in front of the built-in entry of that name")


def _overview(profiles: list[Profile]) -> None:
    lines = []
    for profile in profiles:
        tier = profile.tier(None)
        told = "; ".join(_amount(entry, 0) for entry in tier.limits) or tier.without_limits
        lines.append((profile.platform, tier.name, told, "yours" if profile.origin else _seen(tier)))
    table(("platform", "tier", "limits", "source"), lines)
    click.echo("\nheadway limits PLATFORM shows one in full, with all tiers and sources.")


def _page(profile: Profile, tiers: list[Tier], seats: int) -> None:
    batch = f"; {profile.batch_records:,} records a call" if profile.batch_records else ""
    click.echo(f"{profile.title}  ({profile.base_url or ', '.join(profile.hosts)}{batch})")
    click.echo(f"  a rate limit is: {profile.rate_limit}")
    if profile.note:
        click.echo(f"  {profile.note}")
    if profile.cost is not None:
        click.echo(f"  {profile.cost.unit} are known {profile.cost.known} the call. {profile.cost.note}".rstrip())
    lines = [
        (tier.name, entry.name, entry.kind, _amount(entry, seats), _SCOPES.get(entry.scope, entry.scope), entry.note)
        for tier in tiers
        for entry in tier.limits
    ]
    if lines:
        table(("tier", "limit", "kind", "amount", "counted per", ""), lines, indent="  ")
    for tier in tiers:
        without = f"; no limits here ({tier.without_limits})" if tier.without_limits else ""
        default = " (the default)" if tier.name == profile.default_tier else ""
        click.echo(f"  {tier.name}{default}: {tier.title}{without}; {tier.source} ({tier.date}, {_seen(tier)})")


def _seen(tier: Tier) -> str:
    return "the vendor's page" if tier.verified else "not the vendor's own page"


def _amount(entry: LimitEntry, seats: int) -> str:
    unit = "" if entry.unit == "calls" else f" {entry.unit}"
    amount = f"{entry.allowed(seats):,}{unit}"
    if entry.per_seat and not seats:
        amount += f" + {entry.per_seat:,} per user" + (f" (at most {entry.at_most:,})" if entry.at_most else "")
    if entry.kind == "concurrency":
        return f"{amount} at once" + (f" for longer than {entry.longer_than:g} s" if entry.longer_than else "")
    if entry.kind == "bucket":
        return f"{amount}, {entry.rate:g} back every second"
    if entry.per is not None:
        return f"{amount} per {_span(entry.per)}"
    if entry.resets == "hourly":
        return f"{amount} per clock hour"
    return f"{amount} until {str(entry.resets).replace('{time_zone}', 'in the account’s zone')}"


def _span(seconds: float) -> str:
    return {3600: "hour", 86_400: "24 h"}.get(round(seconds), f"{seconds:g} s")


def _as_json(profile: Profile, tiers: list[Tier], seats: int) -> dict[str, Any]:
    told = asdict(profile) | {"batch": profile.batch_records}
    del told["spoken"]  # the same again
    told["tiers"] = {
        tier.name: asdict(tier)
        | {"limits": [asdict(entry) | {"amount": entry.allowed(seats)} for entry in tier.limits]}
        for tier in tiers
    }
    return told
