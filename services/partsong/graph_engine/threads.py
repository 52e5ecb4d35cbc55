"""Threads: runs of one conversation, and which of them is open.

A thread's line lies in a key-value bucket and is only changed by compare-and-set. A run takes its place before it
begins, so engines cannot let in two at once; whoever sees a run end takes it out and lets in the next one. An engine
may die between the two: so whoever waits, and whoever finds the thread taken, looks in the log whether those in line
have ended.

The server may lose a line, as when its disk is damaged. Only the runs know then who has the thread: so one that is open
looks now and then whether it is still in line, and one that waits and is not there any more lets the others come first.
For a moment after the connection was lost, nobody is let into a thread that has no line; and for a minute after the
first run came back to one that was lost nobody follows it, for others that were open may still have to come.

After a restore a line may be ahead of the log: then it is not believed, and all runs that are open take their places
anew, those that wait in the order in which they were accepted. Nobody enters and nobody is let in before all have.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime

from pydantic import JsonValue

from partsong.bus.bucket import Bucket, Overtaken
from partsong.contracts.errors import Unavailable
from partsong.contracts.events import RunOptions
from partsong.contracts.graph import Graph
from partsong.contracts.state.state import ENDED
from partsong.contracts.wire.headers import REFUSED, STATUS
from partsong.contracts.wire.subjects import Subjects
from partsong.graph_engine.core.thread_queue import (
    Line,
    OnBusy,
    Place,
    Seat,
    entered,
    returned,
    without,
    without_waiting,
)
from partsong.graph_engine.seating import Seating
from partsong.log.port import Log, Record
from partsong.log.reading import Unreadable, message_of
from partsong.log.snapshots.folded import fold_readable
from partsong.log.snapshots.port import Snapshots
from partsong.runtime import clock
from partsong.runtime.recent import Recent

__all__ = ["Threads"]

_log = logging.getLogger("partsong.graph_engine")

_TRIES = 100
"""Lost races per change: each loss means that another engine made one."""
_LOOK = 20.0
_LOOKED = 10_000
"""Runs of which it is remembered that they were found in line: others are looked for once more."""
"""Seconds after which an open run looks again whether it is in line."""
_UNSURE = 10.0
"""Seconds after a lost connection is back, within which open runs have looked whether they are in line."""
_WAIT = 3 * _LOOK
"""Seconds for which a run that was lost from the line waits for those that were open in it."""
_UNBORN = 60.0
"""Seconds after which a run that has its place and did not begin is not waited for any more."""


class Threads:
    """The lines of all threads."""

    def __init__(
        self,
        bucket: Bucket,
        log: Log,
        subjects: Subjects,
        snapshots: Snapshots,
        let_in: Callable[[str, str], Awaitable[None]],
        connections: Callable[[], int] = lambda: 0,
        seating: Seating | None = None,
    ) -> None:
        """`let_in` is called for runs that had waited and have the thread now, with the run that left it last.

        `connections` counts how often the connection was lost and came back. Without `seating`, the log was never
        restored.
        """
        self._seating = seating or Seating(bucket, tuple)
        self._bucket, self._log, self._subjects = bucket, log, subjects
        self._snapshots = snapshots
        self._let_in = let_in
        self._connections, self._known = connections, connections()
        self._back = -_UNSURE
        """When it was noticed that the connection is back."""
        self._looked: Recent[str, float] = Recent(_LOOKED)
        """When an open run was last found in line."""
        self._life = ""
        """In which of the log's lives that was."""

    async def enter(self, run_id: str, options: RunOptions) -> Seat | None:
        """Take the run's place in line; None if it has no thread, or is past all that.

        Raises:
            Conflict: `thread.busy`.
            Unavailable: the bucket or the log did not answer, or those who were in line may still have to come.
        """
        if options.thread is None:
            return None
        seated = await self._seating.done()
        place = Place(run_id=run_id, since=clock.now_text())
        begun = await self._begun(run_id) is not None

        def change(line: Line) -> Line:
            self._surely(line, options.on_busy)
            return line if begun else _entered(line, place, options.on_busy, seated=seated)

        line = await self._change(options.thread, change, seated=seated, clear=not begun)
        return line.seat(run_id)

    async def rejoin(self, run_id: str, options: RunOptions) -> bool:
        """Take an ended run's place again before it goes on; whether it had left.

        Raises:
            Conflict: `thread.busy`: going on, it cannot wait.
            Unavailable: the bucket or the log did not answer, or those who were in line may still have to come.
        """
        if options.thread is None:
            return False
        place = Place(run_id=run_id, since=clock.now_text())
        on_busy: OnBusy = "allow" if options.on_busy == "allow" else "reject"
        left, seated = True, await self._seating.done()

        def change(line: Line) -> Line:
            nonlocal left
            self._surely(line, on_busy)
            seat = line.seat(run_id)
            left = seat is None or seat.queued
            # It has ended, so it waits no more: a place among those who wait is one that it came back to by mistake.
            line = without_waiting(line, run_id) if left else line
            return _entered(line, place, on_busy, seated=seated)

        await self._change(options.thread, change, seated=seated, clear=True)
        return left

    async def leave(self, run_id: str, thread: str) -> None:
        """Take a run out of line; nothing if it is not in it."""
        self._looked.pop(run_id, None)
        seated = await self._seating.done()

        def change(line: Line) -> Line:
            return without(line, {run_id}, follows=_all_came(line, seated=seated))

        await self._change(thread, change, seated=seated)

    async def may_go(self, run_id: str, thread: str, accepted: str) -> bool:
        """Whether a run that waits since it was accepted has the thread now, those apart that have ended."""
        place, seated = Place(run_id=run_id, since=accepted), await self._seating.done()

        def change(line: Line) -> Line:
            if line.seat(run_id) is None:
                return _back(line, place, queued=True, seated=seated)
            return without(line, ()) if not line.open and _all_came(line, seated=seated) else line

        line = await self._change(thread, change, seated=seated, clear=True)
        seat = line.seat(run_id)
        return seat is not None and not seat.queued

    async def hold(self, run_id: str, thread: str) -> None:
        """See to it that an open run, which waits no more, is in line; asked often, it looks now and then."""
        self._unsure()
        if self._life != self._seating.life:
            self._life = self._seating.life
            self._looked.clear()
        now, looked = clock.monotonic(), self._looked.get(run_id)
        if looked is not None and looked > self._back and now - looked < _LOOK:
            return
        place = Place(run_id=run_id, since=clock.now_text())
        seated = await self._seating.done()

        def change(line: Line) -> Line:
            there = line.seat(run_id) is not None
            return line if there else _back(line, place, queued=False, seated=seated)

        await self._change(thread, change, seated=seated)
        self._looked[run_id] = now

    def _surely(self, line: Line, on_busy: OnBusy) -> None:
        """Let nobody into a line that may just have been lost, but who would go beside others.

        Raises:
            Unavailable: `thread.unsure`: ask again in a moment.
        """
        if self._unsure() and on_busy != "allow" and _nobody(line):
            raise _unsure_of(line.thread)

    async def seated(self, partition: int) -> None:
        """Take note that all open runs of a partition are in line, as `hold` and `may_go` have put them there.

        Raises:
            Unavailable: the bucket did not answer.
        """
        await self._seating.note(partition)

    def _unsure(self) -> bool:
        """Whether a line that is not there may just have been lost."""
        if (count := self._connections()) != self._known:
            self._known, self._back = count, clock.monotonic()
        return clock.monotonic() - self._back < _UNSURE

    async def remembered(self, thread: str, graph: Graph) -> dict[str, JsonValue]:
        """What the thread's last run has left for the next one: the keys that the graph calls its memory.

        Raises:
            Unavailable: the bucket or the log did not answer.
        """
        if not graph.memory:
            return {}
        entry = await self._bucket.get(_key(thread))
        last = Line.model_validate_json(entry.value).last if entry.value else ""
        if not last:
            return {}
        # What somebody has put behind its end is no reason to forget, or to let nobody begin any more.
        folded = await fold_readable(self._log, self._subjects, last, self._snapshots)
        values = folded.state.values
        return {key: values[key] for key in graph.memory if key in values}

    async def _change(
        self, thread: str, change: Callable[[Line], Line], *, seated: bool, clear: bool = False
    ) -> Line:
        """Change a line; `seated` says whether all have taken their places since a restore, if there was one."""
        key = _key(thread)
        for _ in range(_TRIES):
            entry = await self._bucket.get(key)
            held = Line.model_validate_json(entry.value) if entry.value else Line(thread=thread)
            line = believed = await self._believed(held)
            if clear and (ended := await self._ended(line)):
                line = without(line, ended, follows=_all_came(line, seated=seated))
            line = change(line)
            try:
                if line == held:
                    pass
                elif line.open or line.queue or line.last:
                    await self._bucket.put(key, line.model_dump_json().encode(), entry.revision)
                else:
                    await self._bucket.remove(key, entry.revision)
            except Overtaken:
                continue
            waited = {place.run_id for place in believed.queue}
            for place in line.open:
                if place.run_id in waited:
                    await self._let_in(place.run_id, line.last)
            return line
        raise Unavailable(
            "thread.contended", f"thread {thread!r}: lost {_TRIES} races in a row", retryable=True
        )

    async def _believed(self, line: Line) -> Line:
        """The line, as far as the log may know of it: after a restore only who left it, of whom the log says so too."""
        life = self._seating.life
        if line.life == life:
            return line
        left = [name for name in (line.last, *line.before) if name and await self._has_ended(name)]
        last, *before = left or [""]
        return Line(thread=line.thread, life=life, last=last, before=tuple(before))

    async def _has_ended(self, run_id: str) -> bool:
        newest = await self._log.last(self._subjects.engine(run_id))
        return newest is not None and newest.headers.get(STATUS) in ENDED

    async def _begun(self, run_id: str) -> Record | None:
        """The newest commit of a run; None if it has not begun, though requests for it may have been refused."""
        newest = await self._log.last(self._subjects.engine(run_id))
        refused = newest is not None and newest.headers.get(STATUS) == REFUSED
        return None if refused else newest

    async def _ended(self, line: Line) -> set[str]:
        """Runs that have the thread and need it no more."""
        return {place.run_id for place in line.open if await self._is_over(place)}

    async def _is_over(self, place: Place) -> bool:
        """Whether a run has ended since it took its place, or has not begun for so long that it never will."""
        newest = await self._begun(place.run_id)
        if newest is not None:
            if newest.headers.get(STATUS) not in ENDED:
                return False
            message = message_of(self._subjects, newest)
            if isinstance(message, Unreadable):
                return True  # nobody decides on it any more, and it may have ended
            if message.events and message.events[-1].time >= place.since:
                return True
        return _age(place) > _UNBORN


def _entered(line: Line, place: Place, on_busy: OnBusy, *, seated: bool) -> Line:
    """The line with one more run, unless others have to take their places first."""
    if on_busy != "allow" and line.seat(place.run_id) is None:
        if not seated:
            raise _unseated(line.thread)
        if not line.open and not _all_came(line, seated=seated):
            raise _unsure_of(line.thread)
    return entered(line, place, on_busy)


def _back(line: Line, place: Place, *, queued: bool, seated: bool) -> Line:
    """The line with a run that was lost from it, or takes its place anew after a restore."""
    if not seated:
        return returned(line, place, queued=queued, lost="")
    _log.warning("run was lost from its thread's line", extra={"run": place.run_id})
    return returned(line, place, queued=queued, lost=clock.now_text())


def _all_came(line: Line, *, seated: bool) -> bool:
    """Whether all who were lost from a line have come: all of the log did since it was restored, or have had the time to."""
    return seated and (not line.lost or _seconds_since(line.lost) > _WAIT)


def _nobody(line: Line) -> bool:
    """Whether nothing is known of a thread."""
    return not (line.open or line.queue or line.last)


def _age(place: Place) -> float:
    return _seconds_since(place.since)


def _seconds_since(moment: str) -> float:
    return (clock.now() - datetime.fromisoformat(moment)).total_seconds()


def _unsure_of(thread: str) -> Unavailable:
    return Unavailable(
        "thread.unsure",
        f"the server may have lost who has thread {thread!r}, and nobody is in it now; those that were are waited for",
        where="options.thread",
        retryable=True,
    )


def _unseated(thread: str) -> Unavailable:
    return Unavailable(
        "thread.unsure",
        f"the log was restored, and runs that were open then have still to take their places: who has thread {thread!r} "
        "is not known",
        where="options.thread",
        fix="it is tried again; `partsong doctor` says which partitions have no engine yet",
        retryable=True,
    )


def _key(thread: str) -> str:
    return hashlib.sha256(thread.encode()).hexdigest()[:40]
