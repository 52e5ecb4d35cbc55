"""Event heads: what every event says that a worker writes about one attempt of a call."""

from __future__ import annotations

from typing import TypedDict

from partsong.contracts.wire.work import Work
from partsong.runtime import clock

__all__ = ["EventHead", "event_head"]


class EventHead(TypedDict):
    """The fields that all these events share."""

    id: str
    time: str
    cause: str
    call_id: str
    attempt: int
    worker: str


def event_head(work: Work, what: str, worker: str) -> EventHead:
    """The head of an event by which `worker` says now that something (`closed`, …) became of an attempt.

    Its id is the same whenever the same is said again, so that the log keeps it once.
    """
    stem = f"{work.run_id}.{work.call_id}.{work.attempt}"
    return EventHead(
        id=f"{stem}.{what}",
        time=clock.now_text(),
        cause=f"{stem}.requested",
        call_id=work.call_id,
        attempt=work.attempt,
        worker=worker,
    )
