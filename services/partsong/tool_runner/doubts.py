"""Doubts: calls that may have been made in a time of which a restored log knows nothing."""

from __future__ import annotations

from collections.abc import Sequence

from partsong.contracts.envelope import decode
from partsong.contracts.marks import Restored
from partsong.contracts.subjects import Subjects
from partsong.contracts.work import ToolWork
from partsong.log.port import Log

__all__ = ["doubt"]


async def doubt(
    store: Log, subjects: Subjects, work: ToolWork, restores: Sequence[Restored]
) -> str | None:
    """Say why a call may have been made already; None if it was not.

    A run that was there when the log was restored may have gone further before than the log says. So each call that is
    asked for by it since, for the first time, may have been made; whoever is asked about it once, is not asked again.

    Raises:
        Unavailable: the log did not answer.
    """
    for restored in reversed(restores):
        if await _asked(store, subjects, work, restored.accepted):
            return None
        run = store.read(subjects.run(work.run_id), upto=restored.accepted)
        if [record.seq async for record in run]:
            return (
                f"{restored.by} restored the log from {restored.source} at {restored.at}: what this run did behind "
                f"record {restored.kept} is not known, and it may have made this call"
            )
    return None


async def _asked(store: Log, subjects: Subjects, work: ToolWork, after: int) -> bool:
    """Whether an earlier attempt has ended since."""
    records = store.read(subjects.call(work.run_id, work.call_id), after=after)
    return any(
        getattr(event, "attempt", work.attempt) < work.attempt
        for body in [record.body async for record in records]
        for event in decode(body).events
    )
