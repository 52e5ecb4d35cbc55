"""Whether a person has agreed to a call, as the log tells it."""

from __future__ import annotations

from partsong.contracts.errors import InvalidInput
from partsong.contracts.events import ApprovalDecided, CallFailed, Event, Unapproved
from partsong.contracts.state.tool_calls import agrees, question_about
from partsong.contracts.wire.subjects import Subjects
from partsong.contracts.wire.work import ToolWork
from partsong.log.port import Log, Record
from partsong.log.reading import Unreadable, message_of

__all__ = ["approved"]


async def approved(store: Log, subjects: Subjects, work: ToolWork) -> bool:
    """Whether the newest question about this very call, with these very arguments, was answered by yes.

    Raises:
        Unavailable: the log did not answer.
        InvalidInput: what was asked or answered cannot be read; its engine sets the run aside.
    """
    found = await _question(store, subjects, work)
    if found is None:
        return False
    last = await store.last(subjects.call(work.run_id, found[0]))
    answer = said[-1] if last is not None and (said := _said(subjects, last)) else None
    if not isinstance(answer, ApprovalDecided) or answer.decision != "approve":
        return False
    return agrees(found[1], answer.edited, work.args)


async def _question(
    store: Log, subjects: Subjects, work: ToolWork
) -> tuple[str, Unapproved] | None:
    """The newest question before this attempt, and what it was about."""
    found = None
    async for record in store.read(subjects.call(work.run_id, work.call_id)):
        for event in _said(subjects, record):
            if (
                isinstance(event, CallFailed)
                and event.unapproved is not None
                and event.attempt < work.attempt
            ):
                found = question_about(work.call_id, event.attempt), event.unapproved
    return found


def _said(subjects: Subjects, record: Record) -> tuple[Event, ...]:
    """What a record says; without it nobody may take a call for approved."""
    message = message_of(subjects, record)
    if isinstance(message, Unreadable):
        raise InvalidInput.of(message.problem)
    return message.events
