"""mock and demo."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from headway.cli.common import emit, table
from headway.cli.values import DURATION, WINDOW
from headway.errors import UsageError

if TYPE_CHECKING:
    from headway.demo import Part
    from headway.events import Observer
    from headway.runs.job import Job
    from headway.runs.report import Report

__all__ = ["demo", "mock"]


@click.command(short_help="Run a platform on this machine that enforces its rules.")
@click.argument("name")
@click.option("--port", type=click.IntRange(0, 65535), default=8931, show_default=True, help="0 for a free one.")
@click.option(
    "--window",
    type=WINDOW,
    default="100/10s",
    show_default=True,
    help="Calls per duration and token, or none (hubspot).",
)
@click.option(
    "--daily",
    type=click.IntRange(0),
    default=40_000,
    show_default=True,
    help="Calls a day and portal; 0: no limit (hubspot).",
)
@click.option(
    "--search", type=click.IntRange(0), default=5, show_default=True, help="Searches a second; 0: no limit (hubspot)."
)
@click.option("--tier", default="", help="The tier whose limits to enforce (not for hubspot).")
@click.option("--seats", type=click.IntRange(0), default=0, help="Licensed users, where a limit grows with them.")
@click.option("--latency", type=DURATION, default="0", help="How long each call takes, 50ms for example.")
@click.option(
    "--jitter", type=DURATION, default="0", help="Random delay up to this, before a call is counted and after."
)
@click.option("--time-zone", default="US/Eastern", show_default=True, help="The zone of the account's midnight.")
@click.option("--unique", multiple=True, metavar="TYPE.PROPERTY", help="One more unique property; may be repeated.")
@click.option("--count-rejected", is_flag=True, help="Refused calls count, too.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of jitter and faults.")
@click.option("--json", "json_", is_flag=True, help="Tell the URL as JSON.")
@click.pass_context
def mock(
    ctx: click.Context,
    name: str,
    port: int,
    window: tuple[int, float] | None,
    daily: int,
    search: int,
    tier: str,
    seats: int,
    latency: float,
    jitter: float,
    time_zone: str,
    unique: tuple[str, ...],
    count_rejected: bool,
    seed: int,
    json_: bool,
) -> None:
    """Run the mock platform NAME until Ctrl-C: hubspot, or any entry of the catalogue (headway limits), yours included.

    hubspot stores what it is sent, in memory. The others answer any path, enforce the limits of their tier and reject
    as the platform does; who calls is told by the Authorization header. GET /_mock/stats tells what was counted.

    \b
    headway mock hubspot --port 8931 --window 100/10s --latency 50ms
    headway sync contacts.csv hubspot:contacts --key email --base-url http://127.0.0.1:8931
    headway mock marketo --latency 50ms
    """
    from zoneinfo import ZoneInfo

    try:
        ZoneInfo(time_zone)
    except (KeyError, ValueError, OSError) as error:
        raise UsageError(f"--time-zone {time_zone}: no such zone, write US/Eastern or Europe/Berlin") from error
    if name.lower() != "hubspot":
        _only_for_hubspot(ctx)
        _run_entry(name.lower(), tier, seats, time_zone, latency, jitter, seed, port, json_=json_)
        return
    if tier or seats:
        raise UsageError("mock hubspot has no --tier and --seats: say --window, --daily and --search")
    from headway.mock.config import MockConfig, Portal
    from headway.mock.server import bind, run

    config = MockConfig(
        window=window, daily=daily or None, search=search or None, latency=latency, jitter=jitter, seed=seed,
        count_rejected=count_rejected, portal=Portal(time_zone=time_zone), unique=_unique(unique),
    )  # fmt: skip
    run(config, bind(port), lambda url: _announce(url, json_=json_))


def _only_for_hubspot(ctx: click.Context) -> None:
    given = [
        each
        for each in ("window", "daily", "search", "unique", "count_rejected")
        if ctx.get_parameter_source(each) is not click.core.ParameterSource.DEFAULT
    ]
    if given:
        raise UsageError(f"--{given[0].replace('_', '-')} is for mock hubspot only: choose another --tier")


def _run_entry(
    name: str, tier: str, seats: int, zone: str, latency: float, jitter: float, seed: int, port: int, *, json_: bool
) -> None:
    from headway.mock.entries import EntryConfig
    from headway.mock.server import bind, run
    from headway.platforms import catalog_reader

    profile = catalog_reader.load(name)
    profile.tier(tier or None)
    config = EntryConfig(
        catalog_reader.file_of(name), tier, seats=seats, time_zone=zone, latency=latency, jitter=jitter, seed=seed
    )

    def announce(url: str) -> None:
        if json_:
            click.echo(json.dumps({"url": url}))
            return
        told = f"tier {tier or profile.default_tier}"
        click.echo(f"A mock {profile.title} ({told}) listens on {url} (Ctrl-C ends it; {url}/_mock/stats: its counts)")

    run(config, bind(port), announce)


def _announce(url: str, *, json_: bool) -> None:
    if json_:
        click.echo(json.dumps({"url": url}))
        return
    click.echo(f"A mock HubSpot listens on {url} (Ctrl-C ends it; {url}/_mock/stats tells what it counted)")
    click.echo("  export HUBSPOT_TOKEN=any-token-will-do")
    click.echo(f"  headway sync contacts.csv hubspot:contacts --key email --base-url {url}")


def _unique(given: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    pairs = [each.partition(".") for each in given]
    for owner, dot, name in pairs:
        if not (owner and dot and name):
            raise UsageError(f"--unique {owner}{dot}{name}: write TYPE.PROPERTY, contacts.member_number for example")
    return tuple((owner, name) for owner, _, name in pairs)


@click.command(short_help="Show it all: a mock, two syncs, live progress.")
@click.option(
    "--contacts", type=click.IntRange(1), default=20_000, show_default=True, help="How many contacts to make up."
)
@click.option("--window", type=WINDOW, default="100/10s", show_default=True, help="The mock's window.")
@click.option("--latency", type=DURATION, default="50ms", show_default=True, help="The mock's latency.")
@click.option("--quiet", "-q", is_flag=True, help="No progress, only the result.")
@click.option("--json", "json_", is_flag=True, help="Print one JSON value on standard output.")
def demo(contacts: int, window: tuple[int, float] | None, latency: float, quiet: bool, json_: bool) -> int:
    """Start a mock HubSpot, sync 10,575 real universities and generated contacts into it, and show the figures."""
    if window is None:
        raise UsageError("demo: --window none shows nothing; write 100/10s")
    from headway.cli.display import progress
    from headway.demo import demonstrate

    def perform(make: Callable[[Observer], Job]) -> Report:
        with progress(quiet=quiet) as shown:
            job = make(shown)
            shown.watch(job)
            return job.start()

    parts = demonstrate(perform, contacts=contacts, window=window, latency=latency)
    if json_:
        emit([_told(part) for part in parts])
        return 0
    lines = [
        (
            part.name, part.report.read, part.report.delivered, part.report.skipped, part.report.dead,
            part.report.requests, f"{part.report.seconds:.1f}", f"{part.best:.1f}", part.rejections,
        )
        for part in parts
    ]  # fmt: skip
    table(("sync", "records", "delivered", "skipped", "dead", "calls", "seconds", "best possible", "429s"), lines)
    click.echo(f"The window: {window[0]} calls per {window[1]:g} s. The 429s were counted by the platform, not by us.")
    return 0


def _told(part: Part) -> dict[str, object]:
    done = part.report
    return {
        "name": part.name, "records": done.read, "delivered": done.delivered, "skipped": done.skipped,
        "dead": done.dead, "calls": done.requests, "seconds": done.seconds, "best_seconds": part.best,
        "rejections": part.rejections,
    }  # fmt: skip
