"""The pages of docs/reference/ that are written from the source: `make reference` writes them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import unified_diff
from pathlib import Path

from tests.house.api.page import python_api
from tests.house.sources import ROOT

__all__ = ["FOLDER", "PAGES", "difference", "main"]

FOLDER = ROOT / "docs" / "reference"
PAGES: Mapping[str, Callable[[], str]] = {"python-api.md": python_api}
"""Each generated page, and what writes it."""
_SHOWN = 60


def difference(on_disk: str, generated: str, name: str) -> str:
    """What a page lacks or has too much, and how to accept it; empty if nothing."""
    lines = list(
        unified_diff(
            on_disk.splitlines(),
            generated.splitlines(),
            f"docs/reference/{name}, as it is",
            "as the source says",
            lineterm="",
        )
    )
    if not lines:
        return ""
    rest = len(lines) - _SHOWN
    shown = [*lines[:_SHOWN], *([f"... and {rest} lines more"] if rest > 0 else [])]
    return "\n".join((*shown, "", "If this is meant: make reference, and say it in CHANGELOG.md."))


def main(folder: Path = FOLDER) -> None:
    """Write all pages."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (folder / name).write_text(page(), "utf-8")


if __name__ == "__main__":
    main()
