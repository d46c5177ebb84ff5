"""Values as people write them on a command line: durations, shares, windows."""

from __future__ import annotations

import re
from typing import Any

import click

__all__ = ["DURATION", "SHARE", "WINDOW", "clock_time", "duration_text"]

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


class _Duration(click.ParamType):  # type: ignore[type-arg]  # generic only since click 8.4
    """Seconds, or 50ms, 10s, 5m, 2h, 1d, 1h30m."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        text = str(value).strip().lower()
        parts = list(_DURATION.finditer(text))
        if not parts or "".join(part.group(0) for part in parts) != text:
            self.fail(f"{value!r} is not a duration: write 30s, 5m or 1h30m", param, ctx)
        return sum(float(part.group(1)) * _UNITS[part.group(2) or "s"] for part in parts)


class _Share(click.ParamType):  # type: ignore[type-arg]  # generic only since click 8.4
    """80% or 0.8."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        text = str(value).strip()
        try:
            share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except ValueError:
            self.fail(f"{value!r} is not a share: write 80% or 0.8", param, ctx)
        if not 0 <= share <= 1:
            self.fail(f"{value!r} is not between 0% and 100%", param, ctx)
        return share


class _Window(click.ParamType):  # type: ignore[type-arg]  # generic only since click 8.4
    """100/10s, or none."""

    name = "calls/duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, float] | None:
        if value is None or isinstance(value, tuple):
            return value
        text = str(value).strip().lower()
        if text == "none":
            return None
        amount, slash, per = text.partition("/")
        if not slash or not amount.isdigit() or int(amount) < 1:
            self.fail(f"{value!r} is not a window: write 100/10s, or none", param, ctx)
        return int(amount), DURATION.convert(per, param, ctx)


DURATION = _Duration()
SHARE = _Share()
WINDOW = _Window()


def duration_text(seconds: float) -> str:
    """A duration for people: 0.4 s, 12 s, 3 min 05 s, 2 h 10 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def clock_time(unix: float) -> str:
    """An instant in local time, to the second."""
    from datetime import datetime

    return datetime.fromtimestamp(unix).astimezone().strftime("%Y-%m-%d %H:%M:%S")
