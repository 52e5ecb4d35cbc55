"""Asking for turns: of which model, with how much to spend."""

from __future__ import annotations

from typing import assert_never

from pydantic import JsonValue

from partsong.contracts import events as e
from partsong.contracts.errors import Problem
from partsong.contracts.events import Allowance
from partsong.contracts.graph import AgentNode
from partsong.contracts.state.conversation import sums_up
from partsong.contracts.state.scope import Execution
from partsong.contracts.state.state import Call
from partsong.engine.calls.gates import passes
from partsong.engine.draft import Draft
from partsong.engine.nodes.budget import allowed, spent_all
from partsong.engine.scheduling import flow

__all__ = ["ask", "ask_again"]


def ask(
    draft: Draft,
    execution: Execution,
    node: AgentNode,
    call_id: str,
    model: str,
    cause: str,
    repair: str | None = None,
    warning: str | None = None,
    *,
    attempt: int = 1,
    compaction: bool = False,
) -> None:
    """Ask for a turn; not yet if parallel turns have set aside all that is left, never if nothing is.

    Plugins are asked before the first attempt.
    """
    if attempt == 1:
        may = passes(draft, execution, call_id, "before_agent_call", cause)
        if isinstance(may, Problem):
            flow.fail(draft, execution, may, cause)
        if may != "yes":
            return
    allowance = allowed(draft, execution, node)
    match allowance:
        case Allowance():
            pass
        case Problem():
            flow.fail(draft, execution, allowance, cause)
            return
        case "later":
            if not any(c.kind == "agent.turn" and c.open for c in draft.state.calls.values()):
                spent_all(draft)  # nobody will leave anything
            return
        case _:
            assert_never(allowance)
    draft.add(
        e.AgentTurnRequested(
            id=draft.id(call_id, attempt, "requested"),
            time=draft.now,
            cause=cause,
            call_id=call_id,
            exec=execution.id,
            model=model,
            attempt=attempt,
            allowance=allowance,
            purpose="compaction" if compaction else "answer",
            repair=repair,
            warning=warning,
            options={} if compaction else _options(node, model),
        )
    )


def _options(node: AgentNode, model: str) -> dict[str, JsonValue]:
    return dict(node.agent.provider_options.get(model.partition(":")[0], {}))


def ask_again(
    draft: Draft, execution: Execution, node: AgentNode, turn: Call, model: str | None = None
) -> None:
    """Ask for another attempt of a turn, perhaps of another model."""
    ask(
        draft,
        execution,
        node,
        turn.id,
        model or turn.name,
        turn.closed_by or "",
        attempt=turn.attempt + 1,
        compaction=sums_up(turn.id),
    )
