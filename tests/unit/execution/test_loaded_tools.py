"""Tools of loaded modules: offered by name, found by where they stand, and none that a module merely imports."""

from __future__ import annotations

import importlib

import pytest

from partsong.contracts.errors import InvalidInput, NotFound
from partsong.execution.loaded_tools import LoadedTools, functions_in, registry_of
from partsong.execution.modules import Modules
from partsong.tools import ToolRegistry
from tests.support.shops import shop_modules

__all__ = ["shop_modules"]

pytestmark = pytest.mark.usefixtures("shop_modules")

DESK = "shop_t.desk"
BRINGS = ("count", "counted", "plain", "read_file", "stock")


def test_a_module_offers_its_tools_its_list_and_what_its_graphs_and_agents_have() -> None:
    registry = registry_of(Modules([DESK]))
    assert set(registry.names) - set(ToolRegistry().names) == set(BRINGS) - {"read_file"}
    assert registry.shadowed == ("read_file",)
    desk = importlib.import_module(DESK)
    assert registry.get("stock") is desk.stock
    assert registry.get("read_file") is desk.reader, "the module's own comes before its graph's"
    assert LoadedTools(Modules([DESK])).names(desk) == BRINGS


def test_a_tool_of_another_package_is_not_taken() -> None:
    registry = registry_of(Modules([DESK]))
    assert not registry.has("rented")
    assert not registry.has("rented", f"{DESK}:rented")
    assert registry_of(Modules([DESK, "elsewhere_x"])).has("rented", f"{DESK}:rented")


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("stock", "stock"),
        ("tools", "plain"),
        ("plain", "plain"),
        ("unlisted", "unlisted"),
        ("desk.count", "count"),
        ("graph", "count"),
        ("graph", "read_file"),
        ("clerk", "counted"),
        ("reader", "read_file"),
    ],
)
def test_a_tool_is_found_by_where_it_stands(place: str, name: str) -> None:
    registry = registry_of(Modules(["shop_t"]))
    assert registry.get(name, f"{DESK}:{place}").name == name
    assert registry.get(name, f"{DESK}:{place}") is not ToolRegistry().get("read_file")


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("stock", "other"),
        ("nothing", "stock"),
        ("_secret.count", "count"),
        ("desk.drawer.empty", "empty"),
        ("imported", "stock"),
        ("graph.add_tool", "add_tool"),
        ("functools", "partial"),
    ],
)
def test_nothing_else_is(place: str, name: str) -> None:
    with pytest.raises(NotFound) as caught:
        registry_of(Modules(["shop_t"])).get(name, f"{DESK}:{place}")
    assert caught.value.problem.code == "tool.unknown"
    assert caught.value.problem.fix == f"start a tool-runner with `--load {DESK}`"


def test_what_stands_in_a_module_that_is_not_loaded_is_another_tool_than_one_of_its_name() -> None:
    registry = registry_of(Modules([DESK]))
    assert not registry.has("stock", "other:stock")
    assert not registry.has("calculator", "other:calculator"), "nor is it the built-in one"


def test_two_tools_of_one_name_in_a_module_are_refused() -> None:
    with pytest.raises(InvalidInput) as caught:
        registry_of(Modules(["shop_t.both"]))
    assert caught.value.problem.code == "tool.duplicate"
    assert "shop_t.both:one, and now shop_t.both:two" in caught.value.problem.message


def test_a_module_may_have_neither() -> None:
    empty = importlib.import_module("shop_t.empty")
    assert functions_in(empty) == ()
    assert LoadedTools(Modules(["shop_t.empty"])).names(empty) == ()


def test_functions_of_a_module_are_those_written_there() -> None:
    assert functions_in(importlib.import_module(DESK)) == (
        "bare",
        "desk",
        "plain",
        "scaled",
        "tripled",
        "unlisted",
        "wrapped",
    )
