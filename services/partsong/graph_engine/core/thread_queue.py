"""A thread's line: the runs that are open in it, and those that wait, in the order in which they were accepted."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

from partsong.contracts.errors import Conflict

__all__ = [
    "LONGEST",
    "Line",
    "OnBusy",
    "Place",
    "Seat",
    "entered",
    "returned",
    "without",
    "without_waiting",
]

OnBusy: TypeAlias = Literal["allow", "reject", "enqueue", "cancel_previous"]

LONGEST = 2000
"""Runs in a line, open or waiting: it is written anew with each that comes or goes."""
_REMEMBERED = 16


class Place(BaseModel):
    """One run in line."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    since: str


class Line(BaseModel):
    """Who has the thread, and who waits for it."""

    model_config = ConfigDict(frozen=True)

    thread: str
    open: tuple[Place, ...] = ()
    queue: tuple[Place, ...] = ()
    last: str = ""
    """The run that left last: the next one begins with what it remembers."""
    before: tuple[str, ...] = ()
    """Those that had left before it, newest first: a restored log may not know the last one."""
    life: str = ""
    """Which log it is of, and in which epoch; empty if that was never restored."""
    lost: str = ""
    """When the first run came back that the server had lost from it; empty if none was."""

    def seat(self, run_id: str) -> Seat | None:
        """Where a run is; None if it is not in line."""
        names = [place.run_id for place in (*self.open, *self.queue)]
        if run_id not in names:
            return None
        at = names.index(run_id)
        return Seat(queued=at >= len(self.open), ahead=tuple(names[:at]))


@dataclass(frozen=True, slots=True)
class Seat:
    """A run's place in line."""

    queued: bool
    ahead: tuple[str, ...]
    """Runs that have the thread or come first."""


def entered(line: Line, place: Place, on_busy: OnBusy) -> Line:
    """The line with one more run, which is in it once however often it comes.

    Raises:
        Conflict: `thread.busy`, naming the run that is open, or `thread.full`.
    """
    if line.seat(place.run_id) is not None:
        return line
    busy = line.open or line.queue
    if len(line.open) + len(line.queue) >= LONGEST and on_busy != "reject":
        raise Conflict(
            "thread.full",
            f"thread {line.thread!r} has {len(line.open)} open runs, and {len(line.queue)} wait for it",
            where="options.thread",
            fix="wait until some of them have ended, or spread the work over more threads",
        )
    if not busy or on_busy == "allow":
        return line.model_copy(update={"open": (*line.open, place)})
    if on_busy == "reject":
        first = busy[0]
        raise Conflict(
            "thread.busy",
            f"run {first.run_id} has thread {line.thread!r} since {first.since}",
            where="options.thread",
            fix="wait for its end, or ask with `on_busy`: enqueue, cancel_previous or allow",
        )
    return line.model_copy(update={"queue": (*line.queue, place)})


def returned(line: Line, place: Place, *, queued: bool, lost: str) -> Line:
    """The line when a run is back in it: one that is open, or one that waits, by when it was accepted.

    `lost` is when it was found that the server had lost it, empty if it had not.
    """
    if not queued:
        return line.model_copy(update={"open": (place, *line.open), "lost": line.lost or lost})
    at = sum(other.since <= place.since for other in line.queue)
    queue = (*line.queue[:at], place, *line.queue[at:])
    return line.model_copy(update={"queue": queue, "lost": line.lost or lost})


def without_waiting(line: Line, run_id: str) -> Line:
    """The line in which a run does not wait."""
    queue = tuple(place for place in line.queue if place.run_id != run_id)
    return line.model_copy(update={"queue": queue})


def without(line: Line, gone: Collection[str], *, follows: bool = True) -> Line:
    """The line when runs have left it; if nobody has the thread then, it is the next one's, if that `follows` at once."""
    open_ = tuple(place for place in line.open if place.run_id not in gone)
    left = [place.run_id for place in line.open if place.run_id in gone]
    queue = tuple(place for place in line.queue if place.run_id not in gone)
    if not open_ and follows:
        open_, queue = queue[:1], queue[1:]
    names = [*reversed(left), *filter(None, (line.last, *line.before))]
    last, before = "".join(names[:1]), tuple(names[1 : _REMEMBERED + 1])
    return line.model_copy(update={"open": open_, "queue": queue, "last": last, "before": before})
