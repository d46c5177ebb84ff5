"""Commands that only look: status, rows."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from headway.cli.common import STORE, as_json, emit, opened_store, table
from headway.cli.values import clock_time

__all__ = ["rows", "status"]


@click.command(short_help="Show the runs, or the books of one.")
@click.argument("run", required=False)
@STORE
@as_json
def status(run: str | None, store: str | None, json_: bool) -> None:
    """Show the latest runs, or the books of one RUN.

    \b
    headway status
    headway status 20261123-181200-k3
    """
    with opened_store(store) as records:
        found = [records.run(run)] if run else records.runs()[:20]
    if json_:
        emit([_told(each) for each in found])
        return
    if not found:
        click.echo("No runs yet. Begin one: headway sync FILE hubspot:contacts --key email")
        return
    lines = [
        (each.id, each.state, each.config.source, each.config.destination, *_books(each), clock_time(each.changed))
        for each in found
    ]
    table(
        ("run", "state", "source", "destination", "read", "delivered", "dead", "skipped", "pending", "changed"), lines
    )
    for each in found:
        if each.reason and (run or each is found[0]):
            click.echo(f"\n{each.id}: {each.reason}")
        if each.state in {"paused", "interrupted", "loading", "running", "failed"} and each.ledger.pending and run:
            click.echo(f"Go on with: headway resume {each.id}")


def _books(each: Any) -> tuple[int, ...]:
    books = each.ledger
    return books.read, books.delivered + books.unchanged, books.dead, books.skipped, books.pending


def _told(each: Any) -> dict[str, Any]:
    return {
        "run": each.id, "state": each.state, "source": each.config.source, "destination": each.config.destination,
        "kind": each.config.kind, **asdict(each.ledger), "requests": each.requests, "rate_limited": each.rate_limited,
        "retries": each.retries, "created": each.created, "changed": each.changed, "reason": each.reason,
    }  # fmt: skip


@click.command(short_help="Show what happened to a record.")
@click.argument("key")
@click.option("--run", help="Only in this run.")
@STORE
@as_json
def rows(key: str, run: str | None, store: str | None, json_: bool) -> None:
    """Show what happened to every record with this KEY, in every run.

    \b
    headway rows ada@example.com
    """
    with opened_store(store) as records:
        found = records.find(key, run) or records.find(key.strip().lower(), run)
    if json_:
        emit([{**asdict(each), "state": each.state.name.lower()} for each in found])
        return
    if not found:
        click.echo(f"No record with the key {key!r}" + (f" in run {run}." if run else " in this store."))
        return
    for each in found:
        where = f"{each.destination}, line {each.line}" if each.line else each.destination
        click.echo(f"{each.run}  {each.state.name.lower():<9}  {clock_time(each.at)}  {where}")
        if each.remote_id:
            click.echo(f"    id there: {each.remote_id}")
        if each.code or each.message:
            click.echo(f"    {each.code}: {each.message}")
        for attempt in each.history:
            click.echo(f"    {clock_time(attempt.at)}  HTTP {attempt.status or '–'}  {attempt.code}: {attempt.message}")
