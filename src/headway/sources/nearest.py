"""The name that was probably meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

__all__ = ["did_you_mean"]

_SHOWN = 12


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """The end of a sentence about an unknown name: the nearest one, else all there are."""
    plain = {_folded(each): each for each in reversed(known)}
    found = difflib.get_close_matches(_folded(name), plain, n=1, cutoff=0.6)
    begun = [each for folded, each in plain.items() if folded.startswith(_folded(name)) and _folded(name)]
    if found or begun:
        near = plain[found[0]] if found else begun[-1]
        written = near if re.fullmatch(r"[^\W\d]\w*", near) else '"' + near.replace('"', '""') + '"'
        return f": did you mean {written}?"
    more = ", …" if len(known) > _SHOWN else ""
    return f": it has {', '.join(known[:_SHOWN])}{more}" if known else ": it has none"


def _folded(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()
