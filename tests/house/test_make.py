"""The front door: `make help` tells the truth."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.house.sources import ROOT, modules, name_of

PROMISED = ("setup", "demo", "test", "check", "bench", "docs", "clean")
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
MARKED = re.compile(r"\bpytest\.mark\.faults\b")
TARGETS = next(re.finditer(r"^\.PHONY: (.+)$", MAKEFILE, re.MULTILINE)).group(1).split()


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.fixture(scope="module")
def help_lines() -> dict[str, str]:
    done = make("help")
    assert done.returncode == 0, done.stderr
    pairs = (line.removeprefix("make ").split(maxsplit=1) for line in done.stdout.splitlines())
    return dict(pairs)


@pytest.mark.parametrize("target", PROMISED)
def test_every_promised_target_exists(target: str) -> None:
    assert target in TARGETS


@pytest.mark.parametrize("target", TARGETS)
def test_help_explains_every_target(target: str, help_lines: dict[str, str]) -> None:
    assert help_lines.get(target), (
        f"make help does not explain {target!r}: add '## what it does' to its rule"
    )


def test_help_lists_no_target_that_is_not_there(help_lines: dict[str, str]) -> None:
    assert set(help_lines) == set(TARGETS)


def test_make_alone_is_help() -> None:
    assert make().stdout == make("help").stdout


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_can_be_planned(target: str) -> None:
    done = make("--dry-run", target)
    assert done.returncode == 0, done.stderr


def test_setup_names_the_way_out_when_python_is_too_old() -> None:
    done = make(".venv", "PYTHON=false")
    assert done.returncode != 0
    assert "needs Python 3.11 or newer" in done.stderr
    assert "make setup PYTHON=" in done.stderr


def test_all_that_make_test_runs_by_itself_is_where_it_looks() -> None:
    marked = {name_of(path) for path in modules("tests") if MARKED.search(path.read_text("utf-8"))}
    assert marked
    assert {name for name in marked if not name.startswith("tests/faults/")} == set()
