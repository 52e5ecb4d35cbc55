"""Limits: what one call of an agent may spend, and when it goes round in circles."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from partsong.agents.errors import LimitReached, LoopDetected
from partsong.contracts.errors import InvalidInput, Problem
from partsong.contracts.events import AgentTurnFailed, Allowance, TurnUsage
from partsong.contracts.state.circles import Circles
from partsong.contracts.talk.messages import ToolCallPart, ToolMessage

__all__ = ["AgentLimits", "Spent", "cut"]


@dataclass(frozen=True, slots=True)
class AgentLimits:
    """Bounds of one call, looked at before each turn and before tools run. None is no bound; 0 is nothing at all."""

    turns: int = 20
    tool_calls: int | None = 100
    tokens: int | None = None
    """Input and output tokens of all turns together."""
    cost: float | None = None
    """US dollars. An agent with this limit asks no model whose price is unknown."""
    repeats: int = 3
    """How often the same tool call may give the same result."""

    def __post_init__(self) -> None:
        given = {
            "turns": self.turns,
            "tool_calls": self.tool_calls,
            "tokens": self.tokens,
            "cost": self.cost,
            "repeats": self.repeats,
        }
        for name, value in given.items():
            if value is not None and value < (1 if name == "repeats" else 0):
                raise InvalidInput(
                    "limits.bad_value", f"limits.{name} is {value}", where=f"limits.{name}"
                )


@dataclass(slots=True)
class Spent:
    """What a call has spent so far."""

    turns: int = 0
    tool_calls: int = 0
    usage: TurnUsage = TurnUsage(cost=0.0)
    failures: list[AgentTurnFailed] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    """How often each tool call gave each result."""
    unknown: int = 0
    """Turns in a row whose calls all named tools that there are not."""
    warned: bool = False

    def add(self, usage: TurnUsage) -> None:
        """One attempt's tokens."""
        self.usage = self.usage.plus(usage)

    def left(self, limits: AgentLimits) -> Allowance:
        """What the next attempt may use."""
        cost = None if limits.cost is None else limits.cost - (self.usage.cost or 0.0)
        tokens = None if limits.tokens is None else limits.tokens - self.usage.tokens
        return Allowance(tokens=tokens, cost=cost)

    def before_turn(self, limits: AgentLimits) -> None:
        """Look at the limits before a turn is asked for.

        Raises:
            LimitReached: `agent.max_turns`, `agent.max_tokens`, `agent.max_cost`, `agent.cost_unknown`.
        """
        tokens = self.usage.input_total + self.usage.output_total
        if self.turns >= limits.turns:
            raise _reached("max_turns", f"{self.turns} turns gave no answer", "turns", limits.turns)
        if limits.tokens is not None and tokens >= limits.tokens:
            raise _reached("max_tokens", f"{tokens} tokens are spent", "tokens", limits.tokens)
        if limits.cost is None:
            return
        if self.usage.cost is None:
            raise _unpriced("what was spent has no known price")
        if self.usage.cost >= limits.cost:
            raise _reached("max_cost", f"{self.usage.cost:.6f} $ are spent", "cost", limits.cost)

    def before_tools(self, limits: AgentLimits, wanted: int) -> None:
        """Look at the limit before a turn's tools run, all of them or none.

        Raises:
            LimitReached: `agent.max_tool_calls`.
        """
        if limits.tool_calls is not None and self.tool_calls + wanted > limits.tool_calls:
            said = f"{self.tool_calls} tool calls were made and {wanted} more are wanted"
            raise _reached("max_tool_calls", said, "tool_calls", limits.tool_calls)
        self.tool_calls += wanted

    def after_tools(
        self,
        limits: AgentLimits,
        made: Sequence[tuple[ToolCallPart, ToolMessage]],
        names: Collection[str],
    ) -> str | None:
        """Note a turn's calls and their results; what the model is told if it goes round in circles.

        Raises:
            LoopDetected: `agent.loop`, `agent.unknown_tools`; polling is no loop as long as the results differ.
        """
        counts: list[tuple[ToolCallPart, int]] = []
        for call, result in made:
            about = json.dumps(
                [call.name, call.args, result.text], sort_keys=True, ensure_ascii=False
            )
            self.seen[about] += 1
            counts.append((call, self.seen[about]))
        self.unknown = 0 if any(call.name in names for call, _ in made) else self.unknown + 1
        repeated = max(counts, key=lambda each: each[1], default=None)
        circles = Circles(limits.repeats, self.warned, repeated, self.unknown)
        if (problem := circles.problem("the model", "limits.repeats")) is not None:
            raise LoopDetected.of(problem)
        warning = circles.warning(names)
        self.warned = self.warned or warning is not None
        return warning


def cut(problem: Problem) -> LimitReached:
    """The error of a turn that was cut off because the call has no more to spend."""
    name = "cost" if problem.code == "agent.max_cost" else "tokens"
    return _reached(f"max_{name}", problem.message, name, None)


def _reached(code: str, said: str, name: str, limit: float | None) -> LimitReached:
    return LimitReached(
        f"agent.{code}",
        said if limit is None else f"{said}, limits.{name} is {limit:g}",
        where=f"limits.{name}",
        fix=f"raise limits.{name}, or make the task smaller",
    )


def _unpriced(said: str) -> LimitReached:
    return LimitReached(
        "agent.cost_unknown",
        f"{said}, so limits.cost cannot be kept",
        where="limits.cost",
        fix="limit tokens instead, or ask a model whose price is known",
    )
