"""A pytest plugin: notes how every test ended, in a file that all of pytest's processes share.

Loaded by tests.against; HEADWAY_AGAINST names the file, HEADWAY_AGAINST_SRC the sources that must be under test.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

import headway

_FOREIGN = re.compile(r"\b(?:ModuleNotFoundError|ImportError|SyntaxError)\b|AttributeError: module 'headway")


def pytest_configure() -> None:
    """Whatever is installed: these sources are what is asked about."""
    wanted = Path(os.environ["HEADWAY_AGAINST_SRC"]).resolve()
    if not Path(headway.__file__).resolve().is_relative_to(wanted):
        raise pytest.UsageError(f"headway is taken from {headway.__file__}, not from {wanted}")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.when == "call" or not report.passed:
        _note(item.nodeid, _ending(report, call), _line(report))


def pytest_collectreport(report) -> None:
    if report.failed:
        _note(report.nodeid, "import", _line(report))


def _ending(report, call) -> str:
    if report.skipped:
        return "skipped"
    if report.passed:
        return "passed"
    if _FOREIGN.search(report.longreprtext):
        return "import"  # also where a program that the test started could not import something
    if report.when == "call" and _asserted(call.excinfo.value):
        return "assertion"
    return "error"


def _asserted(error: BaseException) -> bool:
    """An assertion, or a `pytest.raises` that nothing was raised in; running out of time is neither."""
    if isinstance(error, BaseExceptionGroup):
        return all(_asserted(each) for each in error.exceptions)
    if isinstance(error, pytest.fail.Exception):
        return not str(error).startswith("Timeout")
    return isinstance(error, AssertionError)


def _line(report) -> str:
    """What the report says in a line."""
    crash = getattr(getattr(report, "longrepr", None), "reprcrash", None)
    text = crash.message if crash is not None else report.longreprtext if report.failed else ""
    return next((line for line in text.splitlines() if line.strip()), "")[:160]


def _note(test: str, ending: str, line: str) -> None:
    data = json.dumps({"test": test, "ending": ending, "line": line}).encode() + b"\n"
    file = os.open(os.environ["HEADWAY_AGAINST"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, data)
    finally:
        os.close(file)
