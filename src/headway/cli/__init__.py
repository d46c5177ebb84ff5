"""The command line: `headway`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and end the process with its exit code; errors are one line, without a traceback."""
    try:
        import click
    except ImportError:
        print("headway: the command line needs more packages: pip install 'headway[sync]'", file=sys.stderr)
        raise SystemExit(2) from None
    from headway.cli.group import headway
    from headway.errors import HeadwayError

    try:
        code = headway.main(args=arguments, prog_name="headway", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = 2
    except (click.Abort, KeyboardInterrupt):
        code = 130
    except HeadwayError as error:
        _complain(error)
        code = error.exit_code
    except BrokenPipeError:
        # Whoever read our output has enough; Python would complain once more when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except ImportError as error:
        print(f"headway: {error}; install what this needs: pip install 'headway[sync,serve]'", file=sys.stderr)
        code = 2
    except Exception as error:  # noqa: BLE001  # the outermost frame: whatever it is, it is ours
        _complain(error, "an error of ours: ")
        code = 1
    raise SystemExit(code if isinstance(code, int) else 0)


def _complain(error: BaseException, prefix: str = "") -> None:
    from headway import redact

    if os.environ.get("HEADWAY_DEBUG"):
        import traceback

        traceback.print_exception(error)
    print(f"headway: {prefix}{redact.text(error)}", file=sys.stderr)
    if prefix and not os.environ.get("HEADWAY_DEBUG"):
        print("headway: nothing was lost; HEADWAY_DEBUG=1 shows where it happened", file=sys.stderr)
