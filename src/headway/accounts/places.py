"""Where the state of the limits lives: per user, never dependent on the working directory."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from headway.urls import open_url

__all__ = ["default_state"]


def default_state() -> str:
    """The path of the limits' state: $HEADWAY_STATE, else the file of this user for this kind of machine.

    Raises UsageError for a URL in HEADWAY_STATE that leads to no file.
    """
    given = os.environ.get("HEADWAY_STATE")
    if given:
        return str(open_url(given, "HEADWAY_STATE").path.expanduser().absolute())
    home = Path.home()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_STATE_HOME") or home / ".local" / "state")
    return str(base / "headway" / "limits.db")
