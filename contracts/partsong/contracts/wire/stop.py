"""Stops: work that a run does not want any more, with the commit that says so.

Whoever is on the bus can send one, and one may come late, when the run was retried since. So a stop names the commit
that it follows from: a worker believes what it reads there, and drops nothing that was asked for behind it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pydantic import BaseModel, ConfigDict, Field

from partsong.contracts import events as e
from partsong.contracts.errors import Problem
from partsong.contracts.wire.work import Work

__all__ = ["Stop", "stops_of"]

_HIGHEST = 2**63 - 1


class Stop(BaseModel):
    """Stop: what was begun for a run, or for one execution or scope of it, may be dropped."""

    model_config = ConfigDict(frozen=True, extra="allow")

    commit: int = Field(ge=1, le=_HIGHEST)
    """Sequence in the log of the commit that says so."""
    owner: str | None = None
    """The execution or scope that is over; None for the whole run."""
    reason: str = ""

    def ends(self, work: Work) -> bool:
        """Whether this work of its run is meant. What undoes is never stopped."""
        if work.call_id.endswith("/undo"):
            return False
        owner = self.owner
        return owner is None or work.call_id == owner or work.call_id.startswith(f"{owner}/")


def stops_of(events: Iterable[e.Event], commit: int) -> Iterator[Stop]:
    """The stops that follow from the events of a commit: what is sent, and what a worker compares it with."""
    for event in events:
        match event:
            case e.RunStopping():
                yield Stop(commit=commit, reason=event.reason or event.outcome)
            case e.NodeCancelled():
                yield Stop(commit=commit, owner=event.exec, reason=event.reason or "cancelled")
            case e.ScopeClosed(error=Problem() as error):
                yield Stop(commit=commit, owner=event.scope, reason=error.code)
            case _:
                pass
