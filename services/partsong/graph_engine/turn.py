"""A turn of a run: carry out its commands, decide, commit under the guard, then send what follows from the commit.

A turn works on what the partition's feed has delivered, and on nothing else. If another engine was first, the feed
delivers what that one has committed, and the run is decided on again; no turn reads on by itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf
from typing import Protocol

from partsong.contracts import events as e
from partsong.contracts.errors import PartsongError, Problem
from partsong.contracts.events.envelope import encode_report
from partsong.contracts.foreign.question import Evaluate
from partsong.contracts.state.fold import fold
from partsong.contracts.state.state import Call, Pending, RunState
from partsong.contracts.wire.damage import Hit
from partsong.contracts.wire.headers import SEEN
from partsong.contracts.wire.marks import Restored
from partsong.contracts.wire.requests import Accepted, Rejected
from partsong.contracts.wire.subjects import OURS, Subjects
from partsong.engine.calls.doubt import in_doubt
from partsong.engine.calls.overstayed import Watch, overstayed
from partsong.engine.commands import runs
from partsong.engine.commands.outcomes import PREPARED, Prepared, carry_out
from partsong.engine.decide import decide
from partsong.engine.draft import Closing, Decision
from partsong.engine.ledger import HistoryChanged, Ledger
from partsong.engine.meter import Meter
from partsong.engine.summary import summary_of
from partsong.graph_engine.deciding import Deciding
from partsong.graph_engine.losses import Losses
from partsong.graph_engine.others import Others
from partsong.graph_engine.outbox import Outbox, send
from partsong.graph_engine.tracing import trace_commit
from partsong.log.port import Log, Record, WrongSequence
from partsong.log.snapshots.port import Snapshot, Snapshots
from partsong.runtime import clock
from partsong.runtime.evaluation.evaluator import Settle, settle
from partsong.runtime.telemetry import spans
from partsong.runtime.telemetry.telemetry import Telemetry, traceparent

__all__ = ["Answer", "Prepares", "Slot", "Turns", "owed"]

_log = logging.getLogger("partsong.graph_engine")

_DELIVERY = 2.0
"""Seconds within which the feed delivers what another engine has committed; otherwise it begins anew."""

_WATCH = 1.0
"""Seconds between two looks of a busy run at who makes its calls; a run of thousands is decided on as often as it hears."""

Answer = Callable[[Accepted | Rejected], Awaitable[None]]


class Prepares(Protocol):
    """Reads what a command needs."""

    async def prepared(self, state: RunState, command: Pending) -> Prepared:
        """See `Preparing.prepared`."""
        ...


@dataclass(slots=True)
class Slot:
    """A run that this engine holds."""

    ledger: Ledger
    warm: bool = False
    """Its ledger has all that was delivered of the run."""
    suspect: bool = False
    """It was found wrong once: snapshots are not to be relied on."""
    backlog: list[Record] | None = None
    """What is delivered while the ledger is read; None at other times."""
    dirty: bool = False
    """Something has come that nobody has decided on."""
    woken: bool = False
    """What may have been lost is to be sent again."""
    task: asyncio.Task[None] | None = None
    watched: float = -inf
    """When it was last asked who makes its calls."""
    touched: float = 0.0
    """When it was worked off last."""
    failures: int = 0
    """Turns in a row that came to nothing."""
    prepared: dict[str, Prepared] = field(default_factory=dict)
    moved: asyncio.Event = field(default_factory=asyncio.Event)
    """Set by every record that is folded."""
    asked: list[str] = field(default_factory=list)
    """Requests whose commands were delivered while nobody could decide on them."""
    parked: Problem | None = None
    """Why its log cannot be folded; nobody decides on it any more."""
    unsent: bool = False
    """What follows from its newest commit has not been sent yet."""

    @property
    def decides(self) -> bool:
        """Whether a command that is delivered now will be decided on."""
        return self.warm and self.parked is None and self.ledger.state.newer is None


class Turns:
    """Takes the turns of all runs of an engine."""

    def __init__(
        self,
        store: Log,
        subjects: Subjects,
        outbox: Outbox,
        prepare: Prepares,
        answer: Answer,
        *,
        silent: Callable[[str], bool] = lambda _worker: False,
        stopped: Callable[[str], bool] = lambda _worker: False,
        unattended: Watch = lambda *_call: None,
        holds: Callable[[str, str, int], bool] = lambda *_call: False,
        restores: Callable[[], Sequence[Restored]] = tuple,
        telemetry: Telemetry | None = None,
        snapshots: Snapshots | None = None,
        losses: Losses | None = None,
        settle: Settle = settle,
        deciding: Deciding | None = None,
    ) -> None:
        self._log, self._subjects, self._outbox = store, subjects, outbox
        self._prepare, self._answer, self.silent = prepare, answer, silent
        self._holds, self._restores, self._stopped = holds, restores, stopped
        self._unattended = unattended
        self._telemetry = telemetry or Telemetry()
        self._snapshots, self._keeping = snapshots, set[asyncio.Task[None]]()
        self._losses, self._settle = losses, settle
        self._deciding = deciding or Deciding.forgetful()
        self.others: Others | None = None
        """Who is told what became of a run."""

    def ledger(self, run_id: str, *, snapshots: bool = True) -> Ledger:
        """A ledger of a run, with nothing in it yet."""
        kept = self._snapshots if snapshots else None
        return Ledger(self._log, self._subjects, run_id, kept)

    def damaged(self, run_id: str) -> Problem | None:
        """Why a run lacks records since the log was restored; None if it does not."""
        return Hit(self._restores()).why(run_id)

    def deadly(self, run_id: str) -> Problem | None:
        """Why no turn of a run is taken any more: engines died of it; None if it may be taken."""
        return self._deciding.problem(run_id)

    async def taken_up(self, partition: int) -> None:
        """Say that all open runs of a partition have been looked after since it was taken.

        Raises:
            Unavailable: try again.
        """
        if self.others is not None:
            await self.others.taken_up(partition)

    async def drain(self) -> None:
        """Wait until all snapshots are kept."""
        await asyncio.gather(*self._keeping)

    async def take(self, slot: Slot) -> bool:
        """Take a turn, noted where an engine that comes after this one finds it.

        Raises:
            PartsongError: try again.
        """
        async with self._deciding.on(slot.ledger.run_id):
            return await self._take(slot)

    async def _take(self, slot: Slot) -> bool:
        """One turn of a run whose ledger is warm; False if the feed owes a record that another engine has appended.

        Raises:
            PartsongError: try again.
        """
        ledger = slot.ledger
        woken, slot.woken = slot.woken, False
        await self._prepare_all(slot)
        watch = woken or clock.monotonic() - slot.watched >= _WATCH
        if watch:
            slot.watched = clock.monotonic()
        decided = partial(self._decided, slot, watch=watch)
        state, news, lapsed, decision = await self._settle(decided)
        if lapsed or decision.closings:
            slot.woken = woken
            await self._close(state, (*lapsed, *decision.closings))
            return True  # the feed delivers who was first
        before, events = ledger.state, (*news, *decision.events)
        commit = 0
        try:
            if events:
                commit = await self._commit(ledger, events, decision.state)
        except WrongSequence as lost:
            _log.info("commit refused, another was first", extra={"run": ledger.run_id})
            slot.dirty, slot.woken = True, woken
            delivered = await self._delivered(slot, lost.found)
            if lost.found < lost.expected or ledger.commit_seq < lost.found <= ledger.seen:
                raise _never_passes(ledger, lost) from None
            return delivered
        slot.dirty = slot.dirty or decision.more
        self._keep_snapshot(ledger)
        slot.unsent = True
        await self._follow_up(slot, before, events, commit, woken=woken)
        slot.unsent = False
        return True

    def _decided(
        self, slot: Slot, evaluate: Evaluate, *, watch: bool
    ) -> tuple[RunState, tuple[e.Event, ...], tuple[Closing, ...], Decision]:
        """What follows from what has been delivered by now: it may be more than when a question was asked."""
        now, meter = clock.now_text(), Meter(evaluate)
        news, state = carry_out(slot.ledger.state, slot.prepared, now, meter)
        lapsed = self._in_doubt(state, now)
        if watch:
            lapsed += runs.lapsed(state, self.silent, self._stopped, now)
            lapsed += overstayed(state, self._unattended, now)
        full = meter.full(len(news))
        decision = decide(state, now, evaluate=meter)
        return state, news, lapsed, replace(decision, more=decision.more or full)

    def _in_doubt(self, state: RunState, now: str) -> tuple[Closing, ...]:
        """The ends of calls that may have been made in the window whose records a restore of the log did not bring back."""
        doubted = (x for restored in self._restores() for x in in_doubt(state, restored, now))
        return tuple(Closing(event.call_id, event, expect) for event, expect in doubted)

    async def _prepare_all(self, slot: Slot) -> None:
        pending = slot.ledger.state.pending
        for settled in slot.prepared.keys() - pending.keys():
            del slot.prepared[settled]
        for command in list(pending.values()):
            before = slot.prepared.get(command.request_id)
            # What is read for a fork stays. A place in a thread is asked for by each turn: since a turn that failed the
            # server may have lost the line, and another run may have it.
            if command.verb not in PREPARED or (before is not None and command.verb == "fork"):
                continue
            ready = await self._prepare.prepared(slot.ledger.state, command)
            if before is not None and before.rejoined:
                ready = replace(ready, rejoined=True)  # to be left still, if it comes to nothing
            slot.prepared[command.request_id] = ready

    async def _delivered(self, slot: Slot, seq: int) -> bool:
        """Wait until the feed has delivered the run's record at `seq`."""
        try:
            async with asyncio.timeout(_DELIVERY):
                while slot.ledger.seen < seq and slot.warm:
                    slot.moved.clear()
                    await slot.moved.wait()
        except TimeoutError:
            return False
        return True

    async def park(self, slot: Slot, problem: Problem, traceback: tuple[str, ...]) -> None:
        """Say in a run's log that nobody can decide on it, and why; once for the same reason.

        Raises:
            PartsongError: it does not stand there.
        """
        ledger = slot.ledger
        before = ledger.state
        if before.parked is not None and before.parked.message == problem.message:
            return
        event = e.RunParked(
            id=f"{ledger.run_id}.parked.{before.commits + 1}",
            time=clock.now_text(),
            error=problem,
            traceback=traceback,
        )
        await self._commit(ledger, (event,), fold(before, event))

    async def _commit(self, ledger: Ledger, events: tuple[e.Event, ...], after: RunState) -> int:
        before = ledger.state
        place = traceparent(ledger.run_id)
        with self._telemetry.span(spans.append(ledger.run_id, events=len(events)), parent=place):
            headers = {**summary_of(after).headers(), SEEN: str(ledger.seen), "traceparent": place}
            seq = await ledger.commit(events, after, headers)
        trace_commit(self._telemetry, before, after, events)
        return seq

    async def _close(self, state: RunState, closings: Sequence[Closing]) -> None:
        """Append the ends of guarded calls, each under its call's guard; whoever was first stands."""
        run_id = state.run_id
        if self._losses is not None:
            closings = await self._losses.charged(state, closings)
        for closing in closings:
            subject = self._subjects.call(run_id, closing.call_id)
            body = encode_report(run_id, closing.event)
            try:
                await self._log.append(subject, body, id=closing.event.id, expect=closing.expect)
            except WrongSequence:
                _log.info("call closed by another", extra={"run": run_id, "call": closing.call_id})

    async def _follow_up(
        self,
        slot: Slot,
        before: RunState,
        events: tuple[e.Event, ...],
        commit: int,
        *,
        woken: bool,
    ) -> None:
        """Send what a commit asks for, and what may have been lost; doing it again does no harm."""
        state, known = slot.ledger.state, slot.ledger.known
        await self._answer_all(slot, events)
        await send(self._outbox, state, events, commit)
        if woken:
            await self._remind(state, known)
        if self.others is None:
            return
        for event in events:
            if isinstance(event, e.CommandSettled):
                command = before.pending.get(event.request_id)
                ready = slot.prepared.pop(event.request_id, None)
                if command is not None:
                    await self.others.settled(state, command, ready or Prepared(), event.error)
        if events:
            await self.others.committed(before, state)
        if woken and state.graph is not None:
            await self.others.looked_after(state)

    async def _answer_all(self, slot: Slot, events: tuple[e.Event, ...]) -> None:
        quiet = e.CommandSettled | e.RunStarted  # a start is answered with the run's beginning
        meant = {event.cause for event in events if not isinstance(event, quiet)}
        for event in events:
            if isinstance(event, e.CommandSettled) and not event.request_id.startswith(OURS):
                await self._answer(_reply(slot.ledger, event, new=event.request_id in meant))

    async def _remind(self, state: RunState, known: int) -> None:
        """Send timers once more, and the hints of open calls that no living worker says it holds."""
        for call in owed(state):
            if call.worker is None and not self._holds(state.run_id, call.id, call.attempt):
                await self._outbox.hint(state, call, known, again=True)
        for timer in state.timers.values():
            await self._outbox.timer(state.run_id, timer)

    def _keep_snapshot(self, ledger: Ledger) -> None:
        """Now and then keep what the run has come to; nobody waits for it, and nothing is lost without it."""
        snapshot = ledger.snapshot() if self._snapshots is not None else None
        if self._snapshots is None or snapshot is None:
            return
        task = asyncio.get_running_loop().create_task(_put(self._snapshots, snapshot))
        self._keeping.add(task)
        task.add_done_callback(self._keeping.discard)


def owed(state: RunState) -> list[Call]:
    """Calls that somebody still has to answer; an ended run waits for nothing but its webhook."""
    return [call for call in state.calls.values() if call.open and not (state.ended and call.exec)]


def _reply(ledger: Ledger, event: e.CommandSettled, *, new: bool) -> Accepted | Rejected:
    """The answer to a request: where what was new stands, otherwise where the run begins."""
    if event.error is not None:
        return Rejected(id=event.request_id, error=event.error)
    seq = ledger.commit_seq if new else ledger.first_seq
    return Accepted(id=event.request_id, run_id=ledger.run_id, seq=seq)


def _never_passes(ledger: Ledger, lost: WrongSequence) -> HistoryChanged:
    """What guards the next commit is not what was folded, so that it would be refused as often as it is tried."""
    why = f"its newest commit is at {ledger.commit_seq}, the server guards it with {lost.found}"
    return HistoryChanged(ledger.run_id, lost.found, why)


async def _put(snapshots: Snapshots, snapshot: Snapshot) -> None:
    try:
        await snapshots.put(snapshot)
    except PartsongError as error:
        run, code = snapshot.run_id, error.problem.code
        _log.info("snapshot not kept", extra={"run": run, "problem": code})
