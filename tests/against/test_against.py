"""What counts as a test that finds a fault."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.against.__main__ import ROOT, endings, grouped, shows_its_fault

PROBE = """
import subprocess, sys, time
import pytest

def test_right(): pass
def test_wrong(): assert 1 == 2
def test_nothing_raised():
    with pytest.raises(ValueError): pass
def test_another_error(): raise KeyError("x")
def test_a_name_that_is_missing(): from headway import nonesuch
def test_a_program_that_cannot_import():
    done = subprocess.run([sys.executable, "-c", "import nonesuch"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
@pytest.mark.timeout(0.2)
def test_out_of_time(): time.sleep(5)
def test_left_out(): pytest.skip("not here")
@pytest.fixture
def broken(): raise OSError("no")
def test_that_never_began(broken): pass
"""


@pytest.mark.parametrize(
    ("there", "here", "shown"),
    [
        ({"assertion"}, {"passed"}, True),
        ({"assertion", "passed"}, {"passed"}, True),
        ({"passed"}, {"passed"}, False),
        ({"assertion"}, {"assertion", "passed"}, False),
        ({"assertion", "import"}, {"passed"}, False),
        ({"error"}, {"passed"}, False),
        ({"assertion"}, {"skipped"}, False),
    ],
)
def test_a_test_shows_its_fault_if_it_fails_there_by_assertions_only_and_passes_here(there, here, shown):
    assert shows_its_fault(there, here) is shown


def test_cases_belong_to_their_function():
    assert grouped(["a.py::t[2]", "a.py::t[1]", "a.py::u"]) == {
        "a.py::t": ["a.py::t[1]", "a.py::t[2]"],
        "a.py::u": ["a.py::u"],
    }


def test_every_ending_is_told_from_the_others(tmp_path):
    file = tmp_path / "test_probe.py"
    file.write_text(PROBE, encoding="utf-8")
    found = endings(Path(sys.modules["headway"].__file__).parents[1], [str(file), "--rootdir", str(tmp_path)])
    assert {test.partition("::")[2]: ending for test, (ending, _) in found.items()} == {
        "test_right": "passed",
        "test_wrong": "assertion",
        "test_nothing_raised": "assertion",
        "test_another_error": "error",
        "test_a_name_that_is_missing": "import",
        "test_a_program_that_cannot_import": "import",
        "test_out_of_time": "error",
        "test_left_out": "skipped",
        "test_that_never_began": "error",
    }  # fmt: skip


def test_sources_other_than_those_asked_for_are_refused(tmp_path):
    environment = os.environ | {"HEADWAY_AGAINST": str(tmp_path / "notes"), "HEADWAY_AGAINST_SRC": str(tmp_path)}
    command = [sys.executable, "-m", "pytest", "-p", "tests.against.recording", "--collect-only", "tests/against"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "headway is taken from" in done.stderr
