"""Whatever models answer and in whichever order: budgets hold, every tool call has one result, and the log says it all."""

from __future__ import annotations

from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from partsong.contracts import events as e
from partsong.contracts.errors import Problem
from partsong.contracts.graph import Graph
from partsong.contracts.graph.validate import parse_graph
from partsong.contracts.state.fold import fold_all
from partsong.contracts.state.serialization import dump_state, load_state
from partsong.contracts.state.state import Call, RunState
from partsong.contracts.talk.messages import (
    AssistantMessage,
    Message,
    TextPart,
    ToolCallPart,
    ToolMessage,
)
from tests.support.scenario import Scenario

LIMIT = 1.0
SMALL = 1e-9
"""What rounding may add."""


def team(agents: int) -> Graph:
    """Agents side by side, each with a tool, a graph with an agent in it, and a handoff."""
    spec = {"model": "scripted:m", "tools": ["look"], "repeats": 99}
    inner = {
        "name": "inner",
        "nodes": {"i": {"type": "agent", "agent": spec, "prompt": "{{input}}"}},
    }
    tool = {"graph": inner, "description": "Helps.", "result": "i"}
    node = {
        "type": "agent",
        "agent": {**spec, "handoffs": {"done": "When it is done."}, "compact_at": 1000},
        "prompt": "go",
        "graphs": {"help": tool},
    }
    names = [f"a{i}" for i in range(agents)]
    return parse_graph(
        {
            "name": "t",
            "nodes": {
                "s": {"type": "transform", "set": {"n": "1"}},
                **dict.fromkeys(names, node),
                "z": {"type": "transform", "set": {"m": "1"}},
            },
            "edges": [
                *({"from": "s", "to": name} for name in names),
                *({"from": name, "to": "z", "on": "done"} for name in names),
            ],
        }
    )


def spent(call: Call, share: float) -> e.TurnUsage:
    """What a gateway that keeps to the allowance lets a turn cost."""
    most = call.allowance.cost
    assert most is not None
    return e.TurnUsage(input_total=int(2000 * share), output_total=5, cost=most * share)


def turn_of(run: Scenario, call: Call, draw: st.DataObject) -> e.Event:
    doing = draw.draw(
        st.sampled_from(["say", "look", "help", "both", "hand", "made up", "fail", "cut"])
    )
    usage = spent(call, 1.0 if doing == "cut" else draw.draw(st.sampled_from([0.0, 0.3, 1.0])))
    id_ = f"r_1.{call.id}.{call.attempt}.closed"
    if doing in {"fail", "cut"}:
        code = "agent.max_cost" if doing == "cut" else "provider.server"
        problem = Problem(code=code, message="no", retryable=doing == "fail", fault="provider")
        return e.AgentTurnFailed(
            id=id_, call_id=call.id, attempt=call.attempt, error=problem, usage=usage
        )
    names = {
        "say": [], "look": ["look"], "help": ["help"], "both": ["help", "look"],
        "hand": ["transfer_to_done"], "made up": ["nonsense"],
    }[doing]  # fmt: skip
    parts: list[TextPart | ToolCallPart] = [
        ToolCallPart(id=f"{call.id}.{i}", name=name, args={"input": "x", "message": "y"})
        for i, name in enumerate(names)
    ]
    return e.AgentTurnCompleted(
        id=id_,
        call_id=call.id,
        attempt=call.attempt,
        message=AssistantMessage(parts=tuple(parts or [TextPart(text="ok")])),
        stop="tool_calls" if parts else "stop",
        provider="scripted",
        model="m",
        usage=usage,
    )


def step(run: Scenario, draw: st.DataObject) -> None:
    """Some open call ends, or the next timer fires."""
    ready = [call for call in run.state.calls.values() if call.open]
    if not ready:
        run.fires(min(run.state.timers))
        return
    call = ready[draw.draw(st.integers(0, len(ready) - 1))]
    if call.kind == "agent.turn":
        run.when(turn_of(run, call, draw))
    elif draw.draw(st.booleans()):
        run.completes(call.id, content="seen")
    else:
        run.fails(call.id, code="tool.raised", retryable=False)


def answered(messages: tuple[Message, ...]) -> bool:
    """Whether the results behind every assistant message are those of its calls, one each, in order."""
    for place, message in enumerate(messages):
        if isinstance(message, AssistantMessage):
            wanted = [call.id for call in message.tool_calls]
            results = messages[place + 1 : place + 1 + len(wanted)]
            if [m.call_id for m in results if isinstance(m, ToolMessage)] != wanted:
                return False
    return True


def check(state: RunState) -> None:
    open_turns = [c for c in state.calls.values() if c.kind == "agent.turn" and c.open]
    reserved = sum(call.allowance.cost or 0.0 for call in open_turns)
    assert (state.usage.cost or 0.0) + reserved <= LIMIT + SMALL
    assert all(answered(execution.messages) for execution in state.executions.values())
    assert load_state("r_1", dump_state(state)) == state


@settings(max_examples=60, deadline=None)
@for_all(agents=st.integers(1, 3), draw=st.data())
def test_agents_keep_their_budget_answer_every_tool_call_and_are_all_in_the_log(
    agents: int, draw: st.DataObject
) -> None:
    run = Scenario(team(agents), {}, options=e.RunOptions(max_cost=LIMIT))
    for _ in range(60):
        check(run.state)
        if run.state.ended:
            break
        step(run, draw)
    assert run.refolded == run.state


@settings(max_examples=15, deadline=None)
@for_all(draw=st.data())
def test_a_log_cut_anywhere_folds_to_a_state_that_can_go_on(draw: st.DataObject) -> None:
    run = Scenario(team(2), {}, options=e.RunOptions(max_cost=LIMIT))
    for _ in range(25):
        if not run.state.ended:
            step(run, draw)
    for end in range(1, len(run.log) + 1):
        again = Scenario(None)
        again.state = fold_all(RunState("r_1"), run.log[:end])
        again.when()
        check(again.state)
        busy = any(call.open for call in again.state.calls.values()) or again.state.timers
        assert busy or again.state.ended
