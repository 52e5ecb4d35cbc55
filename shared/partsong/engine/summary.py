"""A run's summary in the headers of its newest commit, so that lists of runs need not open a single body."""

from __future__ import annotations

from partsong.contracts.state.state import RunState

__all__ = ["REFUSED", "summary_headers"]

REFUSED = "refused"
"""The status of what has not begun, and was asked for in vain."""

_MOST_NAMED = 10


def summary_headers(state: RunState) -> dict[str, str]:
    """How the run stands after a commit."""
    headers = {
        "Partsong-Status": state.phase if state.graph is not None else REFUSED,
        "Partsong-Graph": state.graph.name if state.graph else "",
        "Partsong-Started": state.started,
    }
    if state.error is not None:
        headers["Partsong-Error"] = state.error.code
    if lost := [*state.uncompensated]:
        more = ",…" if len(lost) > _MOST_NAMED else ""
        headers["Partsong-Uncompensated"] = ",".join(lost[:_MOST_NAMED]) + more
    if state.telling:
        headers["Partsong-Webhook"] = "open"
    if state.pending:
        headers["Partsong-Pending"] = str(len(state.pending))
    if state.origin is not None:
        headers["Partsong-Origin"] = f"{state.origin.run_id}@{state.origin.seq}"
    return headers
