"""The stream processor of a partition: takes what the feed delivers, and takes a turn for every run concerned.

An owner begins at the partition's checkpoint and announces itself in the partition's own log. Until the feed delivers
that announcement, what comes is history: only which runs are open is noted. From then on every record is folded into
the run it concerns, which is read from the log when it is first needed, up to the place the feed has reached and no
further. So there is one source of order. All that is known of a run here may be forgotten at any time.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Coroutine
from dataclasses import replace

from partsong.bus.feed import Feed
from partsong.contracts import events as e
from partsong.contracts.envelope import encode_report
from partsong.contracts.errors import (
    Conflict,
    InvalidInput,
    PartsongError,
    Problem,
    Unavailable,
)
from partsong.contracts.requests import Rejected
from partsong.contracts.subjects import OURS, LogSubject, Subjects, partition_of
from partsong.graph_engine.bucket import Overtaken
from partsong.graph_engine.checkpoints import Checkpoint, Checkpoints
from partsong.graph_engine.core import hear
from partsong.graph_engine.looking_after import (
    PATIENCE,
    neglected,
    offered_later,
    waits_for_people,
)
from partsong.graph_engine.open_runs import OpenRuns
from partsong.graph_engine.turn import Answer, Slot, Turns
from partsong.log.port import Log, Record, WrongSequence
from partsong.runtime import clock

__all__ = ["Processor"]

_log = logging.getLogger("partsong.graph_engine")

_AGAIN, _LONGEST_AGAIN = 1.0, 30.0
"""Seconds until a turn that failed is taken again: the first time, and at most."""
_AT_ONCE = 16
"""Open runs that are looked after side by side when a partition is taken."""
_FINISH = 10.0
"""Seconds for turns to end when a partition is given back."""


class Processor:
    """One partition, as long as this engine owns it."""

    def __init__(
        self,
        partition: int,
        feed: Feed,
        turns: Turns,
        checkpoints: Checkpoints,
        store: Log,
        subjects: Subjects,
        owner: str,
        answer: Answer,
        *,
        keep: int = 500,
        patience: float = PATIENCE,
    ) -> None:
        """`keep` is how many runs are held that wait for nobody but people."""
        self.partition = partition
        self._feed, self._turns, self._checkpoints = feed, turns, checkpoints
        self._log, self._subjects, self._owner, self._answer = store, subjects, owner, answer
        self._keep, self._patience = keep, patience
        self.owned = False
        self.lost = False
        """Another engine has taken the partition over; it is to be given back."""
        self._slots: OrderedDict[str, Slot] = OrderedDict()
        self._open = OpenRuns()
        self._pos = 0
        self._announced = ""
        """Id of the record that announced this owner; empty once it was delivered."""
        self._checkpoint = Checkpoint()
        self._keeping = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers: set[asyncio.TimerHandle] = set()

    async def take(self) -> bool:
        """Own the partition from now on; False if another engine was first.

        Raises:
            Unavailable: the server did not answer, or the log ends before what was processed.
        """
        found = await self._checkpoints.load(self.partition)
        head = await self._log.head()
        if found.seq > head:
            raise _behind(self.partition, found.seq, head)
        mine = replace(found, epoch=found.epoch + 1)
        try:
            revision = await self._checkpoints.keep(self.partition, mine)
            self._announced = await self._announce(mine.epoch)
        except (Overtaken, WrongSequence):
            return False
        self._checkpoint = replace(mine, revision=revision)
        self._open, self._pos, self.lost = OpenRuns(found.open), found.seq, False
        await self._feed.start(found.seq, self.receive)
        self.owned = True
        self._wake_all()
        return True

    async def release(self) -> None:
        """Give the partition back: finish the turns that are being taken, and keep a checkpoint."""
        self.owned = self.lost = False
        for handle in self._timers:
            handle.cancel()
        self._timers.clear()
        await self._feed.stop()
        for slot in self._slots.values():
            slot.dirty = False
        tasks = [*self._tasks, *(s.task for s in self._slots.values() if s.task is not None)]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=_FINISH)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        try:
            await self.keep_checkpoint()
        except (Overtaken, PartsongError):
            _log.info("checkpoint not kept", extra={"partition": self.partition})
        self._slots.clear()

    @property
    def busy(self) -> int:
        """Runs whose turn is being taken."""
        return sum(slot.task is not None for slot in self._slots.values())

    @property
    def open(self) -> int:
        """Runs that have not ended."""
        return len(self._open)

    async def keep_checkpoint(self) -> None:
        """Write down how far this partition has been processed, if that is further than last time.

        Raises:
            Overtaken: another engine owns the partition now.
            Unavailable: the bucket did not answer.
        """
        async with self._keeping:
            if self._pos == self._checkpoint.seq:
                return
            now = replace(self._checkpoint, seq=self._pos, open=self._open.newest)
            revision = await self._checkpoints.keep(self.partition, now)
            self._checkpoint = replace(now, revision=revision)

    def receive(self, record: Record) -> None:
        """Take the partition's next record."""
        self._pos = record.seq
        try:
            where = self._subjects.parse_log(record.subject)
        except InvalidInput as error:
            _log.warning("record passed over", extra={"seq": record.seq, "why": str(error)})
            return
        if where.run_id == OURS:
            self._owner_record(record, where)
        elif partition_of(where.run_id) == self.partition:
            self._run_record(record, where)

    def look(self) -> None:
        """Look after open runs whose worker has fallen silent, and those that nobody has reported on for a while."""
        for slot in neglected(self._slots.values(), self._turns.silent, self._patience):
            self._wake(slot, woken=True)

    async def offer_again(self) -> None:
        """Offer calls that no worker could make at once: workers have come that may have what they lack.

        Raises:
            Unavailable: the log did not answer.
        """
        for run_id, timer in offered_later(self._slots.values()):
            event = hear.rang(run_id, timer.id, timer.at, clock.now_text())
            body = encode_report(run_id, event)
            await self._log.append(self._subjects.fact(run_id), body, id=event.id)

    def _owner_record(self, record: Record, where: LogSubject) -> None:
        if where.entity != "owner":
            return
        if record.id == self._announced:
            self._announced = ""
            self._spawn(self._look_after(self._open.without(self._slots)))
        elif not self._announced:
            self.lost = True

    def _run_record(self, record: Record, where: LogSubject) -> None:
        run_id = where.run_id
        slot = self._slots.get(run_id)
        if slot is None:
            self._open.note(record, where)
            if self._announced or run_id not in self._open:
                return
            slot = self._slot(run_id)
        self._open.moved(run_id, record.seq)
        if where.request_id is not None and not slot.warm:
            slot.asked.append(where.request_id)
        if slot.parked is not None:
            self._refuse(slot, slot.parked)
        elif slot.backlog is not None:
            slot.backlog.append(record)
        elif not slot.warm or self._fold(slot, record):
            # A commit of another engine's: whether that one lives to send what follows from it, nobody knows.
            self._wake(slot, woken=where.entity == "engine")

    def _slot(self, run_id: str) -> Slot:
        slot = self._slots[run_id] = Slot(self._turns.ledger(run_id))
        return slot

    def _fold(self, slot: Slot, record: Record) -> bool:
        """Fold a record; whether anything is to be done about it."""
        try:
            return slot.ledger.fold(record)
        except Exception as error:
            self._distrust(slot, error)
            return True
        finally:
            slot.moved.set()

    @staticmethod
    def _distrust(slot: Slot, error: Exception) -> None:
        """What is held of a run is wrong, or its log is: read it once more, from its very beginning."""
        _log.warning("run read anew", extra={"run": slot.ledger.run_id, "why": repr(error)})
        slot.warm, slot.suspect = False, True

    def _wake(self, slot: Slot, *, woken: bool = False) -> None:
        slot.dirty = True
        slot.woken = slot.woken or woken
        if slot.task is None and self.owned and not self.lost:
            slot.task = asyncio.get_running_loop().create_task(
                self._work_off(slot), name=f"run {slot.ledger.run_id}"
            )

    async def _work_off(self, slot: Slot) -> None:
        try:
            while slot.dirty and slot.parked is None:
                slot.dirty = False
                if not slot.warm:
                    await self._load(slot)
                    continue
                if slot.ledger.state.newer is not None:
                    self._park(slot, hear.too_old(slot.ledger.state))
                elif not await self._turns.take(slot):
                    await self._begin_anew()
                slot.failures = 0
        except Exception as error:
            self._failed(slot, error)
        finally:
            slot.task = None
            slot.touched = clock.monotonic()
            self._rest(slot)

    async def _load(self, slot: Slot) -> None:
        """Read a run up to the place that the feed has reached, then fold what was delivered meanwhile."""
        run_id, upto = slot.ledger.run_id, self._pos
        newest = self._open.of(run_id)
        ledger = self._turns.ledger(run_id, snapshots=not slot.suspect)
        backlog: list[Record] = []
        slot.backlog = backlog
        try:
            await ledger.refresh(upto)
        except (InvalidInput, Conflict) as error:
            if slot.suspect:
                self._park(slot, error.problem)
            else:
                self._distrust(slot, error)
                slot.dirty = True
            return
        finally:
            slot.backlog = None
        if ledger.seen < newest:
            raise _stale_read(run_id, ledger.seen, newest)
        slot.ledger, slot.warm, slot.dirty = ledger, True, True
        slot.asked.clear()
        for record in backlog:
            self._fold(slot, record)

    def _park(self, slot: Slot, problem: Problem) -> None:
        """Set a run aside whose log cannot be folded; what is asked of it is refused with the reason."""
        run_id = slot.ledger.run_id
        told = {"run": run_id, "problem": problem.code, "why": problem.message}
        _log.error("run parked, its log cannot be folded", extra=told)
        slot.parked = problem
        slot.asked += slot.ledger.state.pending
        self._refuse(slot, problem)

    def _refuse(self, slot: Slot, problem: Problem) -> None:
        for request_id in slot.asked:
            self._spawn(self._answer_late(Rejected(id=request_id, error=problem)))
        slot.asked.clear()

    def _failed(self, slot: Slot, error: Exception) -> None:
        """A turn came to nothing: it is taken again later, from what the log holds."""
        run_id = slot.ledger.run_id
        if isinstance(error, PartsongError):
            told = {"run": run_id, "problem": error.problem.code, "why": str(error)}
            _log.warning("turn failed, to be taken again", extra=told)
        else:
            _log.exception("turn broke", extra={"run": run_id})
        slot.failures += 1
        slot.woken = True
        wait = min(_LONGEST_AGAIN, _AGAIN * 2 ** (slot.failures - 1))

        def again() -> None:
            self._timers.discard(handle)
            self._wake(slot)

        handle = asyncio.get_running_loop().call_later(wait, again)
        self._timers.add(handle)

    def _rest(self, slot: Slot) -> None:
        """Forget a run that has ended, and others when there are too many."""
        run_id, state = slot.ledger.run_id, slot.ledger.state
        if self._slots.get(run_id) is not slot:
            return  # the partition was given back meanwhile
        self._slots.move_to_end(run_id)
        if slot.dirty or slot.unsent or slot.failures or not slot.warm or slot.parked is not None:
            return
        over = state.graph is None or (state.ended and not state.telling)
        if over and not state.pending:
            del self._slots[run_id]
            self._open.over(run_id)
        elif len(self._slots) > self._keep:
            self._forget()

    def _forget(self) -> None:
        """Drop the run that was worked off longest ago and waits for nobody but people; it stays open."""
        idle = next((id_ for id_, slot in self._slots.items() if waits_for_people(slot)), None)
        if idle is not None:
            del self._slots[idle]

    async def _look_after(self, run_ids: list[str]) -> None:
        """Take up what the owner before has left open, a few runs at a time."""
        for run_id in run_ids:
            slot = self._slots.get(run_id) or self._slot(run_id)
            self._wake(slot, woken=True)
            while self.busy >= _AT_ONCE:
                tasks = [s.task for s in self._slots.values() if s.task is not None]
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)

    def _wake_all(self) -> None:
        """Begin with what was delivered before the partition was known to be owned."""
        for slot in self._slots.values():
            self._wake(slot)

    async def _begin_anew(self) -> None:
        """The feed owes a record that is in the log: let it begin again behind what it has delivered."""
        _log.warning("feed begins anew", extra={"partition": self.partition, "after": self._pos})
        if self.owned:
            await self._feed.start(self._pos, self.receive)

    async def _announce(self, epoch: int) -> str:
        """Append the owner's record; its id."""
        id_ = f"{OURS}.owner.{self.partition}.{epoch}.{self._owner}"
        event = e.OwnerChanged(id=id_, time=clock.now_text(), owner=self._owner)
        subject = self._subjects.owner(self.partition)
        last = await self._log.last(subject)
        body = encode_report(OURS, event)
        await self._log.append(subject, body, id=id_, expect=last.seq if last is not None else 0)
        return id_

    async def _answer_late(self, answer: Rejected) -> None:
        try:
            await self._answer(answer)
        except Exception:
            _log.exception("request not answered", extra={"request": answer.id})

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _stale_read(run_id: str, seen: int, newest: int) -> Unavailable:
    """In a cluster, the server that answered may be behind the one that delivered."""
    return Unavailable(
        "log.stale_read",
        f"the log of {run_id} was read up to {seen}, and its record {newest} has been delivered",
        where=run_id,
        retryable=True,
    )


def _behind(partition: int, seq: int, head: int) -> Unavailable:
    return Unavailable(
        "log.behind",
        f"the log ends at {head}, but partition {partition} was processed up to {seq}: records are lost",
        where=f"partition {partition}",
        fix="run `partsong log verify`, then restore the log from a mirror or a backup",
    )
