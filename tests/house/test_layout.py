"""Where code may stand, and how much of it in one place."""

from __future__ import annotations

import ast
import re
import subprocess

import pytest

from tests.house.sources import LANGUAGE_AND_MEANS, PLAYERS, ROOT, modules, name_of, parse

PACKAGES = (*LANGUAGE_AND_MEANS, *PLAYERS)
CODE = (*PACKAGES, "bench", "examples")
LONGEST_MODULE = 400
LONGEST_FUNCTION = 60

# Spelled in parts, so that this file does not find itself.
UNFINISHED = re.compile(
    r"Not"
    r"ImplementedError|\bTO"
    r"DO\b|\bFIX"
    r"ME\b|\bX"
    r"XX\b|not imple"
    r"mented|for n"
    r"ow\b"
)
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:root|home/\w+|Users/\w+)/")


TOP = {
    ".ci", ".editorconfig", ".gitattributes", ".github", ".gitignore", ".pre-commit-config.yaml",
    "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md", "SECURITY.md",
    "bench", "conftest.py", "contracts", "deploy", "docker-compose.yml", "docs", "examples",
    "mkdocs.yml", "pyproject.toml", "services", "shared", "tests", "uv.lock",
}  # fmt: skip


def test_nothing_else_lies_at_the_top() -> None:
    listed = subprocess.run(
        ("git", "ls-files"), cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a checkout")
    found = {line.partition("/")[0] for line in listed.stdout.splitlines()}
    assert found == TOP


@pytest.mark.parametrize("root", PACKAGES)
def test_a_namespace_root_has_no_init_module(root: str) -> None:
    stray = ROOT / root / "partsong" / "__init__.py"
    assert not stray.exists(), (
        f"{name_of(stray)} hides the other two roots of the namespace: remove it"
    )


@pytest.mark.parametrize("root", PACKAGES)
def test_every_package_below_a_root_has_an_init_module(root: str) -> None:
    folders = {path.parent for path in modules(root)} - {ROOT / root, ROOT / root / "partsong"}
    missing = [
        name_of(folder) for folder in sorted(folders) if not (folder / "__init__.py").exists()
    ]
    assert not missing, f"packages without __init__.py: {missing}"


def test_a_module_fits_a_screen_scroll() -> None:
    long = [
        f"{name_of(path)}: {lines} lines, at most {LONGEST_MODULE}"
        for path in modules(*CODE)
        if (lines := len(path.read_text("utf-8").splitlines())) > LONGEST_MODULE
    ]
    assert not long, "\n".join(long)


def test_a_function_does_one_thing() -> None:
    long = [
        f"{name_of(path)}:{node.lineno} {node.name}: {lines} lines, at most {LONGEST_FUNCTION}"
        for path in modules(*CODE)
        for node in ast.walk(parse(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > LONGEST_FUNCTION
    ]
    assert not long, "\n".join(long)


def test_a_module_is_finished_and_belongs_to_no_machine() -> None:
    found = [
        f"{name_of(path)}:{number}: {match.group(0)!r}"
        for path in modules(*CODE, "tests")
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1)
        for pattern in (UNFINISHED, MACHINE_PATH)
        if (match := pattern.search(line))
    ]
    assert not found, "\n".join(found)
