"""Where tools stand: `module:name` of a tool, of a list, of a graph or an agent that has them."""

from __future__ import annotations

import importlib

import pytest

from partsong.contracts.errors import InvalidInput
from partsong.tools import ToolRegistry, tool
from partsong.tools.places import place_of_tool, tools_at
from tests.support.shops import shop_modules

__all__ = ["shop_modules"]

pytestmark = pytest.mark.usefixtures("shop_modules")


@pytest.mark.parametrize(
    ("place", "names"),
    [
        ("shop_t.desk:stock", ["stock"]),
        ("shop_t.desk:tools", ["plain"]),
        ("shop_t.desk:plain", ["plain"]),
        ("shop_t.desk:desk.count", ["count"]),
        ("shop_t.desk:graph", ["count", "read_file", "stock"]),
        ("shop_t.desk:clerk", ["counted"]),
    ],
)
def test_an_allowed_place_adds_its_tools(place: str, names: list[str]) -> None:
    assert sorted(tool.name for tool in tools_at(place)) == names
    assert sorted(tool.name for tool in ToolRegistry(allow=[place]).own) == names


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("shop_t.desk:nothing", "shop_t.desk:nothing is nothing"),
        ("shop_t.empty:NUMBER", "shop_t.empty:NUMBER is a int"),
        ("no_such_x:tools", "no_such_x cannot be imported: ModuleNotFoundError"),
        (":tools", " cannot be imported: ValueError"),
    ],
)
def test_a_place_without_tools_is_refused_with_what_it_takes(place: str, said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        ToolRegistry(allow=[place])
    assert caught.value.problem.code == "tool.bad_place"
    assert said in caught.value.problem.message
    assert "an entry point, or MODULE:NAME of a tool" in (caught.value.problem.fix or "")


def test_a_tool_stands_where_a_module_has_it_or_what_it_was_made_of() -> None:
    desk = importlib.import_module("shop_t.desk")
    assert place_of_tool(desk.stock) == "shop_t.desk:stock"
    assert place_of_tool(tool(desk.plain)) == "shop_t.desk:plain"
    assert place_of_tool(tool(desk.desk.count)) == "shop_t.desk:desk.count"
    assert place_of_tool(tool(name="other")(desk.plain)) is None, "it is not what the function is"
    assert place_of_tool(tool(side_effect="read")(desk.plain)) is None
    assert place_of_tool(desk.reader) is None, "its function is Partsong's own"
    assert place_of_tool(desk.reader, far=True) == "shop_t.desk:reader"
