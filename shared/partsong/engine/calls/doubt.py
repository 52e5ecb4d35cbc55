"""What a restore leaves in doubt: guarded calls that may have been made in the window whose records are lost.

A claim that was lost leaves no trace. So every guarded call that was open when the log was restored, claimed or not,
may have been made; it is closed as one of unknown outcome, and for a tool a person is asked.
"""

from __future__ import annotations

from partsong.contracts.events import CallLapsed
from partsong.contracts.state.calls import lapse
from partsong.contracts.state.state import RunState
from partsong.contracts.wire.marks import Restored

__all__ = ["in_doubt"]

_NOBODY = "lost with the log"
"""The worker of a call whose claim the log does not hold, if there was one."""


def in_doubt(state: RunState, restored: Restored, now: str) -> tuple[tuple[CallLapsed, int], ...]:
    """The events that close the calls in doubt, each with the sequence to expect on its call's subject.

    Calls asked for after the restore are not in doubt, nor are those of a run that had ended; an approval is a question
    and has no effect of its own. Asking again after a crash gives the same events, and those that are closed are open
    no more.
    """
    if state.ended:
        return ()
    return tuple(
        (
            lapse(state.run_id, call, now, stopped=True, nobody=_NOBODY),
            call.claim,
        )
        for call in state.calls.values()
        if call.open
        and call.guarded
        and call.kind != "approval"
        and call.since <= restored.at
        and call.claim <= restored.kept
    )
