"""report."""

from __future__ import annotations

import csv
import io
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headway.cli.common import DEFAULT_STORE
from headway.cli.values import DURATION, SHARE
from headway.errors import UsageError

if TYPE_CHECKING:
    from headway.platforms.ga4.reports import ReportTable

__all__ = ["report"]


@click.command(short_help="Read a report, remembered so that asking again costs nothing.")
@click.argument("platform")
@click.option("--property", "property_", metavar="NUMBER", help="The property (default: GA4_PROPERTY_ID).")
@click.option("--metrics", required=True, metavar="NAMES", help="activeUsers,sessions for example.")
@click.option("--dimensions", default="", metavar="NAMES", help="date,country for example.")
@click.option("--from", "start", default="7daysAgo", show_default=True, metavar="DAY", help="2026-11-01, 30daysAgo.")
@click.option("--to", "end", default="today", show_default=True, metavar="DAY", help="2026-11-30, yesterday.")
@click.option("--where", multiple=True, metavar="NAME=VALUE", help="Only rows with this value; may be repeated.")
@click.option("--order", default="", metavar="NAMES", help="Sort by these; -name for the largest first.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most N rows.")
@click.option(
    "--ttl", type=DURATION, default="5m", show_default=True, help="How long a report is good for; 0: ask now."
)
@click.option("--format", "format_", type=click.Choice(["csv", "json", "parquet"]), default=None, help="Default: csv.")
@click.option("--output", "-o", metavar="FILE", help="Where to write (default: standard output).")
@click.option("--tier", metavar="NAME", help="The property's quotas: see `headway limits ga4`.")
@click.option("--share", type=SHARE, metavar="SHARE", help="Use at most this much of every limit (default 100%).")
@click.option("--account", metavar="NAME", help="The account of headway.toml to read as.")
@click.option("--base-url", metavar="URL", help="Where the platform is, if elsewhere: a mock, say.")
@click.option("--store", metavar="URL", help=f"Where reports are remembered (default {DEFAULT_STORE}).")
@click.option("--state", metavar="URL", help="Where the limits' shared state is (default: per user).")
def report(platform: str, metrics: str, dimensions: str, **options: Any) -> int:
    """Read a report of PLATFORM (ga4) within its quotas, and remember it for a while.

    \b
    headway report ga4 --property 123456789 --metrics activeUsers --dimensions date,country
    headway report ga4 --metrics sessions --from 2026-11-01 --to yesterday -o sessions.parquet
    """
    import os

    from headway.accounts.config import read_account
    from headway.accounts.making import account

    if platform.lower() != "ga4":
        raise UsageError(f"there are no reports of {platform}: what can be read is ga4")
    name = options["account"] or ""
    known = read_account("ga4", name).settings.get("property", "") if name else os.environ.get("GA4_PROPERTY_ID", "")
    number = options["property_"] or known
    if not number:
        raise UsageError("--property: name the property to read, or set GA4_PROPERTY_ID")
    kind = _format(options["format_"], options["output"])
    with account(
        "ga4", property=number, name=name, tier=options["tier"], share=options["share"], base_url=options["base_url"],
        state=options["state"], store=options["store"],
    ) as owner:  # fmt: skip
        table = owner.report(
            _names(metrics), _names(dimensions), start=options["start"], end=options["end"], limit=options["limit"],
            where=_where(options["where"]), order=_names(options["order"]), ttl=options["ttl"],
        )  # fmt: skip
    _write(table, kind, options["output"])
    told = "remembered, no call was made" if table.cached else "asked just now"
    more = f" of {table.row_count:,}" if table.row_count > len(table.rows) else ""
    click.echo(f"{len(table.rows):,} rows{more}: {told}", err=True)
    return 0


def _names(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]


def _where(given: tuple[str, ...]) -> dict[str, str]:
    pairs = [each.partition("=") for each in given]
    for name, equals, _ in pairs:
        if not (name and equals):
            raise UsageError(f"--where {name}: write NAME=VALUE, country=Germany for example")
    return {name.strip(): value for name, _, value in pairs}


def _format(asked: str | None, output: str | None) -> str:
    if asked is None and output is not None and Path(output).suffix.lower() in {".json", ".parquet"}:
        asked = Path(output).suffix.lower()[1:]
    if asked == "parquet" and output is None:
        raise UsageError("--format parquet: name a file with --output")
    return asked or "csv"


def _write(table: ReportTable, kind: str, output: str | None) -> None:
    if kind == "parquet":
        assert output is not None
        _parquet(table, output)
        return
    if kind == "json":
        text = json.dumps(table.dicts(), indent=1, ensure_ascii=False) + "\n"
    else:
        out = io.StringIO(newline="")
        write = csv.writer(out, lineterminator="\n").writerow
        write(table.columns)
        for row in table.rows:
            write(row)
        text = out.getvalue()
    if output is None:
        sys.stdout.write(text)
        return
    try:
        Path(output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--output {output}: cannot be written: {error.strerror}") from error


def _parquet(table: ReportTable, output: str) -> None:
    import duckdb

    kinds = {
        name: "VARCHAR" if any(isinstance(row[at], str) for row in table.rows) or not table.rows
        else "DOUBLE" if any(isinstance(row[at], float) for row in table.rows) else "BIGINT"
        for at, name in enumerate(table.columns)
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as connection:
        lines = Path(folder) / "rows.json"
        lines.write_text("".join(json.dumps(row) + "\n" for row in table.dicts()), encoding="utf-8")
        columns = ", ".join(f"{_quoted(name)}: {_quoted(kind)}" for name, kind in kinds.items())
        source = f"read_json({_quoted(str(lines))}, format='newline_delimited', columns={{{columns}}})"
        try:
            connection.execute(f"COPY (SELECT * FROM {source}) TO {_quoted(output)} (FORMAT parquet)")  # noqa: S608
        except duckdb.Error as error:
            raise UsageError(f"--output {output}: cannot be written: {str(error).splitlines()[0]}") from error


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
