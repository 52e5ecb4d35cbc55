"""Budgets: what a turn may use, set aside before it is asked for and settled when it has ended.

Turns that run beside each other share what the run has left: each gets an equal part of what nobody has set aside, and
whoever finds nothing waits for another's turn to end. So together they cannot spend more than there is.
"""

from __future__ import annotations

from typing import Literal

from partsong.contracts.errors import Problem
from partsong.contracts.events import Allowance
from partsong.contracts.graph import AgentNode
from partsong.contracts.state.scope import Execution
from partsong.contracts.state.state import Call, RunState
from partsong.engine.draft import Draft

__all__ = ["CUT", "after_cut", "allowed", "shared", "spent_all"]

CUT = frozenset({"agent.max_cost", "agent.max_total_tokens"})
"""Codes of turns that were cut off because their allowance was used up."""


def allowed(
    draft: Draft, execution: Execution, node: AgentNode
) -> Allowance | Problem | Literal["later"]:
    """What the execution's next turn may use; a problem if the agent has nothing left, `later` if the run has not."""
    agent, spent = node.agent, execution.talk.usage
    where = f"nodes.{execution.node}.agent"
    tokens = agent.max_total_tokens - spent.tokens if agent.max_total_tokens is not None else None
    if tokens is not None and tokens <= 0:
        return _reached("max_total_tokens", f"{spent.tokens} tokens", agent.max_total_tokens, where)
    own: float | None = None
    if agent.max_cost is not None:
        if spent.cost is None and spent.tokens:
            return Problem(
                code="agent.cost_unknown",
                message=f"what {execution.id} spent has no known price, so max_cost cannot be kept",
                where=f"{where}.max_cost",
                fix="limit max_total_tokens instead, or ask a model whose price is known",
            )
        own = agent.max_cost - (spent.cost or 0.0)
        if own <= 0:
            return _reached("max_cost", f"{spent.cost or 0.0:.6f} $", agent.max_cost, where)
    part = _share(draft.state, execution)
    if part is not None and part <= 0:
        return "later"
    return Allowance(tokens=tokens, cost=_least(own, part))


def _share(state: RunState, execution: Execution) -> float | None:
    """US dollars: this turn's part of what the run has left and nobody has set aside."""
    most = state.options.max_cost
    if most is None:
        return None
    turns = [call for call in state.calls.values() if call.kind == "agent.turn" and call.open]
    left = most - (state.usage.cost or 0.0) - sum(call.allowance.cost or 0.0 for call in turns)
    busy = {call.exec for call in turns}
    others = sum(
        1
        for other in state.executions.values()
        if other.id != execution.id
        and other.live
        and other.id not in busy
        and isinstance(state.node(other), AgentNode)
    )
    return left / (1 + others)


def after_cut(
    draft: Draft, execution: Execution, node: AgentNode, turn: Call
) -> Literal["again", "later", "never"]:
    """What becomes of a turn that was cut off: another attempt is worth it if it gets twice as much.

    If it was the run's budget that was short, the turns beside it may leave something when they have ended.
    """
    again = allowed(draft, execution, node)
    if again == "later":
        return "later"
    if isinstance(again, Problem):
        return "never"
    before = turn.allowance
    if _doubled(before.cost, again.cost) and _doubled(before.tokens, again.tokens):
        return "again"
    return "later" if _others_ask(draft.state, turn) and shared(draft.state, node) else "never"


def _others_ask(state: RunState, turn: Call) -> bool:
    return any(
        call.kind == "agent.turn" and call.open and call.id != turn.id
        for call in state.calls.values()
    )


def shared(state: RunState, node: AgentNode) -> bool:
    """Whether it is the run's budget, not the agent's own, that bounds its turns."""
    return state.options.max_cost is not None and node.agent.max_cost is None


def spent_all(draft: Draft) -> None:
    """End the run: its models have cost all that it may spend."""
    most, cost = draft.state.options.max_cost, draft.state.usage.cost
    problem = Problem(
        code="run.max_cost",
        message=f"models have cost {cost or 0.0:.4f} $, max_cost is {most or 0.0:.4f} $",
        where="options.max_cost",
        fix="retry the run with a larger max_cost",
    )
    draft.stop("limit_exceeded", error=problem)


def _doubled(before: float | None, now: float | None) -> bool:
    return before is None or now is None or now >= 2 * before


def _least(one: float | None, other: float | None) -> float | None:
    given = [each for each in (one, other) if each is not None]
    return min(given, default=None)


def _reached(name: str, spent: str, limit: float | None, where: str) -> Problem:
    return Problem(
        code=f"agent.{name}",
        message=f"{spent} are spent, {name} is {limit:g}",
        where=f"{where}.{name}",
        fix=f"raise {name}, or make the task smaller",
    )
