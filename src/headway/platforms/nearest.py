"""The property that was probably meant, by its name or by the label that people see."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping

__all__ = ["did_you_mean"]


def did_you_mean(column: str, labels: Mapping[str, str]) -> str:
    """The end of a sentence about an unknown property; `labels` by name. '' where none is near."""
    by_label = {_plain(label): name for name, label in labels.items() if label}
    by_name = {_plain(name): name for name in labels}
    wanted = _plain(column)
    exact = by_name.get(wanted) or by_label.get(wanted)
    close = difflib.get_close_matches(wanted, [*by_name, *by_label], n=1, cutoff=0.6)
    found = exact or (by_name.get(close[0]) or by_label.get(close[0]) if close else None)
    return f": did you mean {found!r}?" if found else ""


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower().removesuffix("__c"))
