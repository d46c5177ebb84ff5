"""Who gets how much of what does not suffice."""

from __future__ import annotations

__all__ = ["max_min"]


def max_min(amount: int, wants: dict[str, int], turn: int) -> dict[str, int]:
    """Max-min fair shares of `amount` by demand; the remainder goes round with `turn`."""
    shares = dict.fromkeys(wants, 0)
    left = amount
    hungry = sorted(name for name in wants if wants[name] > 0)
    while hungry and left >= len(hungry):
        each = left // len(hungry)
        for name in hungry:
            part = min(each, wants[name] - shares[name])
            shares[name] += part
            left -= part
        hungry = [name for name in hungry if shares[name] < wants[name]]
    for i in range(min(left, len(hungry))):
        shares[hungry[(i + turn) % len(hungry)]] += 1
    return shares
