"""mock and demo."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from headway.cli.common import SEATS, emit, table
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
    "--daily", type=click.IntRange(0), default=None, help="Calls a day; 0: no limit (hubspot 40,000, else the tier's)."
)
@click.option(
    "--search", type=click.IntRange(0), default=5, show_default=True, help="Searches a second; 0: no limit (hubspot)."
)
@click.option("--tier", default="", help="The tier whose limits to enforce (not for hubspot).")
@SEATS
@click.option("--latency", type=DURATION, default="0", help="How long each call takes, 50ms for example.")
@click.option(
    "--jitter", type=DURATION, default="0", help="Random delay up to this, before a call is counted and after."
)
@click.option("--time-zone", default="US/Eastern", show_default=True, help="The zone of the account's midnight.")
@click.option(
    "--unique",
    multiple=True,
    metavar="TYPE.PROPERTY",
    help="One more unique property, or external id (hubspot, salesforce); may be repeated.",
)
@click.option(
    "--field",
    "fields",
    multiple=True,
    metavar="OBJECT.FIELD",
    help="One more text field (salesforce); may be repeated.",
)
@click.option("--count-rejected", is_flag=True, help="Refused calls count, too (hubspot).")
@click.option("--seed", type=int, default=1, show_default=True, help="Of jitter and faults.")
@click.option("--json", "json_", is_flag=True, help="Tell the URL as JSON.")
@click.pass_context
def mock(ctx: click.Context, /, name: str, port: int, json_: bool, **options: Any) -> None:
    """Run the mock platform NAME until Ctrl-C: one of the four below, all of them, or any entry of the catalogue.

    hubspot, salesforce, mailchimp and ga4 store what they are sent, in memory, and enforce their rules; `all` runs the
    four on PORT and the next three. Any other entry (headway limits; yours included) answers any path, enforces the
    limits of its tier and rejects as the platform does. GET /_mock/stats tells what was counted.

    \b
    headway mock hubspot --port 8931 --window 100/10s --latency 50ms
    headway sync contacts.csv hubspot:contacts --key email --base-url http://127.0.0.1:8931
    headway mock salesforce --unique Contact.Customer_Number__c
    headway mock all
    headway mock marketo --latency 50ms
    """
    from headway.cli.mocks import config_of, words_for
    from headway.mock.server import bind, run_all

    name = name.lower()
    given = {each for each in options if ctx.get_parameter_source(each) is not click.core.ParameterSource.DEFAULT}
    if name != "all":
        configs = {name: config_of(name, options, given)}
    else:
        configs = {
            each: config_of(each, options, given & _ANY) for each in ("hubspot", "salesforce", "mailchimp", "ga4")
        }
    listeners = [bind(port + number if port else 0) for number in range(len(configs))]

    def announce(urls: list[str]) -> None:
        found = dict(zip(configs, urls, strict=True))
        if json_:
            click.echo(json.dumps(found if name == "all" else {"url": urls[0]}))
            return
        for each, url in found.items():
            for line in words_for(each, url, str(options["tier"])):
                click.echo(line)

    run_all(list(zip(configs.values(), listeners, strict=True)), announce)


_ANY = frozenset({"latency", "jitter", "seed", "time_zone"})


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
