"""The registry: tools by name, built in, registered, or from packages that are allowed."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from partsong.contracts.errors import InvalidInput, NotFound
from partsong.contracts.wire.work import PLATFORM
from partsong.tools import ToolRegistry, tool

Install = Callable[[str, str], None]


@tool(side_effect="read")
def search(query: str) -> str:
    """Search."""
    return query


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs a package with a module `acme_tools` and an entry point `acme`, as pip would leave it."""

    def installed(source: str, target: str) -> None:
        (tmp_path / "acme_tools.py").write_text(source)
        metadata = tmp_path / "acme-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[partsong.tools]\nacme = {target}\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, "acme_tools", raising=False)
        importlib.invalidate_caches()

    return installed


TWO = """
from partsong.tools import tool

@tool
def first() -> str:
    "One."
    return "1"

@tool
def second() -> str:
    "Two."
    return "2"

both = [first, second]
"""


BUILT_IN = (
    "calculator",
    "fetch_page",
    "query_database",
    "read_file",
    "recall",
    "remember",
    "run_code",
    "web_search",
)


def test_these_tools_are_built_in() -> None:
    assert ToolRegistry().names == BUILT_IN


def test_what_the_platform_calls_itself_is_found_and_offered_to_no_model() -> None:
    registry = ToolRegistry()
    assert registry.get("send_webhook").name == "send_webhook"
    assert "send_webhook" not in registry.names
    assert "send_webhook" not in [spec.name for spec in registry.specs()]


def test_the_platform_finds_its_own_tool_whatever_has_its_name() -> None:
    @tool(name="send_webhook")
    def mine() -> None:
        """Mine."""

    registry = ToolRegistry([mine])
    assert registry.get("send_webhook") is mine
    assert registry.get("send_webhook", PLATFORM) is ToolRegistry().get("send_webhook")
    assert "send_webhook" in registry.names


def test_a_registered_tool_is_found_by_its_name() -> None:
    registry = ToolRegistry([search])
    assert registry.get("search") is search
    assert registry.names == tuple(sorted((*BUILT_IN, "search")))


def test_specs_come_in_the_order_asked_for() -> None:
    registry = ToolRegistry([search])
    assert [spec.name for spec in registry.specs()] == sorted([*BUILT_IN, "search"])
    assert [spec.name for spec in registry.specs(["search", "calculator"])] == [
        "search",
        "calculator",
    ]


def test_an_unknown_name_is_answered_with_those_that_come_close() -> None:
    with pytest.raises(NotFound) as caught:
        ToolRegistry([search]).get("serach")
    assert caught.value.problem.code == "tool.unknown"
    assert caught.value.problem.message == "no tool 'serach'; close: search, web_search"


def test_an_unknown_name_that_is_close_to_none_is_answered_with_all() -> None:
    with pytest.raises(NotFound, match="there are calculator"):
        ToolRegistry().get("zzz")


def test_two_tools_of_one_name_are_refused() -> None:
    @tool(name="search")
    def other(query: str) -> str:
        """Search elsewhere."""
        return query

    registry = ToolRegistry([search])
    with pytest.raises(InvalidInput) as caught:
        registry.register(other)
    assert caught.value.problem.code == "tool.duplicate"
    registry.register(search)
    assert registry.get("search") is search


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_registered_tool_takes_the_place_of_a_built_in_one(name: str) -> None:
    @tool(name=name)
    def mine() -> str:
        """Mine."""
        return "mine"

    registry = ToolRegistry([mine])
    assert registry.get(name) is mine
    assert (registry.names, registry.shadowed) == (BUILT_IN, (name,))
    assert [spec.description for spec in registry.specs([name])] == ["Mine."]


def test_a_built_in_tool_that_is_registered_is_no_tool_of_ones_own() -> None:
    registry = ToolRegistry([ToolRegistry().get("calculator")])
    assert (registry.names, registry.shadowed) == (BUILT_IN, ())


def test_the_error_about_two_tools_says_where_each_stands() -> None:
    @tool(name="search")
    def other(query: str) -> str:
        """Search elsewhere."""
        return query

    with pytest.raises(InvalidInput, match=rf"already \({__name__}:search, and now another one\)"):
        ToolRegistry([search, other])


def test_an_installed_package_adds_nothing_by_being_installed(install: Install) -> None:
    install(TWO, "acme_tools:both")
    assert ToolRegistry().names == BUILT_IN
    assert "acme_tools" not in sys.modules


def test_an_allowed_entry_point_adds_its_tools(install: Install) -> None:
    install(TWO, "acme_tools:both")
    assert ToolRegistry(allow=["acme"]).names == tuple(sorted((*BUILT_IN, "first", "second")))


def test_an_allowed_entry_point_that_is_not_there_is_an_error(install: Install) -> None:
    install(TWO, "acme_tools:both")
    with pytest.raises(NotFound) as caught:
        ToolRegistry(allow=["acne"])
    assert caught.value.problem.code == "tool.no_entry_point"
    assert "there are acme" in caught.value.problem.message


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        ("raise OSError('no disk')", "acme_tools:both", "cannot be loaded: OSError: no disk"),
        ("both = [len]", "acme_tools:both", "leads to a builtin_function_or_method"),
        ("", "acme_tools:both", "cannot be loaded: AttributeError"),
    ],
)
def test_an_entry_point_that_leads_to_no_tool_is_an_error(
    install: Install, source: str, target: str, said: str
) -> None:
    install(source, target)
    with pytest.raises(InvalidInput) as caught:
        ToolRegistry(allow=["acme"])
    assert caught.value.problem.code == "tool.bad_entry_point"
    assert said in caught.value.problem.message
