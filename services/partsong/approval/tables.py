"""The projection's three tables, and how an approval becomes a row and a row an approval.

The tables can be lost at any time and are made again from the log. So there are no migrations: whoever changes a table
gives both a new number in their names, and the next start fills the new ones while older processes still use the old.
"""

from __future__ import annotations

from typing import cast

from pydantic import JsonValue
from sqlalchemy import JSON, BigInteger, Column, Index, UniqueConstraint
from sqlmodel import Field, MetaData, SQLModel

from partsong.approval.core.approval import Approval, Closure, Outcome, Position, Verdict

__all__ = ["METADATA", "ApprovalRow", "CheckpointRow", "MarkRow", "from_row", "to_row"]

METADATA = MetaData()


class ApprovalRow(SQLModel, table=True):
    """One approval. Its place in the log is unique, so that nothing is asked twice."""

    metadata = METADATA
    __tablename__ = "approval_v2"  # pyright: ignore[reportAssignmentType]  # SQLModel types it as declared_attr
    __table_args__ = (
        UniqueConstraint("requested_seq", "requested_index", name="approval_v2_position"),
        Index("approval_v2_status", "status", "requested_seq", "requested_index"),
    )

    run_id: str = Field(primary_key=True)
    call_id: str = Field(primary_key=True)
    exec: str
    event: str
    requested_seq: int = Field(sa_type=BigInteger)
    requested_index: int
    requested_at: str
    title: str
    detail: str
    context: dict[str, JsonValue] = Field(sa_column=Column(JSON, nullable=False))
    editable: str | None
    edit_schema: dict[str, JsonValue] | None = Field(sa_column=Column(JSON(none_as_null=True)))
    deadline: str | None
    otherwise: str
    guard: int = Field(sa_type=BigInteger)
    status: str
    closed_seq: int | None = Field(sa_type=BigInteger)
    closed_index: int | None
    closed_event: str | None
    closed_at: str | None
    decision: str | None
    by: str | None
    reason: str | None
    edited: JsonValue = Field(sa_column=Column(JSON(none_as_null=True)))


class CheckpointRow(SQLModel, table=True):
    """How far the projection has read: the last record, by sequence and id. There is one row."""

    metadata = METADATA
    __tablename__ = "approval_checkpoint_v2"  # pyright: ignore[reportAssignmentType]  # SQLModel types it as declared_attr

    name: str = Field(primary_key=True)
    seq: int = Field(sa_type=BigInteger)
    record: str


class MarkRow(SQLModel, table=True):
    """The newest record of a log that is known to be durable: outside the log, so that its loss shows."""

    metadata = METADATA
    __tablename__ = "approval_mark_v1"  # pyright: ignore[reportAssignmentType]  # SQLModel types it as declared_attr

    log_id: str = Field(primary_key=True)
    epoch: int
    seq: int = Field(sa_type=BigInteger)
    digest: str
    at: str


def to_row(approval: Approval) -> ApprovalRow:
    """The row of an approval. A NUL, which PostgreSQL cannot keep in text, becomes the replacement character."""
    closure = approval.closure
    return ApprovalRow(
        run_id=approval.run_id,
        call_id=_storable(approval.call_id),
        exec=_storable(approval.exec),
        event=_storable(approval.event),
        requested_seq=approval.requested.seq,
        requested_index=approval.requested.index,
        requested_at=_storable(approval.requested_at),
        title=_storable(approval.title),
        detail=_storable(approval.detail),
        context=dict(approval.context),
        editable=_storable(approval.editable) if approval.editable is not None else None,
        edit_schema=dict(approval.edit_schema) if approval.edit_schema is not None else None,
        deadline=_storable(approval.deadline) if approval.deadline is not None else None,
        otherwise=approval.otherwise,
        guard=approval.guard,
        status=approval.status,
        closed_seq=closure.position.seq if closure else None,
        closed_index=closure.position.index if closure else None,
        closed_event=_storable(closure.event) if closure else None,
        closed_at=_storable(closure.at) if closure else None,
        decision=closure.decision if closure else None,
        by=_storable(closure.by) if closure and closure.by is not None else None,
        reason=_storable(closure.reason) if closure and closure.reason is not None else None,
        edited=closure.edited if closure else None,
    )


def from_row(row: ApprovalRow) -> Approval:
    """The approval in a row; what is in the table was written by `to_row`."""
    return Approval(
        run_id=row.run_id,
        call_id=row.call_id,
        exec=row.exec,
        event=row.event,
        requested=Position(row.requested_seq, row.requested_index),
        requested_at=row.requested_at,
        title=row.title,
        detail=row.detail,
        context=row.context,
        editable=row.editable,
        edit_schema=row.edit_schema,
        deadline=row.deadline,
        otherwise=cast("Verdict", row.otherwise),
        guard=row.guard,
        closure=_closure(row),
    )


def _closure(row: ApprovalRow) -> Closure | None:
    if row.closed_seq is None or row.closed_index is None:
        return None
    return Closure(
        position=Position(row.closed_seq, row.closed_index),
        event=row.closed_event or "",
        outcome=cast("Outcome", row.status),
        at=row.closed_at or "",
        decision=cast("Verdict | None", row.decision),
        by=row.by,
        reason=row.reason,
        edited=row.edited,
    )


def _storable(text: str) -> str:
    return text.replace("\x00", "\ufffd")
