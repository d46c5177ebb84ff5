"""sync, plan, resume."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from headway.cli.common import SEATS, STORE, as_json, emit
from headway.cli.values import DURATION, SHARE, duration_text

if TYPE_CHECKING:
    from headway.runs.report import Plan

__all__ = ["plan", "resume", "sync"]


def _where(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of the account, shared by sync, plan and resume."""
    for option in (
        STORE,
        click.option(
            "--share", type=SHARE, metavar="SHARE", help="Use at most this much of every limit (default 100%)."
        ),
        SEATS,
        click.option("--tier", metavar="NAME", help="The account's subscription: see `headway limits`."),
        click.option("--base-url", metavar="URL", help="Where the platform is, if elsewhere: a mock, say."),
        click.option("--state", metavar="URL", help="Where the limits' shared state is (default: per user)."),
    ):
        command = option(command)
    return command


def _what(command: Callable[..., Any]) -> Callable[..., Any]:
    """Arguments and options of what is sent, shared by sync and plan."""
    for option in (
        click.option("--limit", type=click.IntRange(1), metavar="N", help="Read only the first N rows."),
        click.option("--via", metavar="WAY", help="How records travel, where a platform has several ways."),
        click.option("--no-check", is_flag=True, help="Do not read the destination's schema first."),
        click.option("--query", metavar="SQL", help="What to read, for a database's URL."),
        click.option("--delimiter", metavar="CHAR", help="Of a CSV file (default: detected)."),
        click.option("--encoding", metavar="NAME", help="Of a text file (default: its byte order mark, else utf-8)."),
        click.option(
            "--duplicates", type=click.Choice(["last", "first", "fail"]), default="last", show_default=True,
            help="Which of several rows with one key travels.",
        ),
        click.option(
            "--blank", type=click.Choice(["keep", "clear"]), default="keep", show_default=True,
            help="Whether a blank cell keeps or clears the destination's field.",
        ),
        click.option("--map", "map_", metavar="MAP", help='Columns to properties, as SQL: "email=lower(mail), *".'),
        click.option(
            "--mode", type=click.Choice(["upsert", "insert", "update", "archive", "delete"]), default=None,
            help="What to do with the records (default: upsert; events are inserted).",
        ),
        click.option("--key", metavar="PROPERTY", help="The property that identifies a record (events need none)."),
        click.argument("destination"),
        click.argument("source"),
    ):  # fmt: skip
        command = option(command)
    return command


def _how(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of how it is sent, shared by sync and resume."""
    for option in (
        as_json,
        click.option("--quiet", "-q", is_flag=True, help="No progress, only the result."),
        click.option(
            "--durability", type=click.Choice(["normal", "full"]), default="normal", show_default=True,
            help="full: survive a loss of power at every step.",
        ),
        click.option(
            "--wait-for-quota", type=DURATION, metavar="DURATION",
            help="Wait so long for the day's quota, instead of pausing the run.",
        ),
        click.option("--max-dead", type=SHARE, metavar="SHARE", help="Pause when more are dead (default 20%)."),
    ):  # fmt: skip
        command = option(command)
    return command


@click.command(short_help="Send every record of a file or query to a destination.")
@_what
@click.option(
    "--validate",
    type=click.IntRange(0, 20),
    metavar="N",
    help="Let the platform check N records first (ga4, at most 20).",
)
@_how
@_where
def sync(source: str, destination: str, **options: Any) -> int:
    """Send every record of SOURCE to DESTINATION, delivered or accounted for.

    SOURCE is a CSV, JSONL or Parquet file, - for standard input, or a database's URL with --query. DESTINATION is a
    platform's object (hubspot:contacts, salesforce:Contact, mailchimp:LIST_ID, ga4:events), or that of a named account
    (hubspot/portal-12:contacts).

    \b
    headway sync contacts.csv hubspot:contacts --key email
    headway sync people.csv hubspot:contacts --key email --map "email=lower(mail), firstname=first_name"
    headway sync sqlite:///crm.db hubspot:companies --key domain --query "SELECT * FROM companies"
    headway sync people.parquet salesforce:Contact --key Customer_Number__c
    headway sync members.csv mailchimp:a1b2c3d4e5 --key email_address --via batch
    headway sync events.csv ga4:events --validate 5
    """
    from headway.cli.working import work
    from headway.runs.sync import Sync

    quiet, json_ = options.pop("quiet"), options.pop("json_")
    store = options["store"]
    given = _given(options)
    return work(
        lambda observer: Sync(source, destination, observer=observer, **given), quiet=quiet, json_=json_, store=store
    )


@click.command(short_help="Say how many calls a sync takes, how long, and what limits it.")
@_what
@_where
@click.option("--strict", is_flag=True, help="End with the exit code that a sync would end with.")
@as_json
def plan(source: str, destination: str, json_: bool, strict: bool, **options: Any) -> int:
    """Say what a sync of SOURCE into DESTINATION would take, and how it would end. Writes nothing to the platform.

    \b
    headway plan contacts.csv hubspot:contacts --key email
    """
    from headway.runs.sync import Sync

    found = Sync(source, destination, **_given(options)).plan()
    if json_:
        names = (
            "read", "records", "requests", "seconds", "quota_share", "quota_free", "binding_limit", "dead", "skipped",
            "would_exit",
        )  # fmt: skip
        emit({name: getattr(found, name) for name in names})
    else:
        _show(found)
    return found.would_exit if strict else 0


def _show(found: Plan) -> None:
    for note in found.notes:
        click.echo(note)
    click.echo(f"rows read            {found.read:,}" + _aside(dead=found.dead, skipped=found.skipped))
    click.echo(f"records to send      {found.records:,}")
    click.echo(f"calls                {found.requests:,}")
    if found.quota is not None and found.quota_share is not None:
        quota = found.quota
        click.echo(
            f"share of the {quota.period:<8}{found.quota_share:.1%}: {quota.free:,} of the {quota.period}'s "
            f"{quota.amount:,} calls are left to use"
        )
    click.echo(f"time                 {duration_text(found.seconds)}")
    if found.via:
        click.echo(f"way                  {found.via}")
    click.echo(f"what decides that    {found.binding_limit or 'the network: no limit binds'}")
    if found.ending:
        click.echo(f"a sync would end     {found.ending} (exit {found.would_exit})")


def _aside(**counts: int) -> str:
    told = [f"{count:,} {name}" for name, count in counts.items() if count]
    return f"  ({', '.join(told)})" if told else ""


@click.command(short_help="Go on with a run that was interrupted or paused.")
@click.argument("run", required=False)
@_how
@_where
def resume(run: str | None, **options: Any) -> int:
    """Go on with RUN, or with the latest run that is not finished.

    \b
    headway resume
    """
    from headway.cli.working import work
    from headway.runs.resuming import resume as resumed

    quiet, json_ = options.pop("quiet"), options.pop("json_")
    store = options["store"]
    given = {name: value for name, value in options.items() if value is not None}
    return work(lambda observer: resumed(run, observer=observer, **given), quiet=quiet, json_=json_, store=store)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """The options that were given, under the names that `Sync` takes."""
    given = {name: value for name, value in options.items() if value is not None}
    given["check"] = not given.pop("no_check", False)
    if "map_" in given:
        given["map"] = given.pop("map_")
    return given
