"""Tool calls: those of tool nodes, of an agent's turns, and of the code that a tool runs.

A call is requested, and completed or failed. On its way
* a person may have to agree: the tool-runner closes the attempt unmade, the engine asks, and the next attempt says who agreed;
* it may be suspended, because its code called another tool: that is a call of its own, and the next attempt goes on with its result;
* its worker may fall silent: whether the tool ran is unknown, so a person is asked before it runs again.
"""

from __future__ import annotations

from partsong.contracts import events as e
from partsong.contracts.errors import InvalidInput, Problem
from partsong.contracts.graph import AgentNode, Node, Retry, ToolNode
from partsong.contracts.graph.templates import render_value
from partsong.contracts.state.hook_decisions import forbidden
from partsong.contracts.state.model_answers import tool_calls_of
from partsong.contracts.state.state import Call, Execution, RunState
from partsong.contracts.state.tool_calls import (
    answer_to,
    edit_key,
    edit_of,
    made_by_code,
    nested_in,
    question_about,
    refusal,
)
from partsong.engine.calls.calls import (
    NO_RETRY,
    ask_person,
    expire,
    no_outcome,
    request_call,
    retried,
)
from partsong.engine.calls.gates import passes
from partsong.engine.draft import Draft
from partsong.engine.nodes.graph_tools import graph_done
from partsong.engine.scheduling import flow

__all__ = ["too_many", "tool_node", "tools_done"]


def tool_node(draft: Draft, execution: Execution, node: ToolNode) -> None:
    """Call the node's tool, or end the node with what came of it."""
    scheduled = draft.id(execution.id, "scheduled")
    if execution.id not in draft.state.calls and (
        problem := _unrenderable(draft.state, execution, node)
    ):
        flow.fail(draft, execution, problem, scheduled)
        return
    call = _ended(draft, execution, execution.id, node.tool, scheduled, node.retry or NO_RETRY)
    if call is None:
        return
    objection = forbidden(draft.state, execution.id, "after_tool_call")
    if isinstance(call.outcome, e.CallCompleted) and objection is None:
        flow.complete(draft, execution, None, call.closed_by or "")
        return
    problem = objection or refusal(draft.state, call) or call.problem or no_outcome(call)
    flow.fail(draft, execution, problem, call.closed_by or "")


def _unrenderable(state: RunState, execution: Execution, node: ToolNode) -> Problem | None:
    try:
        render_value(dict(node.args), state.view(execution))
    except InvalidInput as error:
        return error.problem
    return None


def tools_done(
    draft: Draft,
    execution: Execution,
    node: AgentNode,
    turn: Call,
    answer: e.AgentTurnCompleted,
) -> bool:
    """Whether every tool call of a turn has its result; asks for those that were not asked for yet."""
    done, cause = True, turn.closed_by or ""
    for i, wanted in enumerate(answer.message.tool_calls):
        if wanted.malformed is not None:
            continue  # the model is told so
        if wanted.name in node.graphs:
            done = graph_done(draft, execution, node, i, wanted, cause) and done
        elif wanted.name in node.agent.tools:  # else the model made it up, and is told so
            call_id = f"{turn.id}/c{i}"
            call = _ended(draft, execution, call_id, wanted.name, cause, NO_RETRY)
            done = call is not None and done
    return done


def too_many(execution: Execution, node: AgentNode, wanted: int) -> Problem | None:
    """Why so many tool calls are not made in the visit's last turn, those of its code among them."""
    most, made = node.agent.max_tool_calls, execution.talk.tool_calls
    if most is None or made + wanted <= most:
        return None
    return Problem(
        code="agent.max_tool_calls",
        message=f"{execution.id} made {made} tool calls in earlier turns and wants {wanted} in this one, "
        f"max_tool_calls is {most}",
        where=f"nodes.{execution.node}.agent.max_tool_calls",
        fix="raise max_tool_calls, or make the task smaller",
    )


def _ended(  # noqa: PLR0911  # one return per way a call can stand
    draft: Draft, execution: Execution, call_id: str, name: str, cause: str, policy: Retry
) -> Call | None:
    """The call as it ended for good; None as long as something is still to come, which is asked for if need be."""
    call = draft.state.calls.get(call_id)
    if call is None:
        may = passes(draft, execution, call_id, "before_tool_call", cause)
        if may == "yes":
            request_call(draft, execution, call_id, "tool", name, 1, cause)
        return (
            Call(call_id, execution.id, "tool", name, problem=may, closed_by=cause)
            if isinstance(may, Problem)
            else None
        )
    if call.open or call.given_up:
        return None
    if call.lapsed and not call.may_repeat:
        _unknown_outcome(draft, execution, call)
        return None
    match call.outcome:
        case e.CallSuspended():
            _nested(draft, execution, call, call.outcome)
            return None
        case e.CallCompleted():
            checked = passes(draft, execution, call_id, "after_tool_call", call.closed_by or "")
            return None if checked == "wait" else call
        case _:
            pass
    if call.unapproved is not None and not call.again:
        return _agreed(draft, execution, call, call.unapproved)
    match retried(draft, call, policy):
        case "now":
            approved, edit = (None, None) if call.again else (call.approved, call.edit)
            cause = call.closed_by or ""
            _again(draft, execution, call, name, cause, approved=approved, edit=edit)
            return None
        case "later":
            return None
        case "never":
            return call


def _again(
    draft: Draft,
    execution: Execution,
    call: Call,
    name: str,
    cause: str,
    *,
    approved: str | None,
    edit: e.ArgumentsEdit | None = None,
) -> None:
    attempt = call.attempt + 1
    request_call(
        draft, execution, call.id, "tool", name, attempt, cause, approved=approved, edit=edit
    )


def _agreed(draft: Draft, execution: Execution, call: Call, about: e.Unapproved) -> Call | None:
    """Ask a person whether the tool may be called, and call it if so; the call as it is if not."""
    question = draft.state.calls.get(question_about(call.id, call.attempt))
    if question is None:
        _ask(draft, execution, call, about)
        return None
    if question.open:
        expire(draft, question)
    if question.open or question.given_up:
        return None
    answer = question.outcome
    if isinstance(answer, e.ApprovalDecided) and answer.decision == "approve":
        cause, edit = question.closed_by or "", edit_of(about, answer.edited)
        _again(draft, execution, call, call.name, cause, approved=answer.by, edit=edit)
        return None
    return call


def _ask(draft: Draft, execution: Execution, call: Call, about: e.Unapproved) -> None:
    asked = question_about(call.id, call.attempt)
    node = f"{draft.state.node(execution).type} node {execution.node}"
    key = edit_key(about)
    who = f"The {node}" if nested_in(call.id) is None else f"Code that the {node} runs"
    ask_person(
        draft,
        execution,
        asked,
        call.closed_by or "",
        title=f"Outcome unknown: call the tool {call.name} again?"
        if about.doubt
        else f"Call the tool {call.name}?",
        detail=f"{who} wants to call {call.name} with the arguments below."
        + (f" {about.doubt}." if about.doubt else ""),
        context=about.args,
        editable=key,
        edit_schema=about.edit_schema if key is not None else None,
        deadline=about.deadline or _deadline(draft.state.node(execution)),
    )


def _deadline(node: Node) -> float | None:
    """Seconds that a person has to decide about a call of this node's, if the tool does not say."""
    match node:
        case AgentNode():
            return node.agent.approval_deadline
        case ToolNode():
            return node.approval_deadline
        case _:
            return None


def _nested(draft: Draft, execution: Execution, call: Call, paused: e.CallSuspended) -> None:
    """Call the tool that the code waits for; go on with the code when that has ended, however it did."""
    cause = call.closed_by or ""
    node, nested = draft.state.node(execution), answer_to(paused)
    if nested not in draft.state.calls and isinstance(node, AgentNode):
        wanted = len(tool_calls_of(draft.state, execution))
        turn = f"{execution.id}/t{execution.turn}"
        inner = made_by_code(draft.state, turn, wanted) + 1
        if problem := too_many(execution, node, wanted + inner):
            flow.fail(draft, execution, problem, cause)
            return
    answer = _ended(draft, execution, nested, paused.tool, cause, NO_RETRY)
    if answer is not None:
        cause = answer.closed_by or ""
        _again(draft, execution, call, call.name, cause, approved=call.approved, edit=call.edit)


def _unknown_outcome(draft: Draft, execution: Execution, call: Call) -> None:
    """A tool with side effects may or may not have run: it is never silently run again, a person is asked."""
    asked = f"{call.id}/u{call.attempt}" + (f"r{execution.round}" if execution.round else "")
    question = draft.state.calls.get(asked)
    if question is None:
        ask_person(
            draft,
            execution,
            asked,
            call.closed_by or "",
            title=f"Outcome unknown: call the tool {call.name} again?",
            detail=f"Worker {call.worker} fell silent during attempt {call.attempt} of {call.id}. "
            "Approve to call the tool again, reject to fail the node.",
            about="outcome_unknown",
        )
    elif question.open or question.given_up:
        return
    elif isinstance(question.outcome, e.ApprovalDecided) and question.outcome.decision == "approve":
        cause, approved = question.closed_by or "", call.approved
        _again(draft, execution, call, call.name, cause, approved=approved, edit=call.edit)
    else:
        problem = Problem(
            code="call.outcome_unknown",
            message=f"whether {call.name} ran in attempt {call.attempt} of {call.id} is not known, and it was not to be run again",
            fault="tool",
        )
        flow.fail(draft, execution, problem, question.closed_by or "")
