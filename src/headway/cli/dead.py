"""Dead letters: what the platform refused, and what to do about it."""

from __future__ import annotations

import csv
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from headway.cli.common import STORE, as_json, emit, opened_store, table
from headway.cli.values import DURATION, clock_time
from headway.errors import UsageError

if TYPE_CHECKING:
    from headway.stores.model import DeadFilter, DeadLetter

__all__ = ["dead"]


@click.group(short_help="Dead letters: list, show, replay, export, drop.")
def dead() -> None:
    """What was not delivered, and why: list, show, replay, export, drop.

    \b
    headway dead ls                                    what there is
    headway dead export --output dead.csv              correct it, then: headway sync dead.csv …
    headway dead replay --code SERVICE_UNAVAILABLE     send it again as it is
    """


def filtered(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that choose letters."""
    for option in (
        click.option("--since", type=DURATION, metavar="DURATION", help="Only those of the last 2h, 1d, …"),
        click.option("--key", help="Only those of the record with this key."),
        click.option("--code", help="Only those with this code, as `dead ls` shows it."),
        click.option("--run", help="Only those of this run."),
    ):
        command = option(command)
    return command


def _filter(run: str | None, code: str | None, key: str | None, since: float | None, ids: Any = None) -> DeadFilter:
    from headway.stores.model import DeadFilter

    return DeadFilter(
        run=run,
        code=code,
        key=key,
        since=None if since is None else time.time() - since,
        ids=list(ids) if ids else None,
    )


@dead.command("ls", short_help="List dead letters.")
@filtered
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="How many to list.")
@STORE
@as_json
def list_letters(
    run: str | None, code: str | None, key: str | None, since: float | None, limit: int, store: str | None, json_: bool
) -> None:
    """List dead letters, oldest first, with counts per run and code."""
    which = _filter(run, code, key, since)
    with opened_store(store) as records:
        counts = records.dead_counts(which)
        letters = [letter for letter, _ in zip(records.dead(which), range(limit), strict=False)]
    if json_:
        emit([_told(letter) for letter in letters])
        return
    if not letters:
        click.echo("No dead letters.")
        return
    lines = [
        (letter.id, letter.key or "–", letter.line or "", letter.attempts, letter.code, _clip(letter.message))
        for letter in letters
    ]
    table(("id", "key", "line", "tries", "code", "message"), lines)
    total = sum(counts.values())
    if total > len(letters):
        click.echo(f"… and {total - len(letters):,} more (--limit)")
    click.echo()
    table(("run", "code", "letters"), [(*names, count) for names, count in sorted(counts.items())])


@dead.command("show", short_help="Show one with every attempt.")
@click.argument("ids", nargs=-1, required=True, type=int)
@STORE
@as_json
def show(ids: tuple[int, ...], store: str | None, json_: bool) -> None:
    """Show the letters with these IDS: payload, destination, and every attempt."""
    with opened_store(store) as records:
        letters = list(records.dead(_filter(None, None, None, None, ids)))
    if not letters:
        raise UsageError(f"no dead letter has the id {', '.join(map(str, ids))}: headway dead ls lists them")
    if json_:
        emit([_told(letter) for letter in letters])
        return
    for letter in letters:
        click.echo(f"{letter.id}  {letter.destination}  key {letter.key or '–'}  line {letter.line}  run {letter.run}")
        click.echo(f"  {letter.code}: {letter.message}")
        click.echo(f"  {letter.payload.decode('utf-8', 'replace') or letter.original.decode('utf-8', 'replace')}")
        for attempt in letter.history:
            where = f"  request {attempt.request_id}" if attempt.request_id else ""
            click.echo(f"  {clock_time(attempt.at)}  HTTP {attempt.status or '–'}  {attempt.code}{where}")


@dead.command("export", short_help="Write them to a CSV file, to be corrected.")
@filtered
@click.option("--output", "-o", type=click.Path(dir_okay=False), help="The file to write (default: standard output).")
@STORE
def export(
    run: str | None, code: str | None, key: str | None, since: float | None, output: str | None, store: str | None
) -> None:
    """Write dead letters as CSV: the original columns first, then line, code and error.

    A spreadsheet may open it: cells that look like formulas have an apostrophe in front. `headway sync` reads the
    corrected file as it is, without the columns and apostrophes that were added here.
    """
    which = _filter(run, code, key, since)
    with opened_store(store) as records:
        columns = _columns(records.dead(which))
        if columns is None:
            click.echo("No dead letters.", err=True)
            return
        with _opened(output) as file:
            count = _write(file, columns, records.dead(which))
    click.echo(f"{count:,} dead letters written" + (f" to {output}" if output else ""), err=True)


def _columns(letters: Iterator[DeadLetter]) -> list[str] | None:
    """All original columns in the order of their first appearance; None without a letter."""
    columns: dict[str, None] = {}
    empty = True
    for letter in letters:
        empty = False
        columns.update(dict.fromkeys(_cells(letter)))
    return None if empty else list(columns)


def _cells(letter: DeadLetter) -> dict[str, Any]:
    found = json.loads(letter.original or letter.payload or b"{}")
    return found if isinstance(found, dict) else {"(line)": found}


def _write(file: TextIO, columns: list[str], letters: Iterator[DeadLetter]) -> int:
    from headway.sources.corrected import MARK, escape

    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*columns, f"{MARK}line", f"{MARK}code", f"{MARK}error"])
    count = 0
    for count, letter in enumerate(letters, 1):  # noqa: B007  # the count is what is returned
        cells = _cells(letter)
        texts = [escape(_text(cells.get(name))) for name in columns]
        writer.writerow([*texts, letter.line or "", letter.code, escape(letter.message)])
    return count


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@contextmanager
def _opened(output: str | None) -> Iterator[TextIO]:
    if output is None:
        yield sys.stdout
        return
    try:
        with Path(output).open("w", encoding="utf-8", newline="") as file:
            yield file
    except OSError as error:
        raise UsageError(
            f"cannot write {output}: {error.strerror or error}; name another file with --output"
        ) from error


@dead.command("drop", short_help="Forget them.")
@filtered
@click.option("--all", "everything", is_flag=True, help="All of them, without a filter.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@STORE
def drop(
    run: str | None,
    code: str | None,
    key: str | None,
    since: float | None,
    everything: bool,
    yes: bool,
    store: str | None,
) -> None:
    """Forget dead letters for good: payloads and errors go, counts and keys stay."""
    if not everything and not any((run, code, key, since)):
        raise UsageError("dead drop: say which (--run, --code, --key, --since), or --all")
    which = _filter(run, code, key, since)
    with opened_store(store) as records:
        count = sum(records.dead_counts(which).values())
        if count and not yes:
            click.confirm(f"Forget {count:,} dead letters for good?", abort=True)
        records.drop(which)
    click.echo(f"{count:,} dead letters dropped")


@dead.command("replay", short_help="Send them again.")
@filtered
@click.option("--rate", type=click.FloatRange(0, min_open=True), help="Records a second at most.")
@click.option("--base-url", metavar="URL", help="Where the platform is, if elsewhere.")
@click.option("--state", metavar="URL", help="Where the limits' shared state is.")
@click.option("--quiet", is_flag=True, help="No progress.")
@STORE
@as_json
def replay(
    run: str | None,
    code: str | None,
    key: str | None,
    since: float | None,
    rate: float | None,
    base_url: str | None,
    state: str | None,
    quiet: bool,
    store: str | None,
    json_: bool,
) -> int:
    """Send dead letters again as they are, through the same budget, behind all other work, in a run of their own."""
    from headway.cli.working import work
    from headway.runs.resuming import replay_dead

    which = _filter(run, code, key, since)
    return work(
        lambda observer: replay_dead(which, rate=rate, store=store, state=state, base_url=base_url, observer=observer),
        quiet=quiet,
        json_=json_,
        store=store,
    )


def _told(letter: DeadLetter) -> dict[str, Any]:
    return {**asdict(letter), "payload": _json(letter.payload), "original": _json(letter.original)}


def _json(data: bytes) -> Any:
    return json.loads(data) if data else None


def _clip(text: str, width: int = 90) -> str:
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 1] + "…"
