"""Usage of several turns, added up."""

from __future__ import annotations

from partsong.contracts.call_events import TurnUsage

__all__ = ["NOTHING", "added"]

NOTHING = TurnUsage(cost=0.0)
"""Before the first turn."""


def added(so_far: TurnUsage, turn: TurnUsage) -> TurnUsage:
    """The sum. One unknown cost makes the sum unknown."""
    known = so_far.cost is not None and turn.cost is not None
    return TurnUsage(
        input_total=so_far.input_total + turn.input_total,
        output_total=so_far.output_total + turn.output_total,
        cache_read=so_far.cache_read + turn.cache_read,
        cache_write=so_far.cache_write + turn.cache_write,
        reasoning=so_far.reasoning + turn.reasoning,
        cost=(so_far.cost or 0.0) + (turn.cost or 0.0) if known else None,
        estimated=so_far.estimated or turn.estimated,
    )
