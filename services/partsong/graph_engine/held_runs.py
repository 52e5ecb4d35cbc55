"""Runs held by a partition's owner: each is folded as its records are delivered, and takes turns when something came.

A run is read from the log when it is first needed, up to the place that the feed has reached and no further; what is
delivered meanwhile is folded behind that. All that is known of a run here may be forgotten at any time.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from itertools import islice

from partsong.contracts.errors import (
    Conflict,
    InvalidInput,
    PartsongError,
    Problem,
    Unavailable,
)
from partsong.contracts.events.envelope import encode_report
from partsong.contracts.state.state import Timer
from partsong.contracts.wire.requests import Rejected
from partsong.contracts.wire.subjects import LogSubject, Subjects
from partsong.engine.commands import runs
from partsong.engine.ledger import HistoryChanged
from partsong.graph_engine.commands import Commands
from partsong.graph_engine.looking_after import (
    PATIENCE,
    Asleep,
    late,
    neglected,
    offered_later,
    rung_late,
    waits_for_people,
)
from partsong.graph_engine.open_runs import OpenRuns
from partsong.graph_engine.setbacks import broken, frames, passes, stale_read
from partsong.graph_engine.takeover import Takeover, has_place
from partsong.graph_engine.turn import Answer, Slot, Turns
from partsong.log.blobs import LOST
from partsong.log.port import Log, Record
from partsong.runtime import clock
from partsong.runtime.backoff import backoff

__all__ = ["HeldRuns"]

_log = logging.getLogger("partsong.graph_engine")

_AGAIN, _LONGEST_AGAIN = 1.0, 30.0
"""Seconds until a turn that failed is taken again: the first time, and at most."""
_AT_ONCE = 16
"""Open runs that are looked after side by side when a partition is taken."""
_MOST_FAILURES = 5
"""Turns of a run in a row that broke for a reason that does not pass; then it is parked."""
_OVERDUE = 100
"""Runs that are taken up at a time because a timer of theirs is late."""
_FINISH = 10.0
"""Seconds for turns to end when a partition is given back."""


class HeldRuns:
    """The runs of one partition."""

    def __init__(
        self,
        turns: Turns,
        store: Log,
        subjects: Subjects,
        answer: Answer,
        begin_anew: Callable[[], Awaitable[None]],
        taken_up: Callable[[], Awaitable[None]],
        *,
        keep: int = 500,
        patience: float = PATIENCE,
    ) -> None:
        """`begin_anew` is called if the feed owes a record that is in the log.

        `taken_up` is called when all runs have been looked after that were open when the partition was taken.
        `keep` is how many runs are held that wait for nobody but people.
        """
        self._turns, self._log, self._subjects, self._answer = turns, store, subjects, answer
        self._commands = Commands(store, subjects)
        self._begin_anew = begin_anew
        self._takeover = Takeover(taken_up, self._spawn)
        self._keep, self._patience = keep, patience
        self.open = OpenRuns()
        self.active = False
        """Whether turns are taken."""
        self._pos = 0
        self._slots: OrderedDict[str, Slot] = OrderedDict()
        self._asleep: dict[str, Asleep] = {}
        """Open runs that were held and are not any more."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers: set[asyncio.TimerHandle] = set()

    def begin(self, opened: OpenRuns, pos: int) -> None:
        """Hold what a checkpoint says is open."""
        self.open, self._pos = opened, pos

    async def stop(self) -> None:
        """Finish the turns that are being taken, and take no other."""
        self.active = False
        self._takeover.drop()
        for handle in self._timers:
            handle.cancel()
        self._timers.clear()
        for slot in self._slots.values():
            slot.dirty = False
        tasks = [*self._tasks, *(s.task for s in self._slots.values() if s.task is not None)]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=_FINISH)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def clear(self) -> None:
        """Forget everything."""
        self._slots.clear()
        self._asleep.clear()

    @property
    def slots(self) -> dict[str, Slot]:
        """Those held now."""
        return dict(self._slots)

    @property
    def busy(self) -> int:
        """Runs whose turn is being taken."""
        return sum(slot.task is not None for slot in self._slots.values())

    def take(self, record: Record, where: LogSubject, *, history: bool) -> None:
        """Take the next record of a run; of `history` only is noted which runs are open."""
        self._pos = record.seq
        run_id = where.run_id
        slot = self._slots.get(run_id)
        if slot is None:
            self.open.note(record, where)
            if history or run_id not in self.open:
                return
            slot = self._slot(run_id)
        self.open.moved(run_id, record.seq)
        if where.request_id is not None and not slot.decides:
            slot.asked.append(where.request_id)
        if slot.parked is not None:
            self._refuse(slot, slot.parked)
        elif slot.backlog is not None:
            slot.backlog.append(record)
        elif not slot.warm or self._fold(slot, record):
            # A commit of another engine's: whether that one lives to send what follows from it, nobody knows.
            self._wake(slot, woken=where.entity == "engine")

    def look(self) -> None:
        """Look after open runs whose worker has fallen silent, and those that nobody has reported on for a while."""
        for slot in neglected(self._slots.values(), self._turns.silent, self._patience):
            self._wake(slot, woken=True)
        self._takeover.look()
        moment = late()
        overdue = (run_id for run_id, x in self._asleep.items() if x.at and x.at < moment)
        for run_id in list(islice(overdue, _OVERDUE)):
            self._wake(self._slot(run_id))

    def look_at_threads(self) -> None:
        """Look after all runs of threads: the server was away, and may have lost who is in line."""
        for slot in self._slots.values():
            if slot.warm and slot.ledger.state.options.thread is not None:
                self._wake(slot, woken=True)
        for run_id in [run_id for run_id, x in self._asleep.items() if x.threaded]:
            self._wake(self._slot(run_id), woken=True)

    async def ring(self) -> None:
        """Let timers fire that are late: the server has lost them.

        Raises:
            Unavailable: the log did not answer.
        """
        lost = list(rung_late(self._slots.values()))
        if lost:
            run_id, timer = lost[0]
            told = {"count": len(lost), "run": run_id, "timer": timer.id, "at": timer.at}
            _log.warning("timers were lost, they fire late", extra=told)
        for run_id, timer in lost:
            await self._rang(run_id, timer)

    async def offer_again(self) -> None:
        """Offer calls that no worker could make at once: workers have come that may have what they lack.

        Raises:
            Unavailable: the log did not answer.
        """
        for run_id, timer in offered_later(self._slots.values()):
            await self._rang(run_id, timer)

    async def _rang(self, run_id: str, timer: Timer) -> None:
        event = runs.rang(run_id, timer.id, timer.at, clock.now_text())
        body = encode_report(run_id, event)
        await self._log.append(self._subjects.fact(run_id), body, id=event.id)

    def look_after(self) -> None:
        """Take up what the owner before has left open."""
        run_ids = self.open.without(())
        self._takeover.begin(run_ids)
        self._spawn(self._look_after(run_ids))

    def wake_all(self) -> None:
        """Begin with what was delivered before the partition was known to be owned."""
        for slot in self._slots.values():
            self._wake(slot)

    def set_aside(self, run_ids: Iterable[str], problem: Problem) -> None:
        """Park runs whose records are known to be damaged."""
        for run_id in run_ids:
            if run_id in self.open:
                self._park(self._slots.get(run_id) or self._slot(run_id), problem)

    def _slot(self, run_id: str) -> Slot:
        self._asleep.pop(run_id, None)
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
        if slot.task is None and self.active:
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
                woken = slot.woken
                if slot.ledger.state.newer is not None:
                    self._park(slot, runs.too_old(slot.ledger.state))
                elif (problem := self._turns.deadly(slot.ledger.run_id)) is not None:
                    self._park(slot, problem, ())
                elif not await self._turns.take(slot):
                    await self._begin_anew()
                slot.failures = 0
                if woken and not slot.woken:
                    self._takeover.done(slot.ledger.run_id)
        except Exception as error:
            self._failed(slot, error)
        finally:
            slot.task = None
            slot.touched = clock.monotonic()
            self._rest(slot)

    async def _load(self, slot: Slot) -> None:
        """Read a run up to the place that the feed has reached, then fold what was delivered meanwhile."""
        run_id, upto = slot.ledger.run_id, self._pos
        newest = self.open.of(run_id)
        if (problem := self._turns.damaged(run_id)) is not None:
            self._park(slot, problem)
            return
        ledger = self._turns.ledger(run_id, snapshots=not slot.suspect)
        backlog: list[Record] = []
        slot.backlog = backlog
        try:
            await ledger.refresh(upto)
        except (InvalidInput, Conflict, Unavailable) as error:
            if isinstance(error, Unavailable) and error.problem.code not in LOST:
                raise
            if slot.suspect:  # a second commit would pass the guard of one that cannot be read
                self._park(slot, error.problem)
            else:
                self._distrust(slot, error)
                slot.dirty = True
            return
        finally:
            slot.backlog = None
        if ledger.seen < newest:
            raise stale_read(run_id, ledger.seen, newest)
        slot.ledger, slot.warm, slot.dirty = ledger, True, True
        slot.asked.clear()
        for record in backlog:
            self._fold(slot, record)
        if not has_place(ledger.state):
            self._takeover.done(run_id)

    def _park(self, slot: Slot, problem: Problem, broke: tuple[str, ...] | None = None) -> None:
        """Set a run aside that nobody can decide on; what is asked of it is refused with the reason.

        Where it `broke` is said in its log, unless that cannot be read.
        """
        run_id = slot.ledger.run_id
        told = {"run": run_id, "problem": problem.code, "why": problem.message}
        _log.error("run parked", extra=told)
        slot.parked = problem
        if broke is not None:
            self._spawn(self._say_parked(slot, problem, broke))
        self._takeover.done(run_id)
        self._spawn(self._refuse_all(slot, problem))

    async def _say_parked(self, slot: Slot, problem: Problem, traceback: tuple[str, ...]) -> None:
        try:
            await self._turns.park(slot, problem, traceback)
        except Exception as error:  # its log may be what breaks everything
            told = {"run": slot.ledger.run_id, "why": repr(error)}
            _log.warning("not said in the log that the run is parked", extra=told)

    async def _refuse_all(self, slot: Slot, problem: Problem) -> None:
        """Answer also what was asked for before this engine had the partition: nobody else will."""
        slot.asked += await self._commands.unsettled(slot.ledger.run_id)
        self._refuse(slot, problem)

    def _refuse(self, slot: Slot, problem: Problem) -> None:
        for request_id in dict.fromkeys(slot.asked):
            self._spawn(self._answer_late(Rejected(id=request_id, error=problem)))
        slot.asked.clear()

    def _failed(self, slot: Slot, error: Exception) -> None:
        """A turn came to nothing: it is taken again later, from what the log holds."""
        run_id = slot.ledger.run_id
        if isinstance(error, PartsongError):
            told = {"run": run_id, "problem": error.problem.code, "why": str(error)}
            _log.warning("turn failed, to be taken again", extra=told)
            if error.problem.code in LOST or isinstance(error, HistoryChanged):
                slot.warm, slot.suspect = False, True  # if it is this run's log, reading shows it
        else:
            _log.exception("turn broke", extra={"run": run_id})
        slot.failures += 1
        if slot.failures >= _MOST_FAILURES and not passes(error):
            ours = not isinstance(error, PartsongError)
            self._park(slot, broken(run_id, error), frames(error) if ours else None)
            return
        slot.woken = True
        wait = backoff(slot.failures, first=_AGAIN, longest=_LONGEST_AGAIN)

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
            self.open.over(run_id)
        elif len(self._slots) > self._keep:
            self._forget()

    def _forget(self) -> None:
        """Drop the run that was worked off longest ago and waits for nobody but people; it stays open."""
        idle = next((id_ for id_, slot in self._slots.items() if waits_for_people(slot)), None)
        if idle is not None:
            self._asleep[idle] = Asleep.of(self._slots.pop(idle).ledger.state)

    async def _look_after(self, run_ids: list[str]) -> None:
        """Take up what the owner before has left open, a few runs at a time."""
        for run_id in run_ids:
            slot = self._slots.get(run_id) or self._slot(run_id)
            self._wake(slot, woken=True)
            while self.busy >= _AT_ONCE:
                tasks = [s.task for s in self._slots.values() if s.task is not None]
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)

    async def _answer_late(self, answer: Rejected) -> None:
        try:
            await self._answer(answer)
        except Exception:
            _log.exception("request not answered", extra={"request": answer.id})

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
