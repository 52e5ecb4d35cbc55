"""`BudgetGuard`: no run's models cost more, and no run takes more tokens, than the operator allows."""

from __future__ import annotations

import os
from typing import ClassVar

from partsong.contracts.errors import InvalidInput
from partsong.contracts.talk.hooks import Veto
from partsong.plugins.plugin import Hook, Plugin, PluginKind

__all__ = ["COST_SETTING", "TOKENS_SETTING", "BudgetGuard"]

COST_SETTING = "PARTSONG_BUDGET_COST"
"""US dollars for the models of one run."""
TOKENS_SETTING = "PARTSONG_BUDGET_TOKENS"


class BudgetGuard(Plugin):
    """Looks at what a run has spent whenever a model has answered; whoever starts the run cannot raise it."""

    kind: ClassVar[PluginKind] = "guard"

    def __init__(self, cost: float | None = None, tokens: int | None = None) -> None:
        """Without arguments, the environment's PARTSONG_BUDGET_COST and PARTSONG_BUDGET_TOKENS.

        Raises:
            InvalidInput: `plugin.bad_setting`.
        """
        self._cost = cost if cost is not None else _number(COST_SETTING)
        self._tokens = tokens if tokens is not None else _number(TOKENS_SETTING)

    def after_agent_call(self, hook: Hook) -> Veto | None:
        """Stop the agent when the run has spent too much."""
        spent = hook.data.get("spent")
        if not isinstance(spent, dict):
            return None
        cost, tokens = spent.get("cost"), 0
        for name in ("input_total", "output_total"):
            part = spent.get(name)
            tokens += part if isinstance(part, int) else 0
        if self._cost is not None and isinstance(cost, int | float) and cost > self._cost:
            return Veto(reason=f"the run has cost {cost:.4f} $, the budget is {self._cost:g} $")
        if self._tokens is not None and tokens > self._tokens:
            return Veto(reason=f"the run has taken {tokens} tokens, the budget is {self._tokens:g}")
        return None


def _number(name: str) -> float | None:
    given = os.environ.get(name, "")
    try:
        return float(given) if given else None
    except ValueError:
        raise InvalidInput(
            "plugin.bad_setting", f"{name} is {given!r}, not a number", where=name
        ) from None
