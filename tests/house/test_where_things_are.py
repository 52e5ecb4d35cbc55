"""`docs/where-things-are.md` names places that are there."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.house.sources import ROOT

PAGE = (ROOT / "docs" / "where-things-are.md").read_text("utf-8")
PLACE = re.compile(r"`([a-z_]+/[\w./-]*|[\w.]+\.toml)`")


def gone(text: str) -> Iterator[str]:
    """Places that a text names and that are nowhere in the repository."""
    for place in PLACE.findall(text):
        if not (ROOT / place).exists():
            yield place


def test_every_place_exists() -> None:
    assert len(PLACE.findall(PAGE)) > 40
    assert [*gone(PAGE)] == []


def test_at_least_fifteen_requests_are_answered() -> None:
    assert (
        sum(line.startswith("| ") for line in PAGE.partition("## The rooms")[0].splitlines()) > 16
    )


def test_a_place_that_is_gone_is_named() -> None:
    assert [*gone("see `shared/partsong/engine/gone.py` and `bench/`")] == [
        "shared/partsong/engine/gone.py"
    ]
