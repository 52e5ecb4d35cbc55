"""Logs of wide maps: items by the hundred side by side, each with its scope, its execution and its calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue

from partsong.contracts import events as e
from partsong.contracts.events.envelope import START_HASH, chain, encode_commit, encode_report
from partsong.contracts.frozen import replace
from partsong.contracts.graph import Graph
from partsong.contracts.graph.validate import parse_graph
from partsong.contracts.persistent import PersistentMap
from partsong.contracts.state.fold import fold, fold_all
from partsong.contracts.state.state import Call, RunState
from partsong.contracts.talk.messages import AssistantMessage, TextPart, ToolCallPart
from partsong.engine.commands import runs
from partsong.engine.decide import decide
from tests.support.scenario import NOW

__all__ = ["NODES", "RUN", "Records", "made_anew", "records"]

RUN = "r_1"
Records = list[tuple[int, bytes]]

NODES: dict[str, dict[str, JsonValue]] = {
    "function": {"type": "function", "function": "m:f", "compensate": "m:g"},
    "approval": {"type": "approval", "title": "May it?", "deadline": 60},
    "agent": {
        "type": "agent",
        "agent": {"model": "scripted:m", "tools": ["look"]},
        "prompt": "go",
    },
}
"""What may be inside the map."""


def records(node: str, items: int, *, batch: int = 7, deadline: str | None = None) -> Records:
    """Write the log of a whole run, in which the engine decides after every `batch` reports."""
    options = e.RunOptions(max_steps=2 * items + 2, deadline=deadline)
    news = runs.start(RUN, _graph(node), {"items": [*range(items)]}, options, "q1", NOW)
    log, last, state = Records(), START_HASH, RunState(RUN)
    asked: list[str] = []
    while not state.ended:
        decided = decide(fold_all(state, news), NOW)
        events = (*news, *decided.events)
        commit, body = encode_commit(RUN, state.commits + 1, len(log), last, events)
        log.append((len(log) + 1, body))
        last, state, news = chain(last, body), replace(decided.state, commits=commit.n), ()
        asked += [call for event in events if (call := _asks(event)) is not None]
        for call_id in asked[:batch]:
            answer = _answer(state.calls[call_id])
            body = encode_report(RUN, answer)
            log.append((len(log) + 1, body))
            last, state = chain(last, body), fold(state, answer, len(log))
        del asked[:batch]
    assert state.status == "completed", state.error
    return log


def made_anew(before: Mapping[Any, Any], after: Mapping[Any, Any]) -> int:
    """Count the entries that were written to make one map of another."""
    if after is before:
        return 0
    if not isinstance(after, PersistentMap):
        return len(after)
    base = after._base.entries
    shared = base is before or (isinstance(before, PersistentMap) and base is before._base.entries)
    return len(after._changed) + len(after._late) + (0 if shared else len(base))


def _graph(node: str) -> Graph:
    inner: JsonValue = {"name": "item", "nodes": {"one": NODES[node]}}
    each: JsonValue = {"type": "map", "graph": inner, "over": "items", "into": "results"}
    return parse_graph({"name": "wide", "nodes": {"each": each}})


def _asks(event: e.Event) -> str | None:
    match event:
        case e.CallRequested() | e.AgentTurnRequested() | e.ApprovalRequested():
            return event.call_id
        case _:
            return None


def _answer(call: Call) -> e.Event:
    id_ = f"{RUN}.{call.id}.{call.attempt}.closed"
    match call.kind:
        case "approval":
            return e.ApprovalDecided(
                id=id_, time=NOW, call_id=call.id, decision="approve", by="ann"
            )
        case "agent.turn":
            first = call.id.endswith("/t1")
            look = ToolCallPart(id=call.id, name="look", args={})
            return e.AgentTurnCompleted(
                id=id_,
                time=NOW,
                call_id=call.id,
                attempt=call.attempt,
                message=AssistantMessage(parts=(look if first else TextPart(text="ok"),)),
                stop="tool_calls" if first else "stop",
                provider="scripted",
                model="m",
                usage=e.TurnUsage(input_total=1, output_total=1),
            )
        case _:
            update: dict[str, JsonValue] | None = {"out": 1} if call.kind == "function" else None
            return e.CallCompleted(
                id=id_,
                time=NOW,
                call_id=call.id,
                attempt=call.attempt,
                update=update,
                content="seen",
            )
