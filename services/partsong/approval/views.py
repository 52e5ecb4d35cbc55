"""What leaves the service: answers, and messages to viewers. Tables never do."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from partsong.approval.core.approval import Approval, Status, Verdict
from partsong.approval.desk import Listed
from partsong.contracts.errors import Problem

__all__ = [
    "ApprovalView",
    "DecisionBody",
    "Health",
    "Page",
    "Ping",
    "ProblemView",
    "Pushed",
    "Readiness",
    "Snapshot",
    "page_of",
    "view",
]


class _View(BaseModel):
    model_config = ConfigDict(frozen=True)


class ApprovalView(_View):
    """An approval as people and programs see it."""

    id: str
    """`<run_id>.<call_id>` with commas for slashes; it stands in URLs as it is."""
    run_id: str
    call_id: str
    exec: str
    """The execution that waits for it."""
    status: Status
    """`damaged`: its run lacks records, and takes no decision."""
    title: str
    detail: str
    context: dict[str, JsonValue]
    """What the graph's author chose to show."""
    editable: str | None
    """Key of the context, perhaps not in it yet, that who approves may give another value."""
    edit_schema: dict[str, JsonValue] | None
    """JSON Schema of that value."""
    requested_at: str
    deadline: str | None
    otherwise: Verdict
    """What is taken if nobody decides in time."""
    decision: Verdict | None
    """What holds for the run, once it has ended."""
    by: str | None
    reason: str | None
    edited: JsonValue
    """What was approved in the place of the editable value; null: the value as it was."""
    closed_at: str | None


class Page(_View):
    """Some approvals, the newest first."""

    items: list[ApprovalView]
    next: str | None
    """`cursor` of the next page; null if there is none."""
    position: int
    """Sequence of the last record of the log that the page reflects."""


class DecisionBody(BaseModel):
    """A decision. Fields nobody knows are refused: who asks for more than a plain yes must not get one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    decision: Verdict
    by: Annotated[
        str,
        StringConstraints(
            strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$"
        ),
    ]
    """Who decides. It is recorded, not verified."""
    reason: Annotated[str, StringConstraints(max_length=4000, pattern=r"^[^\x00]*$")] | None = None
    edit: JsonValue = None
    """Approve this in the place of the editable value."""


class ProblemView(Problem):
    """An error as RFC 9457 has it, with the fields of a Partsong problem."""

    type: str = "about:blank"
    title: str
    """The HTTP status in words."""
    status: int
    detail: str
    """The same as `message`."""
    approval: ApprovalView | None = None
    """How the approval ended that was to be decided."""


class Health(_View):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Readiness(_View):
    """The log answers, and the inbox shows what it holds."""

    status: Literal["ready"] = "ready"
    position: int
    head: int
    clock: str | None = Field(default=None, exclude_if=lambda said: said is None)
    """How far the broker's clock is from this machine's, if that is too far."""
    log: str | None = Field(default=None, exclude_if=lambda said: said is None)
    """What is wrong with single runs of the log, while all others go on."""


class Snapshot(_View):
    """All that is pending; it replaces whatever the viewer knew."""

    type: Literal["snapshot"] = "snapshot"
    position: int
    approvals: list[ApprovalView] = Field(default_factory=list)


class Pushed(_View):
    """One approval as it is now."""

    type: Literal["created", "decided", "expired", "cancelled"]
    position: int
    approval: ApprovalView


class Ping(_View):
    """Nothing happened; the connection lives."""

    type: Literal["ping"] = "ping"


def view(approval: Approval) -> ApprovalView:
    """An approval as it leaves the service."""
    closure = approval.closure
    return ApprovalView(
        id=approval.id,
        run_id=approval.run_id,
        call_id=approval.call_id,
        exec=approval.exec,
        status=approval.status,
        title=approval.title,
        detail=approval.detail,
        context=dict(approval.context),
        requested_at=approval.requested_at,
        editable=approval.editable,
        edit_schema=dict(approval.edit_schema) if approval.edit_schema is not None else None,
        deadline=approval.deadline,
        otherwise=approval.otherwise,
        decision=closure.decision if closure else None,
        by=closure.by if closure else None,
        reason=closure.reason if closure else None,
        edited=closure.edited if closure else None,
        closed_at=closure.at if closure else None,
    )


def page_of(listed: Listed) -> Page:
    """A page as it leaves the service."""
    return Page(
        items=[view(one) for one in listed.items],
        next=str(listed.next) if listed.next else None,
        position=listed.position,
    )
