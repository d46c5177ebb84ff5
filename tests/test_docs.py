"""The documentation is checked: the reference is what the commands say, links lead somewhere, code blocks compile."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "benchmarks" / "README.md",
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_that_exist(page):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if not re.match(r"https?://|mailto:", target):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_in_pages_compiles(page):
    for code in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        compile(code, str(page), "exec")


def test_the_reference_is_what_the_commands_say():
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "reference"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_module_of_the_architecture_page_exists():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for name in re.findall(r"`([a-z_]+/(?:[a-z_/]+\.py)?)`", text):
        assert (ROOT / "src" / "headway" / name).exists(), name


def test_every_script_is_explained_to_those_who_work_on_headway():
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    scripts = [path.name for path in (ROOT / "scripts").iterdir() if path.is_file() and not path.suffix]
    assert [name for name in scripts if f"`./scripts/{name}`" not in page] == []


def test_every_benchmark_is_run_by_the_one_command_and_explained():
    runs = (ROOT / "benchmarks" / "all").read_text(encoding="utf-8")
    page = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    for path in (ROOT / "benchmarks").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        if "__main__" in text:
            assert f"bench {path.stem}" in runs, path.name
            assert f"benchmarks/{path.name}" in page, path.name
            assert "ended()" in text, f"{path.name} does not check its bars"
