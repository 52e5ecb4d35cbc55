"""Tool calls: those of an agent's turn, and what becomes of one whose outcome nobody knows."""

from __future__ import annotations

from partsong.contracts import events as e
from partsong.contracts.errors import Problem
from partsong.contracts.graph import AgentNode
from partsong.contracts.state import Call, Execution
from partsong.graph_engine.core import flow
from partsong.graph_engine.core.calls import NO_RETRY, request_call, retried
from partsong.graph_engine.core.draft import Draft
from partsong.graph_engine.core.graph_tools import graph_done

__all__ = ["tools_done", "unknown_outcome"]


def tools_done(
    draft: Draft,
    execution: Execution,
    node: AgentNode,
    turn: Call,
    answer: e.AgentTurnCompleted,
) -> bool:
    """Whether every tool call of a turn has its result; asks for those that were not asked for yet."""
    done = True
    for i, wanted in enumerate(answer.message.tool_calls):
        if wanted.name in node.graphs:
            done = graph_done(draft, execution, node, i, wanted, turn.closed_by or "") and done
            continue
        if wanted.name not in node.agent.tools:
            continue  # the model made it up, and is told so
        call_id = f"{turn.id}/c{i}"
        call = draft.state.calls.get(call_id)
        if call is None:
            request_call(draft, execution, call_id, "tool", wanted.name, 1, turn.closed_by or "")
            done = False
        elif call.open or call.given_up:
            done = False
        elif call.lapsed:
            unknown_outcome(draft, execution, call)
            done = False
        elif call.problem is not None:
            match retried(draft, call, NO_RETRY):
                case "now":
                    request_call(
                        draft,
                        execution,
                        call_id,
                        "tool",
                        wanted.name,
                        call.attempt + 1,
                        call.closed_by or "",
                    )
                    done = False
                case "later":
                    done = False
                case "never":
                    pass
    return done


def unknown_outcome(draft: Draft, execution: Execution, call: Call) -> None:
    """A tool with side effects may or may not have run: it is never silently run again, a person is asked."""
    asked = f"{call.id}/u{call.attempt}" + (f"r{execution.round}" if execution.round else "")
    question = draft.state.calls.get(asked)
    if question is None:
        draft.add(
            e.ApprovalRequested(
                id=draft.id(asked, "outcome_unknown"),
                time=draft.now,
                cause=call.closed_by or "",
                call_id=asked,
                exec=execution.id,
                title=f"Outcome unknown: call the tool {call.name} again?",
                detail=f"Worker {call.worker} fell silent during attempt {call.attempt} of {call.id}. "
                "Approve to call the tool again, reject to fail the node.",
            )
        )
    elif question.open or question.given_up:
        return
    elif isinstance(question.outcome, e.ApprovalDecided) and question.outcome.decision == "approve":
        request_call(
            draft, execution, call.id, "tool", call.name, call.attempt + 1, question.closed_by or ""
        )
    else:
        problem = Problem(
            code="call.outcome_unknown",
            message=f"whether {call.name} ran in attempt {call.attempt} of {call.id} is not known, and it was not to be run again",
            fault="tool",
        )
        flow.fail(draft, execution, problem, question.closed_by or "")
