"""Whether a person has agreed to a call, as the log tells it."""

from __future__ import annotations

from partsong.contracts.envelope import decode, newest_event
from partsong.contracts.events import ApprovalDecided, CallFailed, Unapproved
from partsong.contracts.subjects import Subjects
from partsong.contracts.tool_calls import digest_of, question_about
from partsong.contracts.work import ToolWork
from partsong.log.port import Log

__all__ = ["approved"]


async def approved(store: Log, subjects: Subjects, work: ToolWork) -> bool:
    """Whether the newest question about this very call, with these very arguments, was answered by yes.

    Raises:
        Unavailable: the log did not answer.
    """
    found = await _question(store, subjects, work)
    if found is None or found[1].digest != digest_of(work.args):
        return False
    last = await store.last(subjects.call(work.run_id, found[0]))
    answer = newest_event(last.body) if last is not None else None
    return isinstance(answer, ApprovalDecided) and answer.decision == "approve"


async def _question(
    store: Log, subjects: Subjects, work: ToolWork
) -> tuple[str, Unapproved] | None:
    """The newest question before this attempt, and what it was about."""
    found = None
    async for record in store.read(subjects.call(work.run_id, work.call_id)):
        for event in decode(record.body).events:
            if (
                isinstance(event, CallFailed)
                and event.unapproved is not None
                and event.attempt < work.attempt
            ):
                found = question_about(work.call_id, event.attempt), event.unapproved
    return found
