"""Runs in flight: each has a mailbox and at most one task that works it off.

A turn takes all that has come for a run, folds it, decides, commits under the guard, and sends what follows from the
commit. If another engine was first, it reads on and decides again; correctness never depends on who owns a run.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

from partsong.contracts import events as e
from partsong.contracts.envelope import encode_report
from partsong.contracts.errors import PartsongError
from partsong.contracts.fold import fold_all
from partsong.contracts.state import Call, RunState
from partsong.contracts.subjects import Subjects, partition_of
from partsong.graph_engine.core import hear
from partsong.graph_engine.core.decide import decide
from partsong.graph_engine.core.draft import Closing
from partsong.graph_engine.ledger import Ledger
from partsong.graph_engine.losses import Losses
from partsong.graph_engine.mail import Ask, Fired, Message, Reported, Start, Started, Wake
from partsong.graph_engine.others import Others
from partsong.graph_engine.outbox import Outbox, send
from partsong.graph_engine.tracing import trace_commit
from partsong.log.port import Log, WrongSequence
from partsong.log.snapshots.port import Snapshot, Snapshots
from partsong.runtime import clock, spans
from partsong.runtime.telemetry import Telemetry, traceparent

__all__ = ["Runs"]

_log = logging.getLogger("partsong.graph_engine")

_LONGEST_PATIENCE = 60.0
_TRIES = 50
"""Lost races per turn before it is left to the next wake-up: each loss means another engine made progress."""
_AGAIN = 1.0
"""Seconds until what follows from a commit is tried again, if it could not be sent."""


@dataclass(slots=True)
class _Slot:
    ledger: Ledger
    inbox: list[Message] = field(default_factory=list)
    task: asyncio.Task[None] | None = None
    loaded: bool = False
    touched: float = 0.0
    """When its mailbox was last empty."""
    patience: float = 0.0
    """Seconds without a report after which it is looked after."""


class Runs:
    """All runs this engine has to do with; finished and idle ones are forgotten when there are too many."""

    def __init__(
        self,
        store: Log,
        subjects: Subjects,
        outbox: Outbox,
        owner: str,
        *,
        silent: Callable[[str], bool] = lambda _worker: False,
        holds: Callable[[str, str, int], bool] = lambda *_call: False,
        keep: int = 5_000,
        patience: float = 5.0,
        telemetry: Telemetry | None = None,
        snapshots: Snapshots | None = None,
        losses: Losses | None = None,
    ) -> None:
        self._log, self._subjects, self._outbox, self._owner = store, subjects, outbox, owner
        self._silent, self._keep, self._patience = silent, keep, patience
        self._holds = holds
        self._telemetry = telemetry or Telemetry()
        self._snapshots, self._keeping = snapshots, set[asyncio.Task[None]]()
        self._losses = losses
        self.others: Others | None = None
        """Who is told what became of a run: they tell other runs here, so they come second."""
        self._slots: OrderedDict[str, _Slot] = OrderedDict()
        self._later: set[asyncio.TimerHandle] = set()

    def hear(self, run_id: str, message: Message) -> None:
        """Put a message into a run's mailbox; it will be worked off soon."""
        slot = self._slots.get(run_id)
        if slot is None:
            slot = self._slots[run_id] = _Slot(
                Ledger(self._log, self._subjects, run_id, self._snapshots),
                patience=self._patience,
            )
            self._forget()
        slot.inbox.append(message)
        if slot.task is None:
            slot.task = asyncio.get_running_loop().create_task(
                self._work_off(run_id, slot), name=f"run {run_id}"
            )

    def distrust(self, partition: int) -> None:
        """Deliveries of a partition were missed: its runs read the log again before their next decision."""
        for run_id, slot in self._slots.items():
            if partition_of(run_id) == partition:
                slot.loaded = False

    def stale(self) -> list[str]:
        """Open runs that nobody has reported on for a while, or whose worker has fallen silent.

        A run that was woken in vain is left alone for twice as long each time: when workers have much to do, looking
        after all that waits for them would only slow them down.
        """
        now = clock.monotonic()
        found: list[str] = []
        for run_id, slot in self._slots.items():
            state = slot.ledger.state
            if slot.task is not None or (state.ended and not state.telling):
                continue
            owed = [call for call in _owed(state) if call.kind != "approval"]
            if any(call.worker is not None and self._silent(call.worker) for call in owed):
                found.append(run_id)
            elif (owed or _concerns_others(state)) and now - slot.touched > slot.patience:
                slot.patience = min(_LONGEST_PATIENCE, 2 * slot.patience)
                found.append(run_id)
        return found

    @property
    def busy(self) -> int:
        """Runs whose mailbox is being worked off."""
        return sum(slot.task is not None for slot in self._slots.values())

    async def drain(self) -> None:
        """Wait until every mailbox is empty."""
        while tasks := [slot.task for slot in self._slots.values() if slot.task is not None]:
            await asyncio.wait(tasks)
        for handle in self._later:
            handle.cancel()
        await asyncio.gather(*self._keeping)

    def _keep_snapshot(self, ledger: Ledger) -> None:
        """Now and then keep what the run has come to; nobody waits for it, and nothing is lost without it."""
        snapshot = ledger.snapshot() if self._snapshots is not None else None
        if self._snapshots is None or snapshot is None:
            return
        task = asyncio.get_running_loop().create_task(_put(self._snapshots, snapshot))
        self._keeping.add(task)
        task.add_done_callback(self._keeping.discard)

    def _forget(self) -> None:
        while len(self._slots) > self._keep:
            oldest = next((id_ for id_, slot in self._slots.items() if slot.task is None), None)
            if oldest is None:
                return
            del self._slots[oldest]

    async def _work_off(self, run_id: str, slot: _Slot) -> None:
        try:
            while slot.inbox:
                batch, slot.inbox = slot.inbox, []
                await self._answered(slot, batch)
        finally:
            slot.task = None
            slot.touched = clock.monotonic()
            self._slots.move_to_end(run_id)

    async def _answered(self, slot: _Slot, batch: list[Message]) -> None:
        """Work off a batch, and say so: what follows from it is sent afterwards, together with the answers."""
        error, follow_up = None, None
        try:
            follow_up = await self._turn(slot, batch)
        except PartsongError as problem:
            slot.loaded = False
            error = problem
            _log.warning(
                "turn failed", extra={"run": slot.ledger.run_id, "problem": problem.problem.code}
            )
        except Exception as broken:
            slot.loaded = False
            error = PartsongError(
                "engine.fault", f"{type(broken).__name__}: {broken}", fault="platform"
            )
            _log.exception("turn broke", extra={"run": slot.ledger.run_id})
        for message in batch:
            message.done(error or (message.refused if isinstance(message, Ask) else None))
        if follow_up is not None:
            await self._insist(slot.ledger.run_id, follow_up)

    async def _insist(self, run_id: str, follow_up: Callable[[], Awaitable[None]]) -> None:
        """Send what follows from a commit; if that fails, the run is woken later, which sends all that it waits for."""
        try:
            await follow_up()
        except PartsongError as error:
            told = {"run": run_id, "problem": error.problem.code}
            _log.warning("not sent, to be tried again", extra=told)
            loop = asyncio.get_running_loop()
            self._later.add(loop.call_later(_AGAIN, self._wake, run_id))
        except Exception:
            _log.exception("follow-up broke", extra={"run": run_id})

    def _wake(self, run_id: str) -> None:
        now = asyncio.get_running_loop().time()
        self._later = {handle for handle in self._later if handle.when() > now}
        self.hear(run_id, Wake())

    async def _turn(self, slot: _Slot, batch: list[Message]) -> Callable[[], Awaitable[None]]:
        """Work off one batch: at most one commit, unless guarded calls had to be closed first; returns what follows."""
        taken_over = await self._catch_up(slot, batch)
        ledger = slot.ledger
        for _ in range(_TRIES):
            news = self._news(ledger.state, batch, taken_over=taken_over)
            state = fold_all(ledger.state, news)
            lapsed = hear.lapsed(state, self._silent, clock.now_text())
            decision = decide(state, clock.now_text())
            try:
                if lapsed or decision.closings:
                    await self._close(state, (*lapsed, *decision.closings))
                    await ledger.refresh()
                    continue
                events = (*news, *decision.events)
                if events:
                    await self._commit(ledger, events, decision.state)
            except WrongSequence:
                await ledger.refresh()
                continue
            self._settle(slot, batch)
            self._keep_snapshot(ledger)
            return partial(self._follow_up, ledger.state, batch, events, taken_over=taken_over)
        raise PartsongError(
            "engine.contended", f"{ledger.run_id}: lost {_TRIES} races in a row", retryable=True
        )

    async def _follow_up(
        self,
        state: RunState,
        batch: list[Message],
        events: tuple[e.Event, ...],
        *,
        taken_over: bool,
    ) -> None:
        """Send what a commit asks for; for a run that was woken or begun before, also what may have been lost."""
        await send(self._outbox, state, events)
        woken = taken_over or any(isinstance(message, Wake) for message in batch)
        if woken:
            await self._remind(state)
        again = any(isinstance(message, Start) for message in batch) and not events
        if self.others is not None and state.graph is not None and (woken or again):
            await self.others.looked_after(state)

    async def _commit(self, ledger: Ledger, events: tuple[e.Event, ...], after: RunState) -> None:
        before = ledger.state
        place = traceparent(ledger.run_id)
        with self._telemetry.span(spans.append(ledger.run_id, events=len(events)), parent=place):
            await ledger.commit(events, after, {**self._headers(after), "traceparent": place})
        trace_commit(self._telemetry, before, after, events)
        if self.others is not None:
            await self.others.committed(before, after)

    async def _catch_up(self, slot: _Slot, batch: list[Message]) -> bool:
        """Bring the ledger up to date; whether it was read from the log, so that the run changes hands."""
        reports = [message for message in batch if isinstance(message, Reported)]
        fresh = not slot.loaded and slot.ledger.state.graph is None
        only_start = fresh and all(isinstance(message, Start) for message in batch)
        if only_start:
            slot.loaded = True
            return False
        if (
            not slot.loaded
            or len(reports) < len(batch)
            or not all(report.next for report in reports)
        ):
            slot.loaded = True
            await slot.ledger.refresh()
            return fresh
        slot.patience = self._patience
        for report in reports:
            slot.ledger.absorb(report.record)
        return False

    def _news(
        self, state: RunState, batch: list[Message], *, taken_over: bool
    ) -> tuple[e.Event, ...]:
        now = clock.now_text()
        news: list[e.Event] = []
        for message in batch:
            if isinstance(message, Start) and state.graph is None and not news:
                run_id = state.run_id
                asked = message.graph, message.input, message.options, message.request_id
                news += hear.start(
                    run_id,
                    *asked,
                    now,
                    queued=message.queued,
                    remembered=message.remembered,
                    plugins=message.plugins,
                )
            elif isinstance(message, Ask):
                news += _told(message, fold_all(state, news), now)
            elif isinstance(message, Fired):
                news += hear.fired(fold_all(state, news), message.timer_id, now)
        if taken_over and state.graph is not None:
            news = [*hear.takeover(state, self._owner, now), *news]
        return tuple(news)

    def _settle(self, slot: _Slot, batch: list[Message]) -> None:
        """Tell requests what became of them."""
        state = slot.ledger.state
        for message in batch:
            if isinstance(message, Start) and state.graph is not None:
                same = state.graph.hash == message.graph.hash
                message.result = Started(state.run_id, slot.ledger.first_seq, same)
            elif isinstance(message, Ask):
                message.known = state.graph is not None
                message.seq = slot.ledger.commit_seq if message.told else slot.ledger.first_seq

    async def _close(self, state: RunState, closings: tuple[Closing, ...]) -> None:
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

    async def _remind(self, state: RunState) -> None:
        """Send timers once more, and the hints of open calls that no living worker says it holds."""
        for call in _owed(state):
            if call.worker is None and not self._holds(state.run_id, call.id, call.attempt):
                await self._outbox.hint(state, call, again=True)
        for timer in state.timers.values():
            await self._outbox.timer(state.run_id, timer)

    @staticmethod
    def _headers(state: RunState) -> dict[str, str]:
        """A run's summary, so that lists of runs need not open commits."""
        headers = {
            "Partsong-Status": state.phase,
            "Partsong-Graph": state.graph.name if state.graph else "",
            "Partsong-Started": state.started,
        }
        if state.error is not None:
            headers["Partsong-Error"] = state.error.code
        if state.telling:
            headers["Partsong-Webhook"] = "open"
        if state.origin is not None:
            headers["Partsong-Origin"] = f"{state.origin.run_id}@{state.origin.seq}"
        return headers


def _owed(state: RunState) -> list[Call]:
    """Calls that somebody still has to answer; an ended run waits for nothing but its webhook."""
    return [call for call in state.calls.values() if call.open and not (state.ended and call.exec)]


def _concerns_others(state: RunState) -> bool:
    """Whether an open run may be kept waiting, or kept going, by what has become of another one."""
    return (
        state.graph is not None
        and not state.ended
        and (state.status == "queued" or state.options.parent is not None)
    )


async def _put(snapshots: Snapshots, snapshot: Snapshot) -> None:
    try:
        await snapshots.put(snapshot)
    except PartsongError as error:
        run, code = snapshot.run_id, error.problem.code
        _log.info("snapshot not kept", extra={"run": run, "problem": code})


def _told(message: Ask, state: RunState, now: str) -> tuple[e.Event, ...]:
    if state.graph is None and not message.begins:
        return ()
    message.refused = None
    try:
        events = message.tell(state, now)
    except PartsongError as error:
        message.refused = error
        events = ()
    message.told = bool(events)
    return events
