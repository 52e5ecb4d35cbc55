"""An agent's loop: one event per turn and per tool call, so a crash repeats at most what was in flight."""

from __future__ import annotations

import json

from partsong.contracts import events as e
from partsong.contracts.errors import InvalidInput, Problem
from partsong.contracts.graph import AgentNode
from partsong.contracts.state import Call, Execution
from partsong.contracts.values import render
from partsong.graph_engine.core import flow
from partsong.graph_engine.core.calls import AGENT_RETRY, request_turn, retried
from partsong.graph_engine.core.draft import Draft
from partsong.graph_engine.core.tool_calls import tools_done

__all__ = ["progress"]


def progress(draft: Draft, execution: Execution, node: AgentNode) -> None:
    """Ask for a turn, for the tools it called, for the next turn, or end the node with the answer."""
    if execution.turn == 0:
        _first_turn(draft, execution, node)
        return
    turn = draft.state.calls[f"{execution.id}/t{execution.turn}"]
    if turn.open or turn.given_up:
        return
    if isinstance(turn.outcome, e.AgentTurnCompleted):
        _answered(draft, execution, node, turn, turn.outcome)
    elif turn.lapsed:
        request_turn(
            draft, execution, turn.id, node.agent.model, turn.attempt + 1, turn.closed_by or ""
        )
    else:
        match retried(draft, turn, node.retry or AGENT_RETRY):
            case "now":
                request_turn(
                    draft,
                    execution,
                    turn.id,
                    node.agent.model,
                    turn.attempt + 1,
                    turn.closed_by or "",
                )
            case "never":
                problem = turn.problem or Problem(
                    code="agent.no_answer", message=f"{turn.id} gave no answer"
                )
                flow.fail(draft, execution, problem, turn.closed_by or "")
            case "later":
                pass


def _first_turn(draft: Draft, execution: Execution, node: AgentNode) -> None:
    cause = draft.id(execution.id, "scheduled")
    try:
        render(node.prompt, draft.state.view(execution))
    except InvalidInput as error:
        flow.fail(draft, execution, error.problem, cause)
        return
    request_turn(draft, execution, f"{execution.id}/t1", node.agent.model, 1, cause)


def _answered(
    draft: Draft, execution: Execution, node: AgentNode, turn: Call, answer: e.AgentTurnCompleted
) -> None:
    cause = turn.closed_by or ""
    if answer.message.tool_calls:
        if not tools_done(draft, execution, turn, answer):
            return
    elif answer.stop != "pause":
        if problem := _unusable(node, answer):
            flow.fail(draft, execution, problem, cause)
        else:
            flow.complete(draft, execution, None, cause)
        return
    if execution.turn >= node.agent.max_turns:
        problem = Problem(
            code="agent.max_turns",
            message=f"{execution.id} took {execution.turn} turns without an answer, max_turns is {node.agent.max_turns}",
            where=f"nodes.{execution.node}.agent.max_turns",
            fix="raise max_turns, or make the task smaller",
        )
        flow.fail(draft, execution, problem, cause)
        return
    request_turn(
        draft, execution, f"{execution.id}/t{execution.turn + 1}", node.agent.model, 1, cause
    )


def _unusable(node: AgentNode, answer: e.AgentTurnCompleted) -> Problem | None:
    """Why an answer without tool calls cannot stand."""
    if answer.stop in {"refusal", "blocked"}:
        return Problem(
            code=f"agent.{answer.stop}",
            message=f"{answer.model} declined: {answer.message.text[:200]!r}",
            fault="provider",
        )
    if answer.stop in {"length", "malformed_tool_call"}:
        return Problem(
            code=f"agent.{answer.stop}",
            message=f"{answer.model} stopped with {answer.stop} after {answer.usage.output_total} tokens",
            fix="raise max_tokens" if answer.stop == "length" else "try another model",
            fault="provider",
        )
    if node.agent.output_schema is not None:
        try:
            json.loads(answer.message.text)
        except ValueError as error:
            return Problem(
                code="agent.bad_output",
                message=f"the answer is not JSON: {error}",
                fault="provider",
            )
    return None
