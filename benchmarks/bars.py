"""Bars: what a figure must hold. Each is printed beside its figure, and `ended()` tells whether one was missed.

A benchmark imports this file, which lies beside it, and ends with `sys.exit(ended())`.
"""

from __future__ import annotations

from math import inf

__all__ = ["at_least", "at_most", "ended", "exactly"]

_missed: list[str] = []


def at_most(what: str, value: float, bar: float, unit: str = "") -> bool:
    """The figure may be the bar or less."""
    return _said(what, value, "≤", bar, unit, value <= bar)


def at_least(what: str, value: float, bar: float, unit: str = "") -> bool:
    """The figure must be the bar or more."""
    return _said(what, value, "≥", bar, unit, value >= bar)


def exactly(what: str, value: float, bar: float, unit: str = "") -> bool:
    """The figure must be the bar, no more and no less."""
    return _said(what, value, "=", bar, unit, value == bar)


def ended() -> int:
    """The exit code: 1 if a bar was missed, and which."""
    if _missed:
        print(f"{len(_missed)} of the bars missed: {'; '.join(_missed)}", flush=True)
    return 1 if _missed else 0


def _said(what: str, value: float, sign: str, bar: float, unit: str, met: bool) -> bool:
    print(f"{what}: {_figure(value)}{unit} (bar {sign} {_figure(bar)}{unit}) {'met' if met else 'MISSED'}", flush=True)
    if not met:
        _missed.append(what)
    return met


def _figure(value: float) -> str:
    """As many digits as say something: 36,600; 91.23; 0.013."""
    if value in {inf, -inf}:
        return "never ends"
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3g}"
