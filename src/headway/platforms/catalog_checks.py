"""What must hold between the parts of an entry of the catalogue; single values are checked where they are read."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from headway.platforms.catalog_schema import wrong
from headway.platforms.profile import KINDS, LimitEntry, Profile, Rule, Tier

__all__ = ["check_profile"]

_KIND_KEYS = ("longer_than", "per", "rate", "resets")


def check_profile(profile: Profile, where: str) -> None:
    """Raise UsageError unless the parts of the entry, read from the file `where`, fit together."""
    names = _tiers(profile.tiers, where)
    if profile.default_tier not in profile.tiers:
        wrong(where, "default_tier", f"{profile.default_tier!r} is not a tier: {_known(profile.tiers)}")
    for number, route in enumerate(profile.routes, 1):
        for each in sorted(route.limits):
            _named(each, names, where, f"routes[{number}].limits")
    for number, rule in enumerate(profile.rejection.rules, 1):
        _rule(rule, names, where, f"rejection.rules[{number}]")
    for number, usage in enumerate(profile.usage, 1):
        _named(usage.limit, names, where, f"usage[{number}].limit")
        if usage.json and not usage.percent:
            wrong(where, f"usage[{number}].percent", "is missing: the keys in the JSON that say a share used")
    _named(profile.header_limit, names, where, "header_limit")


def _tiers(tiers: Mapping[str, Tier], where: str) -> list[str]:
    """Check every tier; gives the names of all limits."""
    names: list[str] = []
    if not tiers:
        wrong(where, "tiers", "is empty: describe at least one as [tiers.default]")
    for name, tier in tiers.items():
        at = f"tiers.{name}"
        if bool(tier.limits) == bool(tier.without_limits):
            wrong(where, f"{at}.limits", 'is empty without, or not empty with, without_limits = "unpublished"')
        own: list[str] = []
        for number, limit in enumerate(tier.limits, 1):
            _limit(limit, where, f"{at}.limits[{number}]")
            if limit.name in own:
                wrong(where, f"{at}.limits[{number}].name", f"{limit.name!r} occurs twice in this tier")
            own.append(limit.name)
        names += [each for each in own if each not in names]
    return names


def _limit(limit: LimitEntry, where: str, at: str) -> None:
    needs, may = KINDS[limit.kind]
    for each in _KIND_KEYS:
        given = getattr(limit, each) is not None
        if each in needs and not given:
            wrong(where, f"{at}.{each}", f"is missing: a {limit.kind} needs it")
        if given and each not in needs | may:
            wrong(where, f"{at}.{each}", f"makes no sense for a {limit.kind}")
    told = bool(limit.segments) + bool(limit.resource) + bool(limit.parameter)
    if told != (limit.scope == "resource"):
        wrong(
            where, f"{at}.segments",
            "says how many parts of the path name the resource: that, resource or parameter, for that scope only",
        )  # fmt: skip
    if limit.at_most is not None and limit.at_most < limit.amount:
        wrong(where, f"{at}.at_most", "is below the amount")


def _rule(rule: Rule, names: list[str], where: str, at: str) -> None:
    if bool(rule.path) != bool(rule.equals):
        wrong(where, f"{at}.path", "and `equals` belong together: the place of the code, and the codes")
    if not (rule.reads or rule.header):
        wrong(where, at, "has no condition: give path and equals, contains, header or bare (or rejection.statuses)")
    _named(rule.limit, names, where, f"{at}.limit")


def _named(name: str, names: list[str], where: str, at: str) -> None:
    if name and name not in names:
        wrong(where, at, f"{name!r} is not a limit of any tier: {_known(names, name)}")


def _known(known: Iterable[str], name: str = "") -> str:
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    return (f"did you mean {close[0]!r}? " if close else "") + f"there are {', '.join(known)}"
