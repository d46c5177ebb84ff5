"""One public door: everything in `__all__` is there, and importing it costs little and brings nothing along."""

from __future__ import annotations

import subprocess
import sys

import headway


def test_all_is_sorted_and_complete():
    assert list(headway.__all__) == sorted(headway.__all__)
    for name in headway.__all__:
        assert getattr(headway, name) is not None
    assert dir(headway) == sorted(headway.__all__)


def test_the_version_is_that_of_the_package():
    from importlib.metadata import version

    assert headway.__version__ == version("headway")


def test_no_module_shadows_a_public_name():
    import pkgutil

    modules = {each.name for each in pkgutil.iter_modules(headway.__path__)}
    assert not modules & set(headway.__all__)


def test_an_unknown_name_is_an_attribute_error():
    assert not hasattr(headway, "no_such_thing")


def loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_headway_and_its_limiter_brings_no_third_party_module():
    third_party = {"aiohttp", "duckdb", "msgspec", "click", "rich", "starlette", "uvicorn", "psycopg"}
    assert not loaded_by("import headway") & (third_party | {"asyncio", "sqlite3"})
    assert not loaded_by("from headway import Limiter, Window; Limiter(Window(1, 1))") & third_party


def test_help_imports_neither_engine_nor_database():
    heavy = {"aiohttp", "duckdb", "msgspec", "uvicorn", "rich", "sqlite3"}
    statement = (
        "sys.argv = ['headway', '--help']\nfrom headway.cli import main\ntry:\n main()\nexcept SystemExit:\n pass\n"
    )
    code = f"import sys; {statement}print('loaded', *sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert "Commands:" in done.stdout
    assert not set(done.stdout.rpartition("loaded")[2].split()) & heavy
