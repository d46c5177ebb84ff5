"""The `headway` command and its subcommands, each imported when it is run or asked for help."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from headway.version import __version__

__all__ = ["COMMANDS", "LazyGroup", "headway"]

COMMANDS = {
    "sync": ("headway.cli.syncing", "sync", "Send every record of a file or query to a destination."),
    "plan": ("headway.cli.syncing", "plan", "Say how many calls a sync takes, how long, and what limits it."),
    "resume": ("headway.cli.syncing", "resume", "Go on with a run that was interrupted or paused."),
    "report": ("headway.cli.reporting", "report", "Read a report, remembered so that asking again costs nothing."),
    "status": ("headway.cli.looking", "status", "Show the runs, or the books of one."),
    "rows": ("headway.cli.looking", "rows", "Show what happened to a record."),
    "dead": ("headway.cli.dead", "dead", "Dead letters: list, show, replay, export, drop."),
    "limits": ("headway.cli.catalogue", "limits", "Show the platforms' limits that Headway knows."),
    "mock": ("headway.cli.mocking", "mock", "Run a platform on this machine that enforces its rules."),
    "demo": ("headway.cli.mocking", "demo", "Show it all: a mock, two syncs, live progress."),
}


class LazyGroup(click.Group):
    """A group whose commands stand in other modules; their one-line help is here, so that --help imports none."""

    def __init__(self, *args: Any, lazy: dict[str, tuple[str, str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in self._lazy:
            return None
        module, name, _ = self._lazy[cmd_name]
        command: click.Command = getattr(import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in self._lazy.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self._lazy and not args[0].startswith("-"):
            import difflib

            close = difflib.get_close_matches(args[0], self._lazy, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(self._lazy)}"
            ctx.fail(f"no command {args[0]!r}: {hint}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=LazyGroup, lazy=COMMANDS, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="headway")
def headway() -> None:
    """Send data to marketing APIs as fast as each platform allows, without a 429 that could have been foreseen.

    \b
    Exit codes: 0 all delivered · 3 finished, with dead letters · 5 paused (quota or guard), resumable ·
    130/143 interrupted, resumable · 6 source unreadable · 4 credentials rejected · 2 wrong usage · 1 our error
    """
