"""An agent's loop: one event per turn and per tool call, so a crash repeats at most what was in flight."""

from __future__ import annotations

from partsong.contracts import events as e
from partsong.contracts.errors import InvalidInput, Problem
from partsong.contracts.foreign.question import Evaluate
from partsong.contracts.graph import AgentNode
from partsong.contracts.graph.conform import check_value
from partsong.contracts.plain import plain
from partsong.contracts.state.circles import Circles
from partsong.contracts.state.conversation import (
    REPAIR,
    after_turn,
    begun,
    most_repeated,
    tool_names,
)
from partsong.contracts.state.model_answers import (
    answer_of,
    declined,
    handed_by,
    handoff_of,
    next_model,
    parsed,
)
from partsong.contracts.state.state import Call, Execution
from partsong.engine.calls.calls import AGENT_RETRY, no_outcome, retried
from partsong.engine.calls.gates import passes, wants_again
from partsong.engine.draft import Draft
from partsong.engine.nodes.asking import ask, ask_again
from partsong.engine.nodes.budget import CUT, after_cut, shared, spent_all
from partsong.engine.nodes.compaction import compacted
from partsong.engine.nodes.tool_calls import too_many, tools_done
from partsong.engine.scheduling import flow

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
        _checked(draft, execution, node, turn)
    else:
        _unanswered(draft, execution, node, turn)


def _checked(draft: Draft, execution: Execution, node: AgentNode, turn: Call) -> None:
    """Let plugins look at an answer before anything follows from it."""
    cause, attempt = turn.closed_by or "", turn.attempt
    may = passes(draft, execution, turn.id, "after_agent_call", cause, attempt=attempt)
    if isinstance(may, Problem):
        flow.fail(draft, execution, may, cause)
    elif may == "yes" and wants_again(draft, turn.id, "after_agent_call", attempt):
        if turn.charged < (node.retry or AGENT_RETRY).attempts:
            ask_again(draft, execution, node, turn)
        else:
            flow.fail(draft, execution, _never_right(execution, turn.charged), cause)
    elif may == "yes" and (answer := answer_of(draft.state, turn)) is not None:
        _answered(draft, execution, node, turn, answer)


def _never_right(execution: Execution, attempts: int) -> Problem:
    return Problem(
        code="hook.retries",
        message=f"plugins have sent the answer of {execution.id} back {attempts} times",
        where=f"nodes.{execution.node}",
        fault="provider",
    )


def _first_turn(draft: Draft, execution: Execution, node: AgentNode) -> None:
    cause = draft.id(execution.id, "scheduled")
    try:
        begun(draft.state, execution, node)
    except InvalidInput as error:
        flow.fail(draft, execution, error.problem, cause)
        return
    if problem := _too_long(execution, node):
        flow.fail(draft, execution, problem, cause)
        return
    ask(draft, execution, node, f"{execution.id}/t1", node.agent.model, cause)


def _unanswered(draft: Draft, execution: Execution, node: AgentNode, turn: Call) -> None:
    problem = turn.problem or no_outcome(turn)
    if problem.code in CUT and not turn.again:
        _cut(draft, execution, node, turn, problem)
        return
    models = (node.agent.model, *node.agent.fallbacks)
    following = next_model(models, turn.name, problem)
    waits = (turn.retry_after or 0.0) > node.agent.patience and not (turn.rested or turn.again)
    if following is not None and (waits or problem.code == "provider.breaker_open"):
        ask_again(draft, execution, node, turn, following)
        return
    match retried(draft, turn, node.retry or AGENT_RETRY):
        case "now":
            ask_again(draft, execution, node, turn)
        case "never" if following is not None:
            ask_again(draft, execution, node, turn, following)
        case "never":
            flow.fail(draft, execution, problem, turn.closed_by or "")
        case "later":
            pass


def _cut(draft: Draft, execution: Execution, node: AgentNode, turn: Call, problem: Problem) -> None:
    match after_cut(draft, execution, node, turn):
        case "again":
            ask_again(draft, execution, node, turn)
        case "later":
            pass
        case "never" if shared(draft.state, node) and problem.code == "agent.max_cost":
            spent_all(draft)
        case "never":
            flow.fail(draft, execution, problem, turn.closed_by or "")


def _answered(
    draft: Draft, execution: Execution, node: AgentNode, turn: Call, answer: e.AgentTurnCompleted
) -> None:
    cause = turn.closed_by or ""
    calls = answer.message.tool_calls
    repair: str | None = None
    if calls:
        handing = handed_by(node, calls)
        wanted = sum(handoff_of(node, call.name) is None for call in calls)
        if wanted and (problem := too_many(execution, node, wanted)):
            flow.fail(draft, execution, problem, cause)
            return
        if not tools_done(draft, execution, node, turn, answer):
            return
        if handing is not None:
            flow.complete(draft, execution, handoff_of(node, handing.name), cause)
            return
    elif answer.stop != "pause":
        problem, why = declined(answer), None
        try:
            why = _unfit(draft.evaluate, node, answer.message.text) if problem is None else None
        except InvalidInput as error:  # it was not compared with its schema
            problem = error.problem
        if why is not None and execution.talk.repairs >= node.agent.repairs:
            problem = _bad_output(execution, why, answer)
        if problem is not None:
            flow.fail(draft, execution, problem, cause)
            return
        if why is None:
            flow.complete(draft, execution, None, cause)
            return
        repair = REPAIR.format(why=why)
    _next_turn(draft, execution, node, turn, repair)


def _next_turn(
    draft: Draft, execution: Execution, node: AgentNode, turn: Call, repair: str | None
) -> None:
    current = draft.state.execution(execution.id)
    if current is None or not current.live:
        return
    cause = turn.closed_by or ""
    circles = _circles(draft, current, node)
    where = f"nodes.{current.node}.agent.repeats"
    problem = circles.problem(current.id, where) or _too_long(current, node)
    if problem is not None:
        flow.fail(draft, current, problem, cause)
    elif compacted(draft, current, node, turn):
        following = f"{current.id}/t{current.turn + 1}"
        current = draft.state.scope(current).active[current.id]
        warning = circles.warning(tool_names(node))
        ask(draft, current, node, following, turn.name, cause, repair, warning)


def _unfit(evaluate: Evaluate, node: AgentNode, text: str) -> str | None:
    """Why an answer does not fit the schema that was asked for.

    Raises:
        InvalidInput: `schema.budget`, `schema.invalid`.
    """
    if node.agent.output_schema is None:
        return None
    try:
        value = plain(parsed(text), "answer", "agent.bad_output", fault="provider")
        check_value(node.agent.output_schema, value, "answer", "agent.bad_output", evaluate)
    except InvalidInput as error:
        if error.problem.code != "agent.bad_output":
            raise
        return error.problem.message
    except ValueError as error:
        return f"the answer is not JSON: {error}"
    return None


def _bad_output(execution: Execution, why: str, answer: e.AgentTurnCompleted) -> Problem:
    return Problem(
        code="agent.bad_output",
        message=f"the answer does not fit its schema: {why}; it began {answer.message.text[:200]!r}",
        where=f"nodes.{execution.node}.agent.output_schema",
        fix="simplify the schema, raise repairs, or ask a stronger model",
        fault="provider",
    )


def _too_long(execution: Execution, node: AgentNode) -> Problem | None:
    if execution.turn < node.agent.max_turns:
        return None
    return Problem(
        code="agent.max_turns",
        message=f"{execution.id} took {execution.turn} turns without an answer, max_turns is {node.agent.max_turns}",
        where=f"nodes.{execution.node}.agent.max_turns",
        fix="raise max_turns, or make the task smaller",
    )


def _circles(draft: Draft, execution: Execution, node: AgentNode) -> Circles:
    after = after_turn(draft.state, execution, None).talk
    repeated = most_repeated(draft.state, execution)
    return Circles(node.agent.repeats, execution.talk.warned, repeated, after.unknown)
