"""What the documents point at is there: files, and make targets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.blocks import documents
from tests.house.sources import ROOT, name_of

LINK = re.compile(
    r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)(?:\s+\"[^\"]*\")?\)|!\[[^\]]*\]\((?P<image>[^)\s]+)\)"
)
MAKE = re.compile(r"(?:^|`|\$ )make (?P<target>[a-z]+)", re.MULTILINE)
TARGETS = set(re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
PROSE = [*documents(ROOT), *sorted(ROOT.glob("*.md"))]
PAGES = sorted(set(PROSE))


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    targets = [
        match["target"] or match["image"] for match in LINK.finditer(path.read_text("utf-8"))
    ]
    broken = [
        target
        for target in targets
        if not re.match(r"[a-z]+:", target)
        and not (path.parent / target.partition("#")[0]).exists()
    ]
    assert not broken, f"{name_of(path)} links to {broken}"


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_every_make_target_that_is_named_exists(path: Path) -> None:
    named = {match["target"] for match in MAKE.finditer(path.read_text("utf-8"))}
    assert named <= TARGETS, f"{name_of(path)} names make {sorted(named - TARGETS)}"
