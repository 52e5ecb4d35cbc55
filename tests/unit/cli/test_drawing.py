"""Pictures of graphs, compared with the ones in `drawings/`; `python -m tests.unit.cli.test_drawing` draws them anew."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from partsong.cli.dot import dot
from partsong.cli.drawing import Drawing, drawing
from partsong.cli.graph_table import observed, rows
from partsong.cli.mermaid import mermaid
from partsong.cli.trail import Trail, trail
from partsong.contracts.state.fold import fold_all
from partsong.contracts.state.results import RunResult
from partsong.contracts.state.state import RunState
from partsong.workflow import END, WorkflowGraph
from tests.system import constructs, steps

GOLDEN = Path(__file__).parent / "drawings"


def shop() -> WorkflowGraph:
    """Every kind of node and of edge."""
    pay = WorkflowGraph("pay").add_node("charge", steps.charge).add_node("end", steps.quick)
    pay.add_edge("charge", "end").add_conditional_edge(
        "end", {'say "yes" | no': "charge", "ok": END}
    )
    each = WorkflowGraph("each").add_subgraph("pay", pay)
    graph = WorkflowGraph("shop")
    graph.add_transform("sum", {"total": "state.a + state.b"}).add_map(
        "all", each, over="items", into="paid"
    )
    graph.add_approval("ask").add_agent("write", "scripted:echo").add_tool("count", "calculator")
    graph.add_wait("rest", seconds=5).add_subgraph("child", pay, detached=True).add_node(
        "jump", steps.jump
    )
    graph.add_condition("sum", [('state.total > 10 && state.name == "x"', "all")], otherwise="ask")
    graph.on_error("all", "rest").add_edge("all", "write").add_edge("write", "count")
    graph.add_conditional_edge("ask", {"approved": "child", "rejected": END})
    graph.add_edge("count", "jump").add_goto("jump", ["sum", END]).add_edge("rest", END)
    return graph


def path_of(result: RunResult) -> Trail:
    return trail(fold_all(RunState(result.run_id), result.events), result.events)


async def observations() -> dict[str, tuple[WorkflowGraph, Trail]]:
    """Graphs, and where a run of each has been."""
    looped = await constructs.looping().execute({"n": 0})
    nested = await constructs.nested().execute({"n": 4})
    waiting = await constructs.waiting().execute({})
    failed = await constructs.saga().execute({})
    caught = await constructs.caught().execute({})
    mapped = await constructs.halves("continue").execute({"numbers": [4, 3, 8]})
    raced = await constructs.racing("first").execute({})
    return {
        "looped": (constructs.looping(), path_of(looped)),
        "nested": (constructs.nested(), path_of(nested)),
        "waiting": (constructs.waiting(), path_of(waiting)),
        "failed": (constructs.saga(), path_of(failed)),
        "caught": (constructs.caught(), path_of(caught)),
        "mapped": (constructs.halves("continue"), path_of(mapped)),
        "raced": (constructs.racing("first"), path_of(raced)),
    }


async def pictures() -> dict[str, str]:
    """All pictures by their file's name."""
    drawn: dict[str, tuple[Drawing, str]] = {
        "plain": (drawing(shop().compile()), "shop"),
        "expanded": (drawing(shop().compile(), expand=True), "shop"),
    }
    for name, (graph, seen) in (await observations()).items():
        compiled = graph.compile()
        drawn[name] = drawing(compiled, expand=True, trail=seen), compiled.name
    return {
        **{f"{name}.mmd": mermaid(found) + "\n" for name, (found, _) in drawn.items()},
        **{f"{name}.dot": dot(found, title) + "\n" for name, (found, title) in drawn.items()},
    }


async def test_pictures_are_as_they_were() -> None:
    drawn = await pictures()
    assert set(drawn) == {path.name for path in GOLDEN.iterdir()}
    for name, text in drawn.items():
        assert text == (GOLDEN / name).read_text("utf-8"), name


async def test_what_a_run_did_is_seen_node_by_node_and_edge_by_edge() -> None:
    found = {name: seen for name, (_, seen) in (await observations()).items()}

    def looks(name: str) -> dict[str, tuple[int, str, str | None]]:
        return {path: (s.visits, s.look, s.error) for path, s in found[name].nodes.items()}

    assert looks("looped") == {
        "count": (3, "done", None),
        "double": (3, "done", None),
        "note": (1, "done", None),
    }
    assert sorted(found["looped"].taken.values()) == [1, 2, 3]
    assert looks("waiting") == {"rest": (1, "done", None), "paid": (1, "waiting", None)}
    assert looks("failed")["ship"] == (1, "failed", "function.raised")
    assert looks("caught")["broken"] == (1, "failed", "function.raised")
    assert [edge.on for (_, edge) in found["caught"].taken] == ["failure"]
    assert looks("nested")["middle/inner/double"] == (1, "done", None)
    assert looks("mapped")["each/each"] == (3, "failed", "function.raised")
    assert looks("raced")["stuck"] == (1, "cancelled", None)


async def test_a_retried_run_is_seen_as_it_stands_now_on_the_mended_graph(tmp_path: Path) -> None:
    log = str(tmp_path / "runs.jsonl")
    graph = WorkflowGraph("g").add_node("a", steps.quick).add_node("b", steps.broken)
    await graph.add_edge("a", "b").execute(run_id="r_1", log=log)
    mended = WorkflowGraph("g").add_node("a", steps.quick).add_node("b", steps.reserve)
    mended.add_node("c", steps.quick).on_error("b", "c").add_edge("a", "b").add_edge("b", "c")
    seen = path_of(await mended.retry("r_1", log=log))
    assert {
        path: (found.visits, found.look, found.error) for path, found in seen.nodes.items()
    } == {
        "a": (1, "done", None),
        "b": (1, "done", None),
        "c": (1, "done", None),
    }
    assert {(edge.source, edge.to, edge.on) for _, edge in seen.taken} == {
        ("a", "b", None),
        ("b", "c", None),
    }


async def test_a_fork_alone_is_seen_from_where_it_began(tmp_path: Path) -> None:
    log = str(tmp_path / "runs.jsonl")
    graph = constructs.counting()
    await graph.execute({"n": 1}, run_id="r_1", log=log)
    middle = next(
        moment.seq
        for moment in await graph.history("r_1", log=log)
        if "node.completed count:1" in moment.did
    )
    seen = path_of(await graph.fork("r_1", middle, log=log))
    assert {path: found.look for path, found in seen.nodes.items()} == {"double": "done"}
    assert seen.taken == {}


async def test_the_table_says_what_each_node_is_about_and_how_it_stands() -> None:
    lines = [*rows(shop().compile(), None, expand=True)]
    assert [line["node"] for line in lines][:4] == ["sum", "all", "all/pay", "all/pay/charge"]
    said = {line["node"]: (line["leads_to"], line["what"]) for line in lines}
    assert said["sum"] == (
        'all if state.total > 10 && state.name == "x", ask else',
        "total = state.a + state.b",
    )
    assert said["all"] == ("rest on failure, write", "each for each of items, into paid")
    assert said["jump"] == ("sum by goto, END by goto", "tests.system.steps:jump")
    assert said["child"] == ("END", "pay, a run of its own")
    assert (said["rest"][1], said["write"][1]) == ("5s", "scripted:echo")
    result = await constructs.waiting().execute({})
    graph, seen = constructs.waiting().compile(), path_of(result)
    stands = [(r["node"], r["visits"], r["stands"]) for r in rows(graph, seen, expand=False)]
    assert stands == [("rest", "1", "done"), ("paid", "1", "waiting")]
    assert observed(seen) == {
        "visited": {
            "rest": {"visits": 1, "stands": "done", "error": None},
            "paid": {"visits": 1, "stands": "waiting", "error": None},
        },
        "taken": [{"in": "", "from": "rest", "to": "paid", "times": 1}],
    }


@pytest.mark.parametrize("name", ["plain", "expanded", "mapped"])
def test_no_picture_holds_what_its_language_would_take_for_syntax(name: str) -> None:
    text = (GOLDEN / f"{name}.mmd").read_text("utf-8")
    for label in re.findall(r'"([^"\n]*)"', text):
        assert not re.search(r'[<>|"]', label), label
    graph = (GOLDEN / f"{name}.dot").read_text("utf-8")
    assert graph.count("{") - len(re.findall(r'"[^"\n]*\{[^"\n]*"', graph)) == graph.count("}")


if __name__ == "__main__":
    for file, drawn in asyncio.run(pictures()).items():
        (GOLDEN / file).write_text(drawn, encoding="utf-8")
