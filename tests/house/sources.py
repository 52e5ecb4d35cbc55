"""The project's own Python files, as paths and as syntax trees."""

from __future__ import annotations

import ast
from pathlib import Path

__all__ = ["LANGUAGE_AND_MEANS", "PLAYERS", "ROOT", "modules", "name_of", "parse"]

ROOT = Path(__file__).resolve().parents[2]
LANGUAGE_AND_MEANS = ("contracts", "shared")
PLAYERS = ("services",)


def modules(*roots: str) -> list[Path]:
    """Every module under the roots, in order; another project's environment (`.venv`) is not ours."""
    return [
        path
        for root in roots
        for path in sorted((ROOT / root).rglob("*.py"))
        if ".venv" not in path.parts
    ]


def name_of(path: Path) -> str:
    """The path as a test id: relative, with forward slashes."""
    return path.relative_to(ROOT).as_posix()


def parse(path: Path) -> ast.Module:
    """The module's syntax tree."""
    return ast.parse(path.read_text("utf-8"), filename=str(path))
