"""Which decisions count: the first valid one, made in time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import assert_never

from pydantic import JsonValue

from partsong.approval.core.approval import Approval, Closure, Outcome, Position, Verdict
from partsong.contracts.errors import Conflict, Unavailable
from partsong.contracts.events import ApprovalDecided
from partsong.contracts.foreign.question import Evaluate, at_once
from partsong.contracts.graph.conform import check_edit
from partsong.contracts.plain import plain

__all__ = ["Closed", "Decision", "after", "closed_by", "decide", "is_repeat"]


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person wants."""

    verdict: Verdict
    by: str
    reason: str | None
    key: str
    """Names the request: made again with the same key, it is the same decision and not a second one."""
    edited: JsonValue = None
    """Approve this in the place of the editable value."""


class Closed(Conflict):
    """Somebody else was first; `approval` says who, what and when."""

    def __init__(self, approval: Approval) -> None:
        super().__init__(
            "approval.closed",
            f"approval {approval.id} {_story(approval)}",
            where="id",
            fix="nothing is left to decide; GET the approval to see how it ended",
        )
        self.approval = approval


def decide(
    approval: Approval, decision: Decision, now: str, evaluate: Evaluate = at_once
) -> ApprovalDecided:
    """The event that carries the decision made at `now` (RFC 3339).

    Raises:
        Closed: the approval has ended already.
        Conflict: `approval.deadline_passed`.
        InvalidInput: `approval.not_editable`, `approval.bad_edit`, `schema.budget`.
        Unavailable: `log.unreadable`: its run lacks records, so no decision would lead anywhere.
    """
    if approval.closure is not None:
        raise Closed(approval)
    if approval.damage is not None:
        raise Unavailable.of(approval.damage)
    if approval.deadline is not None and _passed(approval.deadline, now):
        raise Conflict(
            "approval.deadline_passed",
            f"approval {approval.id} was to be decided by {approval.deadline}; {approval.otherwise} is taken",
            where="id",
            fix="nothing is left to decide",
        )
    plain(decision.edited, "edit", "approval.bad_edit")
    plain(decision.reason, "reason", "request.malformed")
    check_edit(decision.edited, approval.editable, approval.edit_schema, decision.verdict, evaluate)
    return ApprovalDecided(
        id=_event_id(approval, decision),
        time=now,
        cause=approval.event,
        call_id=approval.call_id,
        decision=decision.verdict,
        by=decision.by,
        reason=decision.reason,
        edited=decision.edited,
    )


def after(approval: Approval, event: ApprovalDecided, at: Position) -> Approval:
    """The approval once the decision is in the log."""
    closure = closed_by(event, at)
    return replace(approval, guard=at.seq, closure=closure)


def closed_by(event: ApprovalDecided, at: Position) -> Closure:
    """How an approval ended that was decided."""
    outcome: Outcome = "approved" if event.decision == "approve" else "rejected"
    return Closure(
        at,
        event.id,
        outcome,
        event.time,
        event.decision,
        event.by,
        event.reason,
        event.edited,
    )


def is_repeat(approval: Approval, decision: Decision) -> bool:
    """Whether it was this very request, made before, that closed the approval."""
    closure = approval.closure
    return (
        closure is not None
        and closure.event == _event_id(approval, decision)
        and (closure.decision, closure.by, closure.reason, closure.edited)
        == (decision.verdict, decision.by, decision.reason, decision.edited)
    )


def _event_id(approval: Approval, decision: Decision) -> str:
    return f"{approval.run_id}.{approval.call_id}.decided.{decision.key}"


def _passed(deadline: str, now: str) -> bool:
    """Whether the deadline has passed; one that cannot be read is for the engine's timer to tell."""
    try:
        return datetime.fromisoformat(deadline) <= datetime.fromisoformat(now)
    except (ValueError, TypeError):
        return False


def _story(approval: Approval) -> str:
    closure = approval.closure
    if closure is None:
        return "is being decided by somebody else"
    why = f": {closure.reason}" if closure.reason else ""
    match closure.outcome:
        case "approved" | "rejected":
            return f"was {closure.outcome} by {closure.by} at {closure.at}{why}"
        case "expired":
            return f"expired at {closure.at}; {closure.decision} was taken"
        case "cancelled":
            return f"was cancelled at {closure.at}{why}"
        case _:
            assert_never(closure.outcome)
