"""Events of approvals: what a person is asked, and what was decided."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, JsonValue

from partsong.contracts.events.base import EventBase
from partsong.contracts.services import APPROVAL, GRAPH_ENGINE, Service

__all__ = ["ApprovalDecided", "ApprovalExpired", "ApprovalRequested"]


class ApprovalRequested(EventBase):
    """A person is asked."""

    writer: ClassVar[Service] = GRAPH_ENGINE
    type: Literal["approval.requested"] = "approval.requested"
    call_id: str
    exec: str
    title: str
    detail: str = ""
    context: dict[str, JsonValue] = Field(default_factory=dict)
    editable: str | None = None
    """Key of the context, perhaps not in it yet, that the approver may give another value."""
    edit_schema: dict[str, JsonValue] | None = None
    """JSON Schema of that value."""
    deadline: str | None = None
    otherwise: Literal["approve", "reject"] = "reject"


class ApprovalDecided(EventBase):
    """A person decided. The log's guard lets only the first decision in."""

    writer: ClassVar[Service] = APPROVAL
    type: Literal["approval.decided"] = "approval.decided"
    call_id: str
    decision: Literal["approve", "reject"]
    by: str
    reason: str | None = None
    edited: JsonValue = None
    """What was approved in the place of the editable value; null: the value as it was."""


class ApprovalExpired(EventBase):
    """Nobody decided in time; the request's `otherwise` holds."""

    writer: ClassVar[Service] = GRAPH_ENGINE
    type: Literal["approval.expired"] = "approval.expired"
    call_id: str
