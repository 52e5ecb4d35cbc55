"""The graphs of the suite that runs in one process and on the bus alike."""

from __future__ import annotations

from partsong.workflow import AgentSpec, Retry, WorkflowGraph
from tests.system import nodes


def chain() -> WorkflowGraph:
    graph = WorkflowGraph("chain")
    graph.add_node("start", nodes.start).add_node("a", nodes.path_a).add_edge("start", "a")
    return graph


def diamond() -> WorkflowGraph:
    graph = WorkflowGraph("diamond", reducers={"log": "append"})
    graph.add_node("start", nodes.start).add_node("left", nodes.left).add_node("right", nodes.right)
    graph.add_node("join", nodes.join)
    return graph.add_parallel("start", ["left", "right"], join="join")


def triage() -> WorkflowGraph:
    graph = WorkflowGraph("triage")
    graph.add_node("analyze", nodes.analyze)
    graph.add_node("path_A", nodes.path_a)
    graph.add_node("path_B", nodes.path_b)
    return graph.add_conditional_edge("analyze", {"success": "path_A", "failure": "path_B"})


def loop(max_visits: int | None = None) -> WorkflowGraph:
    graph = WorkflowGraph("loop")
    graph.add_node("count", nodes.count, max_visits=max_visits).add_node("end", nodes.nothing)
    return graph.add_conditional_edge("count", {"again": "count", "done": "end"})


def retrying() -> WorkflowGraph:
    graph = WorkflowGraph("retrying")
    return graph.add_node(
        "flaky", nodes.flaky, retry=Retry(attempts=3, initial=0.05, factor=1, jitter=0)
    )


def failing() -> WorkflowGraph:
    return WorkflowGraph("failing").add_node("broken", nodes.broken)


def rescued() -> WorkflowGraph:
    graph = (
        WorkflowGraph("rescued")
        .add_node("broken", nodes.broken)
        .add_node("repaired", nodes.repaired)
    )
    return graph.add_conditional_edge("broken", {"failure": "repaired"})


def single(name: str, **options: float) -> WorkflowGraph:
    function = getattr(nodes, name)
    return WorkflowGraph("single").add_node(name, function, timeout=options.get("timeout"))


def conflicting() -> WorkflowGraph:
    graph = WorkflowGraph("conflicting")
    graph.add_node("start", nodes.start).add_node("ten", nodes.ten).add_node("twenty", nodes.twenty)
    return graph.add_node("end", nodes.nothing).add_parallel("start", ["ten", "twenty"], join="end")


def calculating() -> WorkflowGraph:
    graph = WorkflowGraph("calculating")
    return graph.add_tool(
        "price", "calculator", args={"expression": "{{amount}} * 3"}, output="total"
    )


def asking() -> WorkflowGraph:
    graph = WorkflowGraph("asking")
    return graph.add_agent(
        "agent", AgentSpec(model="scripted:echo"), prompt="say {{word}}", output="answer"
    )


def approving() -> WorkflowGraph:
    graph = WorkflowGraph("approving")
    graph.add_node("start", nodes.start)
    graph.add_approval("ok", title="Pay {{amount}}?", show=("amount",))
    graph.add_node("yes", nodes.path_a).add_node("no", nodes.path_b)
    graph.add_edge("start", "ok")
    return graph.add_conditional_edge("ok", {"approved": "yes", "rejected": "no"})


def heavy() -> WorkflowGraph:
    graph = WorkflowGraph("heavy").add_node("big", nodes.big).add_node("measure", nodes.measure)
    return graph.add_edge("big", "measure")


def shop() -> WorkflowGraph:
    graph = WorkflowGraph("shop").add_node("price", nodes.price).add_node("pay", nodes.pay)
    return graph.add_edge("price", "pay")
