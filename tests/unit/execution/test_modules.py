"""Loaded modules: what a graph may name of what is in them, and what it must not reach."""

from __future__ import annotations

import pytest

from partsong.contracts.errors import NotFound
from partsong.execution.modules import Modules
from tests.support.shops import shop_modules

__all__ = ["shop_modules"]

pytestmark = pytest.mark.usefixtures("shop_modules")


@pytest.mark.parametrize(
    ("name", "gives"),
    [
        ("scaled", {"x": 1}),
        ("tripled", {"x": 3}),
        ("desk", {"called": 42}),
        ("desk.lookup", {"stock": 42}),
        ("wrapped", {"bare": 1}),
    ],
)
def test_public_things_at_the_top_level_can_be_called(name: str, gives: object) -> None:
    assert Modules(["shop_t"]).callable_at(f"shop_t.desk:{name}")({}) == gives


@pytest.mark.parametrize(
    "name",
    [
        "lib.post",
        "desk.post",
        "desk._hidden",
        "desk.drawer.empty",
        "desk.lookup.__func__",
        "_secret.lookup",
        "posted",
        "tripled.func",
        "lent",
        "rented",
        "stock",
        "graph",
        "graph.execute",
        "clerk.call",
        "functools.partial",
        "reader.function",
    ],
)
def test_nothing_else_can(name: str) -> None:
    with pytest.raises(NotFound, match=r"function\.not_found"):
        Modules(["shop_t"]).callable_at(f"shop_t.desk:{name}")


def test_a_module_whose_name_is_not_said_is_none_of_them() -> None:
    with pytest.raises(NotFound) as caught:
        Modules(["shop_t"]).callable_at("lookup")
    assert caught.value.problem.fix == (
        "name it `module:function`, and start the tool-runner with `--load module`"
    )
