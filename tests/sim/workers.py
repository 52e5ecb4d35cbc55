"""Tool-runners, gateways and people: they act when the platform says so, and write down that they did."""

from __future__ import annotations

import asyncio
from typing import Literal, cast

from pydantic import JsonValue

from partsong.bus.claims import claim, report
from partsong.bus.handling import Busy
from partsong.bus.stops import confirmed
from partsong.contracts import events as e
from partsong.contracts.errors import InvalidInput, Problem, Unavailable
from partsong.contracts.events.envelope import decode, encode_report
from partsong.contracts.talk.messages import AssistantMessage, TextPart, ToolCallPart, ToolMessage
from partsong.contracts.wire.stop import Stop
from partsong.contracts.wire.work import FunctionWork, ToolWork, TurnWork, Work
from partsong.log.port import Record, WrongSequence
from partsong.runtime import clock
from tests.sim.broker import SUBJECTS
from tests.sim.consumers import Item
from tests.sim.loop import Process
from tests.sim.ports import Hint, SimLog
from tests.sim.world import World

__all__ = ["GUARDED", "start_people", "start_worker"]

GUARDED = frozenset({"pay"})
"""Tools that must not run twice; all others are idempotent."""


def start_worker(
    world: World, process: Process, service: Literal["tool-runner", "agent-gateway"]
) -> None:
    """Begin a tool-runner or a gateway in a process."""
    worker = _Worker(world, process)
    world.broker.work[service].join(process, worker.receive)
    world.broker.stops.append((process, worker.stop))


class _Worker:
    """Works hints off, as `bus.jobs` and the workers of the services do."""

    def __init__(self, world: World, process: Process) -> None:
        self._world, self._process = world, process
        self._log = SimLog(world.broker, process)
        self._jobs: dict[str, tuple[Item, Hint, asyncio.Task[None]]] = {}
        self._begun: set[str] = set()
        """Jobs that can be stopped."""

    def receive(self, item: Item) -> None:
        hint = cast("Hint", item.body)
        work = hint.work
        if work.id in self._jobs:
            item.queue.ack(self._process, item)  # a second copy
            return
        self._jobs[work.id] = item, hint, self._process.spawn(self._do(item, work))

    def stop(self, run_id: str, stop: Stop) -> None:
        if self._meant(run_id, stop):
            self._process.spawn(self._stop(run_id, stop))

    def _meant(self, run_id: str, stop: Stop) -> list[tuple[Item, asyncio.Task[None]]]:
        return [
            (item, task)
            for item, hint, task in self._jobs.values()
            if hint.work.id in self._begun and hint.work.run_id == run_id
            if stop.ends(hint.work) and hint.seen < stop.commit
        ]

    async def _stop(self, run_id: str, stop: Stop) -> None:
        try:
            true = await confirmed(self._log, SUBJECTS, run_id, stop)
        except Unavailable:
            return
        for item, task in self._meant(run_id, stop) if true else ():
            task.cancel()
            item.queue.ack(self._process, item)

    async def _do(self, item: Item, work: Work) -> None:
        self._begun.add(work.id)
        try:
            await self._work(work)
        except Busy as busy:
            item.queue.nak(self._process, item, busy.delay)
        except Unavailable:
            item.queue.nak(self._process, item, min(30.0, 0.4 * 2 ** (item.deliveries - 1)))
        except asyncio.CancelledError:
            pass
        except InvalidInput as error:  # the bus buries it
            item.queue.ack(self._process, item)
            if work.run_id not in self._world.spoiled:
                self._world.find(f"worker cannot do {work.id}: {error!r}")
        except Exception as error:
            self._world.find(f"worker broke on {work.id}: {error!r}")
        else:
            item.queue.ack(self._process, item)
        finally:
            self._begun.discard(work.id)
            self._jobs.pop(work.id, None)

    async def _work(self, work: Work) -> None:
        match work:
            case FunctionWork():
                await self._act("function", work)
                await report(self._log, SUBJECTS, work.run_id, self._returned(work))
            case ToolWork() if work.tool not in GUARDED:
                await self._act("tool", work)
                await report(self._log, SUBJECTS, work.run_id, self._tool(work))
            case ToolWork() | TurnWork():
                claimed = e.AgentTurnClaimed if isinstance(work, TurnWork) else e.CallClaimed
                claiming = claimed(
                    id=f"{work.run_id}.{work.call_id}.{work.attempt}.claimed.{self._process.name}",
                    time=clock.now_text(),
                    call_id=work.call_id,
                    attempt=work.attempt,
                    worker=self._process.name,
                )
                await self._guarded(work, claiming)
            case _:
                self._world.find(f"a worker was given {work!r}")

    async def _guarded(
        self, work: ToolWork | TurnWork, claiming: e.CallClaimed | e.AgentTurnClaimed
    ) -> None:
        mine = await claim(self._log, SUBJECTS, work.run_id, claiming)
        if mine == "busy":
            raise Busy
        if mine == "closed":
            return
        self._world.acted[claiming.id] += 1
        await self._act("turn" if isinstance(work, TurnWork) else "guarded", work)
        await mine.close(self._turn(work) if isinstance(work, TurnWork) else self._tool(work))

    async def _act(self, kind: str, work: Work) -> None:
        """The effect, somewhere in the time that it takes."""
        rnd = self._world.random
        await asyncio.sleep(rnd.uniform(0.0, 0.3))
        self._world.effects[kind, work.run_id, work.call_id, work.attempt] += 1
        self._world.say(
            f"{self._process.name} acts {kind} {work.run_id}/{work.call_id} {work.attempt}"
        )
        await asyncio.sleep(rnd.uniform(2.0, 8.0) if rnd.random() < 0.1 else rnd.uniform(0.0, 0.6))

    def _returned(self, work: FunctionWork) -> e.CallCompleted | e.CallFailed:
        """What a function comes to, told by its name: the same however often it is called."""
        id_ = f"{work.run_id}.{work.call_id}.{work.attempt}.closed"
        visit = int(work.call_id.rpartition(":")[2].partition("/")[0])
        if work.function == "sim:breaks" or (work.function == "sim:flaky" and work.attempt < 3):
            return e.CallFailed(
                id=id_,
                time=clock.now_text(),
                call_id=work.call_id,
                attempt=work.attempt,
                worker=self._process.name,
                error=Problem(code="function.raised", message="it broke", retryable=True),
            )
        label = None
        if work.function == "sim:loop":
            label = "again" if visit < 3 else "done"
        elif work.function != "sim:step" and work.function != "sim:undo":
            label = self._label(work)
        update: dict[str, JsonValue] = {"log": [work.call_id]}
        return e.CallCompleted(
            id=id_,
            time=clock.now_text(),
            call_id=work.call_id,
            attempt=work.attempt,
            worker=self._process.name,
            update=update if work.function.startswith("sim:") else {},
            label=label,
        )

    def _label(self, work: FunctionWork) -> str | None:
        """Some way out of a node of a user's graph."""
        graph = self._world.graphs.get(work.run_id)
        edges = graph.edges if graph is not None else ()
        labels = [x.on for x in edges if x.source == work.node and x.on not in {None, "failure"}]
        return self._world.random.choice(sorted({x for x in labels if x})) if labels else None

    def _tool(self, work: ToolWork) -> e.CallCompleted:
        return e.CallCompleted(
            id=f"{work.run_id}.{work.call_id}.{work.attempt}.closed",
            time=clock.now_text(),
            call_id=work.call_id,
            attempt=work.attempt,
            worker=self._process.name,
            content=f"{work.tool} did it",
        )

    def _turn(self, work: TurnWork) -> e.AgentTurnCompleted:
        """First it calls each tool it has, then it answers."""
        answered = any(isinstance(message, ToolMessage) for message in work.messages)
        parts: tuple[ToolCallPart | TextPart, ...] = (TextPart(text="done"),)
        if work.agent.tools and not answered:
            calls = [(f"{work.call_id}-{i}", name) for i, name in enumerate(work.agent.tools)]
            parts = tuple(ToolCallPart(id=id_, name=name, args={}) for id_, name in calls)
        return e.AgentTurnCompleted(
            id=f"{work.run_id}.{work.call_id}.{work.attempt}.closed",
            time=clock.now_text(),
            call_id=work.call_id,
            attempt=work.attempt,
            worker=self._process.name,
            message=AssistantMessage(parts=parts),
            stop="tool_use" if isinstance(parts[0], ToolCallPart) else "end",
            provider="scripted",
            model="sim",
        )


def start_people(world: World, process: Process) -> None:
    """Begin the approval service, and the people who use it."""
    process.spawn(_People(world, process).work())


class _People:
    """Read the log and decide, each question once if nobody was quicker."""

    def __init__(self, world: World, process: Process) -> None:
        self._world, self._process = world, process
        self._log = SimLog(world.broker, process)
        self._news = asyncio.Event()
        world.broker.log.watchers.append(self._appended)

    def _appended(self, record: Record) -> None:
        if record.subject.endswith(".engine"):
            self._world.broker.net.hand(self._process, self._news.set)

    async def work(self) -> None:
        position = 0
        while True:
            try:
                async for record in self._log.read(SUBJECTS.commits(), after=position):
                    position = record.seq
                    self._read(record)
            except Unavailable:
                pass
            try:
                async with asyncio.timeout(4.0):
                    await self._news.wait()
            except TimeoutError:
                pass
            self._news.clear()

    def _read(self, record: Record) -> None:
        if b"approval.requested" not in record.body:
            return
        commit = decode(record.body)
        for event in commit.events:
            if isinstance(event, e.ApprovalRequested):
                self._process.spawn(self._decide(commit.run, event.call_id, record.seq))

    async def _decide(self, run_id: str, call_id: str, asked: int) -> None:
        rnd = self._world.random
        await asyncio.sleep(rnd.uniform(0.05, 5.0))
        if rnd.random() < 0.2 and not self._world.quiet:
            await asyncio.sleep(rnd.uniform(10.0, 40.0))
        subject = SUBJECTS.call(run_id, call_id)
        decided = e.ApprovalDecided(
            id=f"{run_id}.{call_id}.decided.{rnd.getrandbits(32):x}",
            time=clock.now_text(),
            call_id=call_id,
            decision="reject" if rnd.random() < 0.2 else "approve",
            by="ann",
        )
        while True:
            try:
                last = await self._log.last(subject)
                if last is not None and last.seq > asked:
                    return  # decided, expired or cancelled meanwhile
                await self._log.append(
                    subject,
                    encode_report(run_id, decided),
                    id=decided.id,
                    expect=last.seq if last is not None else 0,
                )
                return
            except WrongSequence:
                continue
            except Unavailable:
                await asyncio.sleep(1.0)
