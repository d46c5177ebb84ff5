"""Exceptions at any instruction: scripts/exceptions throws 100,000 of them, a few of them are thrown here."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs interval timers")
def test_two_thousand_exceptions_at_any_instruction_leave_nothing_behind():
    """In a process of its own: an exception that meets the test runner instead would end it."""
    command = [sys.executable, "-m", "tests.limiter.exceptions", "2000"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
