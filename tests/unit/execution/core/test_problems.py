"""Why a call failed: the classes that travel with it."""

from __future__ import annotations

from typing import Any

from partsong.execution.core.problems import class_names, raised


class Mine(ConnectionResetError):
    pass


def test_the_class_and_its_bases_travel_with_their_modules() -> None:
    problem = raised("function", Mine("gone"), None)
    assert problem.raised == (
        f"{__name__}.Mine",
        "ConnectionResetError",
        "ConnectionError",
        "OSError",
        "Exception",
        "BaseException",
    )


def test_a_group_is_also_what_all_that_is_in_it_have_in_common() -> None:
    group = ExceptionGroup("two", [ConnectionResetError(), ConnectionRefusedError()])
    assert "ConnectionError" in class_names(group)
    assert "ConnectionResetError" not in class_names(group)
    assert class_names(group)[0] == "ExceptionGroup"


def test_names_are_bounded() -> None:
    kind: Any = type("X" * 1000, (Exception,), {})
    for n in range(100):
        kind = type(f"X{n}", (kind,), {})
    names = class_names(kind())
    assert len(names) == 20
    assert max(map(len, names)) <= 200
