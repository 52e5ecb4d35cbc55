"""What a fork takes functions to have returned: it reaches them inside subgraphs and maps, or it is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from partsong.contracts.errors import InvalidInput
from partsong.workflow import WorkflowGraph


def worth() -> WorkflowGraph:
    inner = WorkflowGraph("inner")
    inner.add_node("b", lambda state: {"n": state["x"] + 1})
    each = WorkflowGraph("each")
    each.add_node("c", lambda state: {"m": state["item"] * 10})
    graph = WorkflowGraph("outer")
    graph.add_node("a", lambda state: {"x": 1, "l": [1, 2]})
    graph.add_subgraph("sub", inner)
    graph.add_map("all", each, over="l", into="out", collect="m")
    graph.add_tool("half", "calculator", args={"expression": "1/2"})
    graph.add_edge("a", "sub").add_edge("sub", "all").add_edge("all", "half")
    return graph


async def test_what_functions_returned_inside_is_replaced_and_all_else_is_refused(
    tmp_path: Path,
) -> None:
    log, graph = str(tmp_path / "log"), worth()
    first = await graph.execute({}, log=log, run_id="r_1")
    assert (first["n"], first["out"]) == (2, [10, 20])
    fork = await graph.fork(
        "r_1", log=log, outputs={"sub:1/b:1": {"n": 7}, "all:1/1/c:1": {"m": 8}}
    )
    assert (fork["n"], fork["out"]) == (7, [10, 8])
    for nothing in ("half:1", "sub:1", "all:1", "all:1/2/c:1", "nobody:1"):
        with pytest.raises(InvalidInput, match="no function of that name had returned") as refused:
            await graph.fork("r_1", log=log, outputs={nothing: {"n": 7}})
        assert refused.value.problem.code == "fork.unknown_output"
