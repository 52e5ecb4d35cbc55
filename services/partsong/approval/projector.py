"""The projector: reads the log from its checkpoint on, keeps the projection up to date, tells the viewers.

It reads the whole log with one tail. Commits and guarded calls alone would be two tails, and between two tails there is
no order; most other records are passed over by their subject. So its position is exact: whoever appended record N can
wait until N has been read.

It never gives up. A record that makes no sense is logged and passed over; when the log or the database does not answer,
it says so, and begins again from the checkpoint. If the log does not hold the record of the checkpoint (it is another
log, or one restored to an earlier state), or the database's file is damaged, the projection is made anew.
A record that the server cannot read is one it does not deliver: the next one shows the hole, which is named.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from partsong.approval.batches import batches
from partsong.approval.core.approval import Approval
from partsong.approval.core.inbox import Change, concerns, project, read
from partsong.approval.store import BROKEN, START, Checkpoint, Diverged, Store
from partsong.contracts.counts import number_of
from partsong.contracts.errors import InvalidInput, PartsongError, Problem, Unavailable
from partsong.contracts.wire.subjects import Subjects
from partsong.log.port import Log, Record

__all__ = ["Audience", "Projector"]

log = logging.getLogger("partsong.approval")

_BATCH = 256
_STRIDE = 1000
"""After so many records that changed nothing, the checkpoint moves all the same."""
_PAUSE = 0.5
_PATIENCE = 40.0
"""Seconds to wait for the checkpoint's record; a log that does not answer says so earlier."""

_LONGEST_NAME = 2000
"""Characters of a record's id that is kept as it is."""

_Pending = dict[str, dict[str, Approval]]
"""Open approvals by run and call."""


class Audience(Protocol):
    """Who wants to know. Called between two awaits, so it must not wait."""

    def reloaded(self, pending: Sequence[Approval], seq: int) -> None:
        """All that is open at `seq`; what was heard before no longer counts."""
        ...

    def changed(self, changes: Sequence[Change], seq: int) -> None:
        """What the records up to `seq` changed."""
        ...


class Projector:
    """Keeps the store where the log is."""

    def __init__(
        self,
        source: Log,
        subjects: Subjects,
        store: Store,
        audience: Audience,
        *,
        damaged: Callable[[], frozenset[str]] = frozenset,
    ) -> None:
        """`damaged` says which runs lack records now: what they ask is kept, and shown to nobody as pending."""
        self._log, self._subjects, self._store = source, subjects, store
        self._audience, self._damaged, self._hidden = audience, damaged, frozenset[str]()
        self._task: asyncio.Task[None] | None = None
        self._pending: _Pending = {}
        self._last = self._saved = START
        self._target = 0
        self._current = False
        self._moved = asyncio.Condition()
        self.problem: Problem | None = None
        """Why it does not get on; None if it does."""
        self._bad = 0
        self.note: str | None = None
        """How many records could not be read since it began, and which was the last; None if there were none."""

    @property
    def position(self) -> int:
        """Sequence of the last record that the store reflects."""
        return self._last.seq

    @property
    def current(self) -> bool:
        """Whether it has read all that the log held when it began."""
        return self._current

    def pending(self) -> list[Approval]:
        """Open approvals, the oldest first, without those of damaged runs."""
        runs = (self._pending[run] for run in self._pending.keys() - self._damaged())
        found = [approval for run in runs for approval in run.values()]
        return sorted(found, key=lambda approval: approval.requested)

    def start(self) -> None:
        """Begin to read."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="projector")

    async def stop(self) -> None:
        """Read no more; keep how far it came."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._last.seq > self._saved.seq:
            with contextlib.suppress(Diverged, Unavailable):  # the next start reads a little more
                await self._store.save((), self._last, known=self._saved.seq)

    async def wait_for(self, seq: int, within: float) -> bool:
        """Whether the store reflects record `seq`, at the latest after so many seconds."""
        return await self._wait(lambda: self.position >= seq, within)

    async def catch_up(self, within: float) -> bool:
        """Whether it is current, at the latest after so many seconds."""
        return await self._wait(lambda: self._current, within)

    async def _wait(self, true: Callable[[], bool], within: float) -> bool:
        try:
            async with asyncio.timeout(within), self._moved:
                await self._moved.wait_for(true)
        except TimeoutError:
            return False
        return True

    async def _run(self) -> None:
        while True:
            try:
                await self._follow()
            except Diverged as error:
                log.info("projection loaded again", extra={"why": str(error)})
            except PartsongError as error:
                if self.problem is None or self.problem.code != error.problem.code:
                    log.warning("projection waits", extra={"problem": str(error.problem.message)})
                self.problem = error.problem
                if error.problem.code == BROKEN:
                    await self._store.renew(error.problem.message)
            except Exception as error:
                log.exception("projection waits")
                self.problem = Problem(
                    code="approval.fault",
                    message=f"{type(error).__name__}: {error}",
                    fault="platform",
                )
            self._current = False
            await asyncio.sleep(_PAUSE)

    async def _follow(self) -> None:
        """Load the projection, then read on from where it stands."""
        checkpoint, pending = await self._load()
        self._pending = {}
        for approval in pending:
            self._pending.setdefault(approval.run_id, {})[approval.call_id] = approval
        self._saved = checkpoint
        self._target = await self._log.head()
        await self._move(checkpoint)
        tail = self._log.tail(self._subjects.log(), after=checkpoint.seq)
        async with contextlib.aclosing(batches(tail, most=_BATCH)) as coming:
            async for batch in coming:
                await self._apply(batch)

    async def _load(self) -> tuple[Checkpoint, list[Approval]]:
        await self._store.open()
        checkpoint, pending = await self._store.load()
        if checkpoint == START or await self._holds(checkpoint):
            return checkpoint, pending
        log.warning("projection begun anew: the log is another one", extra={"seq": checkpoint.seq})
        await self._store.reset(checkpoint)
        return await self._store.load()

    async def _holds(self, checkpoint: Checkpoint) -> bool:
        """Whether the log has the checkpoint's record in its place."""
        if await self._log.head() < checkpoint.seq:
            return False
        try:
            async with (
                asyncio.timeout(_PATIENCE),
                contextlib.aclosing(
                    self._log.tail(self._subjects.log(), after=checkpoint.seq - 1)
                ) as records,
            ):
                found = await anext(records)
        except TimeoutError:
            return False
        return (found.seq, _name_of(found)) == (checkpoint.seq, checkpoint.record)

    async def _apply(self, batch: Sequence[Record]) -> None:
        """Store what some records change; only then is it true for anybody here."""
        changed: _Pending = {}
        changes = [change for record in batch for change in self._read(record, changed)]
        upto = Checkpoint(batch[-1].seq, _name_of(batch[-1]))
        self._say_holes(batch)
        if changes or upto.seq - self._saved.seq >= _STRIDE:
            newest = {change.approval.id: change.approval for change in changes}
            await self._store.save(newest.values(), upto, known=self._saved.seq)
            self._saved = upto
        for run_id, pending in changed.items():
            self._pending[run_id] = pending
            if not pending:
                del self._pending[run_id]
        if self._current:
            self._tell(changes, upto.seq)
        await self._move(upto)

    def _tell(self, changes: Sequence[Change], seq: int) -> None:
        """Say what has changed; if other runs are damaged than before, say all anew."""
        damaged = self._damaged()
        if damaged != self._hidden:
            self._hidden = damaged
            self._audience.reloaded(self.pending(), seq)
        elif shown := [one for one in changes if one.approval.run_id not in damaged]:
            self._audience.changed(shown, seq)

    def _say_holes(self, batch: Sequence[Record]) -> None:
        """It reads all there is, so a sequence that does not come is a record that cannot be read."""
        last = self._last.seq
        for record in batch:
            if record.seq > last + 1:
                log.error(
                    "records cannot be read", extra={"first": last + 1, "last": record.seq - 1}
                )
            last = record.seq

    async def _move(self, upto: Checkpoint) -> None:
        self._last, self.problem = upto, None
        if not self._current and upto.seq >= self._target:
            self._current, self._hidden = True, self._damaged()
            self._audience.reloaded(self.pending(), upto.seq)
        async with self._moved:
            self._moved.notify_all()

    def _read(self, record: Record, changed: _Pending) -> tuple[Change, ...]:
        """What one record changes, given what the records before it in the batch have `changed`."""
        if record.problem is not None:
            self._passed_over(record, record.problem)
            return ()
        try:
            subject = self._subjects.parse_log(record.subject)
            if subject.own:
                return ()
            pending = changed.get(subject.run_id, self._pending.get(subject.run_id, {}))
            if not concerns(subject, record.body, pending):
                return ()
            message = read(record.body, subject.run_id)
            changes = project(subject, record.seq, message, pending)
        except InvalidInput as error:
            self._passed_over(record, error.problem)
            return ()
        except Exception:
            log.exception(
                "record passed over", extra={"seq": record.seq, "subject": record.subject}
            )
            return ()
        for problem in message.problems:
            self._passed_over(record, problem)
        if changes:
            after = dict(pending)
            for change in changes:
                after[change.approval.call_id] = change.approval
            changed[subject.run_id] = {id_: a for id_, a in after.items() if a.closure is None}
        return changes

    def _passed_over(self, record: Record, problem: Problem) -> None:
        self._bad += 1
        self.note = (
            f"{number_of(self._bad, 'record')} passed over since this service began, the last at {record.seq} "
            f"({record.subject}): {problem.message}"
        )
        log.warning(
            "passed over what cannot be read",
            extra={
                "seq": record.seq,
                "subject": record.subject,
                "problem": problem.code,
                "where": problem.where,
                "why": problem.message,
            },
        )


def _name_of(record: Record) -> str:
    """The id of a record as a database can keep it; anybody may have given it one."""
    id_ = record.id
    if len(id_) <= _LONGEST_NAME and id_.isprintable():
        return id_
    return hashlib.sha256(id_.encode(errors="replace")).hexdigest()
