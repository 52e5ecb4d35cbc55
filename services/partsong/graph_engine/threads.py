"""Threads: runs of one conversation, and which of them is open.

A thread's line lies in a key-value bucket and is only changed by compare-and-set. A run takes its place before it
begins, so engines cannot let in two at once; whoever sees a run end takes it out and lets in the next one. An engine
may die between the two: so whoever waits, and whoever finds the thread taken, looks in the log whether those in line
have ended.

The server may lose a line, as when its disk is damaged. Only the runs know then who has the thread: so one that is open
looks now and then whether it is still in line, and one that waits and is not there any more lets the others come first.
For a moment after the connection was lost, nobody is let into a thread that has no line.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime

from pydantic import JsonValue

from partsong.contracts.envelope import newest_event
from partsong.contracts.errors import Unavailable
from partsong.contracts.graph import Graph
from partsong.contracts.run_events import RunOptions
from partsong.contracts.state import ENDED
from partsong.contracts.subjects import Subjects
from partsong.graph_engine.bucket import Bucket, Overtaken
from partsong.graph_engine.core.line import Line, OnBusy, Place, Seat, entered, without
from partsong.graph_engine.core.summary import REFUSED
from partsong.log.port import Log, Record
from partsong.log.snapshots.folded import fold_to
from partsong.log.snapshots.port import Snapshots
from partsong.runtime import clock

__all__ = ["Threads"]

_log = logging.getLogger("partsong.graph_engine")

_TRIES = 100
"""Lost races per change: each loss means that another engine made one."""
_LOOK = 20.0
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
    ) -> None:
        """`let_in` is called for runs that had waited and have the thread now, with the run that left it last.

        `connections` counts how often the connection was lost and came back.
        """
        self._bucket, self._log, self._subjects = bucket, log, subjects
        self._snapshots = snapshots
        self._let_in = let_in
        self._connections, self._known = connections, connections()
        self._back = -_UNSURE
        """When it was noticed that the connection is back."""
        self._looked: dict[str, float] = {}
        """When an open run was last found in line."""

    async def enter(self, run_id: str, options: RunOptions) -> Seat | None:
        """Take the run's place in line; None if it has no thread, or is past all that.

        Raises:
            Conflict: `thread.busy`.
            Unavailable: the bucket or the log did not answer, or it may just have lost the thread's line.
        """
        if options.thread is None:
            return None
        place = Place(run_id=run_id, since=clock.now_text())
        begun = await self._begun(run_id) is not None

        def change(line: Line) -> Line:
            self._surely(line, options.on_busy)
            return line if begun else entered(line, place, options.on_busy)

        line = await self._change(options.thread, change, clear=not begun)
        return line.seat(run_id)

    async def rejoin(self, run_id: str, options: RunOptions) -> bool:
        """Take an ended run's place again before it goes on; whether it had left.

        Raises:
            Conflict: `thread.busy`: going on, it cannot wait.
            Unavailable: the bucket or the log did not answer.
        """
        if options.thread is None:
            return False
        place = Place(run_id=run_id, since=clock.now_text())
        on_busy: OnBusy = "allow" if options.on_busy == "allow" else "reject"
        left = True

        def change(line: Line) -> Line:
            nonlocal left
            self._surely(line, on_busy)
            left = line.seat(run_id) is None
            return entered(line, place, on_busy)

        await self._change(options.thread, change, clear=True)
        return left

    async def leave(self, run_id: str, thread: str) -> None:
        """Take a run out of line; nothing if it is not in it."""
        self._looked.pop(run_id, None)
        await self._change(thread, lambda line: without(line, {run_id}))

    async def may_go(self, run_id: str, thread: str) -> bool:
        """Whether a run that waits has the thread now, those apart that have ended."""
        place = Place(run_id=run_id, since=clock.now_text())

        def change(line: Line) -> Line:
            if line.seat(run_id) is None:
                _log.warning("run was lost from its thread's line", extra={"run": run_id})
                return line.model_copy(update={"queue": (*line.queue, place)})
            nobody = not line.open and _age(line.queue[0]) > _WAIT
            return without(line, ()) if nobody else line

        line = await self._change(thread, change, clear=True)
        seat = line.seat(run_id)
        return seat is not None and not seat.queued

    async def hold(self, run_id: str, thread: str) -> None:
        """See to it that an open run, which waits no more, is in line; asked often, it looks now and then."""
        self._unsure()
        now, looked = clock.monotonic(), self._looked.get(run_id)
        if looked is not None and looked > self._back and now - looked < _LOOK:
            return
        place = Place(run_id=run_id, since=clock.now_text())

        def change(line: Line) -> Line:
            if line.seat(run_id) is not None:
                return line
            _log.warning("run was lost from its thread's line", extra={"run": run_id})
            return line.model_copy(update={"open": (place, *line.open)})

        await self._change(thread, change)
        self._looked[run_id] = now

    def _surely(self, line: Line, on_busy: OnBusy) -> None:
        """Let nobody into a line that may just have been lost, but who would go beside others.

        Raises:
            Unavailable: `thread.unsure`: ask again in a moment.
        """
        if self._unsure() and on_busy != "allow" and line == Line(thread=line.thread):
            raise _unsure_of(line.thread)

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
        folded = await fold_to(self._log, self._subjects, last, self._snapshots)
        values = folded.state.values
        return {key: values[key] for key in graph.memory if key in values}

    async def _change(
        self, thread: str, change: Callable[[Line], Line], *, clear: bool = False
    ) -> Line:
        key = _key(thread)
        for _ in range(_TRIES):
            entry = await self._bucket.get(key)
            held = Line.model_validate_json(entry.value) if entry.value else Line(thread=thread)
            line = held
            if clear and (ended := await self._ended(held)):
                line = without(held, ended)
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
            waited = {place.run_id for place in held.queue}
            for place in line.open:
                if place.run_id in waited:
                    await self._let_in(place.run_id, line.last)
            return line
        raise Unavailable(
            "thread.contended", f"thread {thread!r}: lost {_TRIES} races in a row", retryable=True
        )

    async def _begun(self, run_id: str) -> Record | None:
        """The newest commit of a run; None if it has not begun, though requests for it may have been refused."""
        newest = await self._log.last(self._subjects.engine(run_id))
        refused = newest is not None and newest.headers.get("Partsong-Status") == REFUSED
        return None if refused else newest

    async def _ended(self, line: Line) -> set[str]:
        """Runs that have the thread and need it no more."""
        return {place.run_id for place in line.open if await self._is_over(place)}

    async def _is_over(self, place: Place) -> bool:
        """Whether a run has ended since it took its place, or has not begun for so long that it never will."""
        newest = await self._begun(place.run_id)
        if newest is not None:
            if newest.headers.get("Partsong-Status") not in ENDED:
                return False
            if newest_event(newest.body).time >= place.since:
                return True
        return _age(place) > _UNBORN


def _age(place: Place) -> float:
    return (clock.now() - datetime.fromisoformat(place.since)).total_seconds()


def _unsure_of(thread: str) -> Unavailable:
    return Unavailable(
        "thread.unsure",
        f"the connection was lost, and nobody is in thread {thread!r} now; those that were are waited for",
        where="options.thread",
        retryable=True,
    )


def _key(thread: str) -> str:
    return hashlib.sha256(thread.encode()).hexdigest()[:40]
