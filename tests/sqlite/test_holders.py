"""Who holds something, across machines and containers: nobody is taken for dead by a number that means nothing here."""

from __future__ import annotations

import subprocess
import sys

import pytest

from headway.sqlite import process
from headway.sqlite.process import holder_alive, holder_id


def gone() -> str:
    """The word of a process of this machine that has ended."""
    script = "from headway.sqlite.process import holder_id; print(holder_id())"
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()


def test_a_process_that_ended_is_known_and_this_one_lives():
    assert holder_alive(holder_id())
    if sys.platform == "linux":
        assert not holder_alive(gone())


def test_what_runs_on_another_machine_is_never_judged_by_its_number():
    word = gone().rpartition("@")[0]
    assert holder_alive(f"{word}@another-host")


@pytest.mark.skipif(sys.platform != "linux", reason="name spaces of process numbers")
def test_what_runs_in_another_container_is_not_judged_either():
    pid, _, rest = gone().partition(":")
    start, _, made = rest.rpartition(":")
    boot, _, began = start.split("/")
    assert holder_alive(f"{pid}:{boot}/4026999999/{began}:{made}")


def test_words_of_the_older_headway_are_understood_and_ours_are_by_it():
    word = holder_id()
    pid, _, rest = word.partition(":")  # as e222d7f reads it
    assert process.alive(int(pid), rest.rpartition(":")[0])
    assert holder_alive(word.partition("@")[0])
    assert not holder_alive(f"999999999:{process.identity().start}:abcd")


def test_the_word_of_a_machine_has_no_colon():
    assert ":" not in process.machine()
