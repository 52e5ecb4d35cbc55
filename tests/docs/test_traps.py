"""The table of traps names tests that are there."""

from __future__ import annotations

import re

from tests.house.sources import ROOT

PAGE = ROOT / "docs" / "how-to" / "add-a-provider.md"
FOLDERS = (ROOT / "tests" / "unit" / "models", ROOT / "tests" / "services" / "agent_gateway")


def test_every_test_that_the_table_names_exists() -> None:
    rows = [
        line
        for line in PAGE.read_text("utf-8").splitlines()
        if re.match(r"\|.*`test_\w+\.py`", line)
    ]
    assert len(rows) >= 10
    for row in rows:
        named = re.findall(r"`(test_\w+\.py)`([^;|]*)", row)
        assert named, row
        for file, rest in named:
            (path,) = [path for folder in FOLDERS for path in folder.rglob(file)]
            source = path.read_text("utf-8")
            names = re.findall(r"`(\w+)`", rest)
            assert names, (file, row)
            missing = [name for name in names if f"def test_{name}(" not in source]
            assert not missing, (file, missing)
