"""An agent's conversation: how it begins, what each turn adds, and what of it is said to come after."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from pydantic import JsonValue

from partsong.contracts import events as e
from partsong.contracts.frozen import replace
from partsong.contracts.graph import AgentNode
from partsong.contracts.graph.nodes import HANDOFF
from partsong.contracts.graph.reducers import OVERWRITE, as_data
from partsong.contracts.graph.templates import render
from partsong.contracts.state.hook_decisions import forbidden, replaced
from partsong.contracts.state.model_answers import (
    handed_by,
    handoff_of,
    last_answer,
    tool_calls_of,
    value_of,
)
from partsong.contracts.state.scope import Execution
from partsong.contracts.state.state import Call, RunState
from partsong.contracts.state.tool_calls import made_by_code, malformed, refusal, with_edit
from partsong.contracts.talk.messages import (
    MESSAGE,
    Message,
    ToolCallPart,
    ToolMessage,
    ToolSpec,
    UserMessage,
    messages_of,
)
from partsong.contracts.talk.model_routing import Progress

__all__ = [
    "REPAIR",
    "after_turn",
    "begun",
    "compacted",
    "inner_tools",
    "most_repeated",
    "offered",
    "progress_of",
    "sums_up",
    "tool_names",
    "written",
]

REPAIR = (
    "That answer does not fit what was asked for:\n{why}\nGive the whole answer again, corrected."
)
"""What a model is told whose answer does not fit; `why` is for it to read."""

_SUMMARY = "What was said before, in short:\n{summary}\n\nThe task:\n{task}"
_HANDOFF: dict[str, JsonValue] = {
    "type": "object",
    "properties": {
        "message": {"type": "string", "description": "What whoever takes over needs to know."}
    },
    "required": ["message"],
}


def begun(
    state: RunState, execution: Execution, node: AgentNode
) -> tuple[tuple[Message, ...], int]:
    """The messages of the first turn, and how many of them were there before.

    Raises:
        InvalidInput: `template.unknown_key`, `agent.bad_history`.
    """
    view = state.view(execution)
    before = _history(node.history, view)
    return (*before, UserMessage(text=render(node.prompt, view))), len(before)


def _history(key: str | None, view: Mapping[str, JsonValue]) -> tuple[Message, ...]:
    if key is None or key not in view:
        return ()
    return messages_of(view[key], f"state.{key}")


def after_turn(
    state: RunState, execution: Execution, repair: str | None, warning: str | None = None
) -> Execution:
    """The conversation before the next turn: the last answer and its tools' results have come to it."""
    answer = last_answer(state, execution)
    if answer is None:
        return execution
    node, talk = state.node(execution), execution.talk
    calls = answer.message.tool_calls
    results = [_result(state, execution, node, i, call) for i, call in enumerate(calls)]
    said: tuple[Message, ...] = (*execution.messages, answer.message, *results)
    if repair is not None:
        said = (*said, UserMessage(text=repair))
    if warning is not None:
        said = (*said, UserMessage(text=warning))
    lost = calls and isinstance(node, AgentNode) and not any(offered(node, c.name) for c in calls)
    talk = replace(
        talk,
        unknown=talk.unknown + 1 if lost else 0,
        warned=talk.warned or warning is not None,
        tool_calls=talk.tool_calls
        + len(calls)
        + made_by_code(state, f"{execution.id}/t{execution.turn}", len(calls)),
        repairs=talk.repairs + (repair is not None),
        seen=_seen(talk.seen, calls, results),
    )
    return replace(execution, messages=said, talk=talk, results={}, broken={})


def _result(
    state: RunState, execution: Execution, node: object, index: int, wanted: ToolCallPart
) -> ToolMessage:
    """One result per tool call, always: what it returned, or why it did not."""
    call = state.calls.get(f"{execution.id}/t{execution.turn}/c{index}")
    content, failed = _content(state, execution, node, index, wanted, call)
    return ToolMessage(call_id=wanted.id, name=wanted.name, content=content, is_error=failed)


def _content(
    state: RunState,
    execution: Execution,
    node: object,
    index: int,
    wanted: ToolCallPart,
    call: Call | None,
) -> tuple[JsonValue, bool]:
    call_id = f"{execution.id}/t{execution.turn}/c{index}"
    objection = forbidden(state, call_id, "before_tool_call") or forbidden(
        state, call_id, "after_tool_call"
    )
    if objection is not None:
        return f"{objection.code}: {objection.message}", True
    if call is not None and isinstance(call.outcome, e.CallCompleted):
        content = replaced(state, call_id, "after_tool_call", call.outcome.content)
        return with_edit(call.edit, content), False
    if index in execution.results:
        return execution.results[index], False
    problem = execution.broken.get(index)
    if call is not None:
        problem = refusal(state, call) or call.problem
    if problem is not None:
        return f"{problem.code}: {problem.message}", True
    if call is None and isinstance(node, AgentNode) and not offered(node, wanted.name):
        names = ", ".join(tool_names(node)) or "none"
        return f"tool.not_offered: there is no tool {wanted.name!r}; there are: {names}", True
    if (bad := malformed(wanted)) is not None:
        return f"{bad.code}: {bad.message}", True
    if call is None:
        return "tool.not_made: this call was not made", True
    return "the outcome of this call is unknown", True


def offered(node: AgentNode, name: str) -> bool:
    """Whether a model may call a tool of this name."""
    return name in node.agent.tools or name in node.graphs or handoff_of(node, name) is not None


def tool_names(node: AgentNode) -> tuple[str, ...]:
    """The names of all tools that a model is offered."""
    return (*node.agent.tools, *(spec.name for spec in inner_tools(node)))


def inner_tools(node: AgentNode) -> tuple[ToolSpec, ...]:
    """The tools that the engine itself answers: graphs, and handing over."""
    graphs = [
        ToolSpec(name=name, description=tool.description, parameters=tool.parameters)
        for name, tool in node.graphs.items()
    ]
    handoffs = [
        ToolSpec(name=f"{HANDOFF}{label}", description=when, parameters=_HANDOFF)
        for label, when in node.agent.handoffs.items()
    ]
    return (*graphs, *handoffs)


def _seen(
    seen: Mapping[str, int], calls: tuple[ToolCallPart, ...], results: list[ToolMessage]
) -> Mapping[str, int]:
    counts = dict(seen)
    for call, result in zip(calls, results, strict=True):
        about = _digest(call, result)
        counts[about] = counts.get(about, 0) + 1
    return counts


def _digest(call: ToolCallPart, result: ToolMessage) -> str:
    about = json.dumps([call.name, call.args, result.text], sort_keys=True)
    return hashlib.sha256(about.encode()).hexdigest()[:16]


def most_repeated(state: RunState, execution: Execution) -> tuple[ToolCallPart, int] | None:
    """The last turn's tool call that gave the same result most often, and how often that was; polling is no loop."""
    after = after_turn(state, execution, None)
    calls, results = tool_calls_of(state, execution), after.messages[len(execution.messages) + 1 :]
    found = [
        (call, after.talk.seen[_digest(call, result)])
        for call, result in zip(calls, results, strict=False)
        if isinstance(result, ToolMessage)
    ]
    return max(found, key=lambda each: each[1], default=None)


def compacted(
    state: RunState, execution: Execution, node: AgentNode, summary: str | None
) -> Execution:
    """The conversation with one message in the place of all up to the last turn: what was said, and the task.

    Without a summary it stays as it is, and nobody asks for one until another turn has ended.
    """
    talk = replace(execution.talk, compacted=execution.turn)
    if summary is None:
        return replace(execution, talk=talk)
    task = render(node.prompt, state.view(execution))
    message = UserMessage(text=_SUMMARY.format(summary=summary, task=task))
    talk = replace(talk, inherited=0, shortened=True)
    return replace(execution, messages=(message,), talk=talk)


def progress_of(execution: Execution) -> Progress:
    """How the visit has gone, for whoever chooses a model."""
    talk = execution.talk
    repeats = max(talk.seen.values(), default=1) - 1
    return Progress(previous=talk.model, repeats=repeats, rejections=talk.repairs)


def sums_up(call_id: str) -> bool:
    """Whether a turn is asked for a summary and not for an answer."""
    return call_id.rpartition("/")[2].startswith("k")


def written(state: RunState, execution: Execution, node: AgentNode) -> dict[str, JsonValue]:
    """What an agent that has answered adds to the state: its answer, and what was said."""
    answer = last_answer(state, execution)
    if answer is None:
        return {}
    calls = answer.message.tool_calls
    handed = handed_by(node, calls)
    key = node.output or execution.node
    update: dict[str, JsonValue]
    if handed is not None:
        update = {key: as_data(handed.args.get("message"))}
    elif node.agent.output_schema is None:
        update = {key: answer.message.text}
    else:
        update = {key: as_data(value_of(answer.message.text))}
    if node.history is not None:
        closing = [
            _closing(state, execution, node, i, call, handed) for i, call in enumerate(calls)
        ]
        update[node.history] = _said(state, execution, (answer.message, *closing))
    return update


def _closing(
    state: RunState,
    execution: Execution,
    node: AgentNode,
    index: int,
    call: ToolCallPart,
    handed: ToolCallPart | None,
) -> ToolMessage:
    """A call's result in the turn that hands over: the others have theirs, and only one hands over."""
    if call is handed:
        return ToolMessage(call_id=call.id, name=call.name, content="handed over")
    if handed is not None and handoff_of(node, call.name) is not None:
        said = f"tool.not_made: the same turn has handed over by {handed.name} before"
        return ToolMessage(call_id=call.id, name=call.name, content=said, is_error=True)
    return _result(state, execution, node, index, call)


def _said(state: RunState, execution: Execution, last: tuple[Message, ...]) -> JsonValue:
    """What the visit adds to the conversation; one that was summed up takes the place of the whole."""
    talk = execution.talk
    messages: list[JsonValue] = []
    for place, message in enumerate((*execution.messages, *last)):
        if place >= talk.inherited:
            id_ = f"{state.run_id}.{execution.id}.{place}"
            messages.append({**MESSAGE.dump_python(message, mode="json"), "id": id_})
    return {OVERWRITE: messages} if talk.shortened else messages
