"""A test stands where its module stands: who has found the module has found its test.

`tests/unit/contracts/graph/test_validate.py` tests `partsong.contracts.graph.validate`, and `test_validate_limits.py`
beside it would be an aspect of the same module. A package may be tested as a whole, under its own name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

import pytest

from tests.house.sources import LANGUAGE_AND_MEANS, PLAYERS, ROOT, modules, name_of

MIRRORS = ("tests/unit", "tests/sdk", "tests/services")

THEMES = {
    "tests/services/graph_engine/test_snapshots.py": "an engine with and without snapshots: held runs, ledger and fold together",
    "tests/unit/engine/commands/test_control.py": "what people do to a run, through all commands, and what a failed run undoes",
    "tests/unit/engine/test_absence.py": "what the platform lacks, from a call's deadline to the words for who waits",
    "tests/unit/engine/test_crash.py": "logs cut anywhere and folded again, whatever their graph",
    "tests/unit/engine/test_loud.py": "mishaps of every part: each is said, loses nothing, and leaves a way to go on",
    "tests/unit/engine/test_model.py": "the whole engine against the reference interpreter of tests/support/model.py",
    "tests/unit/engine/test_wide_runs.py": "maps of thousands: what an event costs in fold, decide and replay",
    "tests/unit/models/providers/test_traps.py": "what each vendor's SDK does behind its caller's back",
}
"""Tests of no single module, and why that is so."""

Names = Mapping[str, frozenset[str]]


def named() -> Names:
    """What a test may be named after, by package (`contracts/graph`): its modules, its packages, and itself."""
    found: dict[str, set[str]] = {}
    for path in modules(*LANGUAGE_AND_MEANS, *PLAYERS):
        module = PurePosixPath(*path.relative_to(ROOT).parts[2:])
        if module.name == "__init__.py":
            found.setdefault(str(module.parent), set()).add(module.parent.name)
            found.setdefault(str(module.parent.parent), set()).add(module.parent.name)
        else:
            found.setdefault(str(module.parent), set()).add(module.stem)
    return {package: frozenset(names) for package, names in found.items()}


def mirrors(test: str, names: Iterable[str]) -> bool:
    """Whether the test is named after one of them, or after an aspect of one."""
    about = PurePosixPath(test).stem.removeprefix("test_")
    return any(about == name or about.startswith(f"{name}_") for name in names)


def strays(tests: Iterable[str], names: Names) -> list[str]:
    """What stands where no module of its name does, with the places where one is."""
    said = []
    for test in tests:
        package = "/".join(PurePosixPath(test).parent.parts[2:])
        if package not in names:
            said.append(f"{test}: there is no package partsong/{package}")
        elif not mirrors(test, names[package]):
            top = package.partition("/")[0]
            others = [
                other
                for other, its in sorted(names.items())
                if other.partition("/")[0] == top and mirrors(test, its)
            ]
            said.append(
                f"{test}: partsong/{package} has no module of that name; "
                f"{' and '.join(others) or 'no package beside or below it'} has"
            )
    return said


def standing() -> list[str]:
    """Every test file that is to mirror a module."""
    return [name_of(path) for path in modules(*MIRRORS) if path.name.startswith("test_")]


def test_every_test_stands_where_its_module_stands() -> None:
    found = strays([test for test in standing() if test not in THEMES], named())
    assert not found, (
        "move the test, or name it after its module; one of no single module goes into THEMES:\n"
        + "\n".join(found)
    )


def test_every_theme_is_there_and_has_no_module_to_stand_by() -> None:
    assert set(THEMES) <= set(standing())
    assert len(strays(THEMES, named())) == len(THEMES)


@pytest.mark.parametrize(
    ("test", "why"),
    [
        ("tests/unit/a/test_c.py", "partsong/a has no module of that name; a/b has"),
        ("tests/unit/a/b/test_d.py", "no package beside or below it has"),
        ("tests/unit/a/test_bb.py", "partsong/a has no module of that name"),
        ("tests/services/z/test_c.py", "there is no package partsong/z"),
    ],
)
def test_a_test_that_stands_elsewhere_is_found(test: str, why: str) -> None:
    right = [
        "tests/unit/a/test_b.py",
        "tests/unit/a/b/test_c.py",
        "tests/unit/a/b/test_c_when_late.py",
        "tests/sdk/a/b/test_b.py",
    ]
    (said,) = strays([*right, test], {"a": frozenset({"b"}), "a/b": frozenset({"b", "c"})})
    assert said.startswith(f"{test}: ")
    assert why in said
