"""How a run stands, as its newest commit says in its headers."""

from __future__ import annotations

from partsong.contracts.state.state import RunState
from partsong.contracts.wire.headers import REFUSED, CommitSummary

__all__ = ["summary_of"]


def summary_of(state: RunState) -> CommitSummary:
    """How the run stands after a commit."""
    return CommitSummary(
        state.phase if state.graph is not None else REFUSED,
        state.graph.name if state.graph else "",
        state.started,
        state.error.code if state.error is not None else None,
        tuple(state.uncompensated),
        state.telling,
        len(state.pending),
        (state.origin.run_id, state.origin.seq) if state.origin is not None else None,
    )
