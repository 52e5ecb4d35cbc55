"""The graphs of the suite, one per construct."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from partsong.workflow import END, Retry, ToolNode, WorkflowGraph
from tests.system import steps


def counting(name: str = "counting") -> WorkflowGraph:
    graph = WorkflowGraph(name, reducers={"log": "append"})
    return (
        graph.add_node("count", steps.count)
        .add_node("double", steps.double)
        .add_edge("count", "double")
    )


def nested() -> WorkflowGraph:
    middle = WorkflowGraph("middle", reducers={"log": "append"})
    middle.add_subgraph("inner", counting()).add_node("note", steps.note).add_edge("inner", "note")
    graph = WorkflowGraph("nested", reducers={"log": "append"}).add_node("first", steps.note)
    return graph.add_subgraph("middle", middle).add_edge("first", "middle")


def bordered(*, detached: bool = False) -> WorkflowGraph:
    graph = WorkflowGraph("bordered")
    return graph.add_subgraph(
        "inner",
        counting(),
        inputs={"n": "{{start}}", "log": []},
        outputs={"result": "n"},
        detached=detached,
    )


def squares() -> WorkflowGraph:
    graph = WorkflowGraph("squares")
    return graph.add_map(
        "each", steps.square, over="numbers", into="squares", collect="square", max_concurrency=2
    )


def sums() -> WorkflowGraph:
    tool = ToolNode(tool="calculator", args={"expression": "{{item}} + {{more}}"})
    return WorkflowGraph("sums").add_map("each", tool, over="numbers", into="sums")


def halves(policy: Literal["fail_fast", "continue", "collect"]) -> WorkflowGraph:
    graph = WorkflowGraph("halves")
    return graph.add_map("each", steps.picky, over="numbers", into="halves", on_item_error=policy)


def waiting() -> WorkflowGraph:
    graph = WorkflowGraph("waiting").add_wait("rest", seconds=0.05)
    return graph.add_wait("paid", signal="paid", output="payment").add_edge("rest", "paid")


def impatient() -> WorkflowGraph:
    graph = WorkflowGraph("impatient", reducers={"log": "append"})
    graph.add_wait("paid", signal="paid", deadline=0.05)
    graph.add_node("thanks", steps.note).add_node("remind", steps.note)
    return graph.add_conditional_edge("paid", {"success": "thanks", "timeout": "remind"})


def sorting() -> WorkflowGraph:
    graph = WorkflowGraph("sorting", reducers={"log": "append"})
    graph.add_transform("sum", {"total": "state.a + state.b", "big": "state.a > 10"})
    for name in ("large", "medium", "small"):
        graph.add_node(name, steps.note)
    conditions = [("state.total > 100", "large"), ("state.total > 10", "medium")]
    return graph.add_condition("sum", conditions, otherwise="small")


def jumping() -> WorkflowGraph:
    graph = WorkflowGraph("jumping", reducers={"log": "append"}).add_node("jump", steps.jump)
    graph.add_node("here", steps.note).add_node("there", steps.note)
    return graph.add_goto("jump", ["here", "there"])


def looping() -> WorkflowGraph:
    graph = counting("looping").add_node("note", steps.note)
    return graph.add_loop("count", "double", until="state.n >= 10", max_visits=9, then="note")


def caught() -> WorkflowGraph:
    graph = WorkflowGraph("caught").add_node("broken", steps.broken).add_node("why", steps.why)
    return graph.on_error("broken", "why")


def saga() -> WorkflowGraph:
    graph = WorkflowGraph("saga").add_node("reserve", steps.reserve)
    again = Retry(attempts=2, initial=0.01, jitter=0)
    graph.add_node("charge", steps.charge, retry=again).add_node("ship", steps.broken)
    graph.compensate("reserve", steps.unreserve).compensate("charge", steps.refund)
    return graph.add_edge("reserve", "charge").add_edge("charge", "ship")


def racing(join: Literal["any", "first"] | int) -> WorkflowGraph:
    """What holds is let go by whoever comes behind the join: if the join waited for it, nothing would go on."""
    graph = WorkflowGraph("racing").add_node("start", steps.quick)
    branches = ["quick", "quicker"] if join == 2 else ["quick"]
    for name in branches:
        graph.add_node(name, steps.quick)
    last = "stuck" if join == "first" else "hold"
    graph.add_node(last, getattr(steps, last)).add_node("join", steps.release, join=join)
    return graph.add_parallel("start", [*branches, last], join="join")


def restarting() -> WorkflowGraph:
    graph = WorkflowGraph("restarting", reducers={"log": "append"}).add_node("note", steps.note)
    graph.add_node("restart", steps.restart).add_node("more", steps.note)
    return graph.add_edge("note", "restart").add_edge("restart", "more")


def chatting() -> WorkflowGraph:
    graph = WorkflowGraph("chatting", reducers={"chat": "messages"}).add_node("greet", steps.greet)
    return graph.add_node("correct", steps.correct).add_edge("greet", "correct")


class Person(BaseModel):
    age: int = 0
    said: str | int = 0


def modelled() -> WorkflowGraph:
    return WorkflowGraph("modelled", state_model=Person).add_node("age", steps.age)


def whispering() -> WorkflowGraph:
    graph = WorkflowGraph("whispering").add_node("whisper", steps.whisper)
    graph.add_node("hear", steps.hear).add_node("listen", steps.listen).add_edge("hear", "listen")
    return graph.add_edge("whisper", "hear", on="on").add_edge("listen", END)


def several() -> WorkflowGraph:
    return WorkflowGraph("several", reducers={"log": "append"}).add_node("several", steps.several)


def stubborn() -> WorkflowGraph:
    graph = WorkflowGraph("stubborn", on_failure="continue", reducers={"log": "append"})
    graph.add_node("start", steps.quick).add_node("broken", steps.broken)
    graph.add_wait("rest", seconds=0.05).add_node("late", steps.note).add_edge("rest", "late")
    return graph.add_parallel("start", ["broken", "rest"])
