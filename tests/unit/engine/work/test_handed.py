"""What a function is handed: its item, and not the list that it is an item of, unless it asks for that."""

from __future__ import annotations

from typing import Any

import pytest

from partsong.workflow import WorkflowGraph

DOCS: list[Any] = [{"id": 1}, {"id": 2}]


def keys(state: dict[str, Any]) -> dict[str, Any]:
    return {"keys": sorted(state)}


def mapped(**options: Any) -> WorkflowGraph:
    return WorkflowGraph("g").add_map("m", keys, over="docs", into="out", collect="keys", **options)


async def seen(graph: WorkflowGraph, **more: Any) -> list[str]:
    out: Any = (await graph.execute({"docs": DOCS, "tone": "kind", **more}))["out"]
    first: list[str] = out[0]
    return first


async def test_an_item_sees_itself_and_not_its_list_nor_the_results() -> None:
    assert await seen(mapped()) == ["index", "item", "tone"]
    assert await seen(mapped(), out=["before"]) == ["index", "item", "tone"]


async def test_inputs_ask_for_the_list_by_its_own_name_or_another() -> None:
    assert await seen(mapped(inputs={"docs": "{{docs}}"})) == ["docs", "index", "item"]
    assert await seen(mapped(inputs={"all": "{{docs}}"})) == ["all", "index", "item"]


async def test_a_list_within_a_value_stays_with_it() -> None:
    graph = WorkflowGraph("g").add_map("m", keys, over="box.docs", into="out", collect="keys")
    assert await seen(graph, box={"docs": DOCS}) == ["box", "docs", "index", "item", "tone"]


async def test_deep_inside_the_list_is_not_handed_either() -> None:
    leaf = WorkflowGraph("leaf").add_node("keys", keys)
    inner = WorkflowGraph("inner").add_subgraph("leaf", leaf)
    graph = WorkflowGraph("g").add_map("m", inner, over="docs", into="out", collect="keys")
    assert await seen(graph) == ["index", "item", "tone"]


async def test_what_is_written_inside_under_the_name_of_the_list_is_handed() -> None:
    inner = WorkflowGraph("inner").add_node("own", lambda state: {"docs": state["item"]})
    inner.add_node("keys", keys).add_edge("own", "keys")
    graph = WorkflowGraph("g").add_map("m", inner, over="docs", into="out", collect="keys")
    assert await seen(graph) == ["docs", "index", "item", "tone"]


async def test_a_list_that_is_called_item_is_an_item_inside() -> None:
    graph = WorkflowGraph("g").add_map("m", keys, over="item", into="out", collect="keys")
    assert (await graph.execute({"item": [1]}))["out"] == [["index", "item"]]


async def test_expressions_inside_see_the_list() -> None:
    inner = WorkflowGraph("inner").add_transform("count", {"n": "size(state.docs)"})
    graph = WorkflowGraph("g").add_map("m", inner, over="docs", into="out", collect="n")
    assert (await graph.execute({"docs": DOCS}))["out"] == [2, 2]


@pytest.mark.parametrize("count", [300])
async def test_what_all_items_are_handed_grows_with_their_number_only(count: int) -> None:
    handed: list[int] = []

    def weigh(state: dict[str, Any]) -> dict[str, Any]:
        handed.append(len(str(state)))
        return {"n": 1}

    graph = WorkflowGraph("g").add_map("m", weigh, over="docs", into="out")
    docs: list[Any] = ["x" * 4000] * count
    await graph.execute({"docs": docs})
    assert len(handed) == count
    assert sum(handed) < count * 4200
