"""One simulation: a plan carried out, faults and all, then settled and judged."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from partsong.contracts.state.state import RunState
from partsong.contracts.wire.subjects import OURS
from partsong.log.snapshots.folded import Folded
from partsong.log.snapshots.memory import MemorySnapshots
from tests.sim.broker import SUBJECTS, Broker
from tests.sim.clients import Client
from tests.sim.engine import Engine, start_engine
from tests.sim.loop import Process, Stuck, new_loop
from tests.sim.nemesis import Nemesis
from tests.sim.network import Chaos
from tests.sim.oracle import judge
from tests.sim.plan import Knobs, OwnGraph, Plan, plan_of
from tests.sim.workers import start_people, start_worker
from tests.sim.world import World

__all__ = ["Outcome", "simulate"]

_LONGEST = 1_200.0
"""Seconds of simulated time after the faults within which everything must have settled."""
_CALM = 12.0
"""Seconds for which things must stay settled: what comes again comes meanwhile."""


@dataclass
class Outcome:
    """What came of a seed."""

    seed: int
    knobs: Knobs
    findings: list[str]
    trace: list[str] = field(default_factory=list)
    digest: str = ""
    """Of the log: the same seed gives the same one."""
    seconds: float = 0.0
    """Of simulated time."""
    records: int = 0
    steps: int = 0

    @property
    def line(self) -> str:
        """The command that does it again."""
        return f".venv/bin/python -m tests.sim --seed {self.seed} {self.knobs.line()}".rstrip()


def simulate(seed: int, knobs: Knobs | None = None, *, trace: bool = False) -> Outcome:
    """Play a seed; what should not be is among the outcome's findings."""
    knobs = knobs or Knobs()
    plan = plan_of(seed, knobs)
    loop = new_loop(seed)
    world = World(loop, Broker(loop, plan.partitions))
    if trace:
        world.trace = []
    with _logged(world):
        try:
            loop.run(_Simulation(world, plan, knobs.own).play())
        except Stuck as stuck:
            world.find(f"stuck: {stuck}")
    for broken in loop.broken:
        world.find(broken)
    digest = hashlib.sha256()
    for record in world.broker.log.records:
        digest.update(record.body)
    return Outcome(
        seed,
        knobs,
        world.findings,
        world.trace or [],
        digest.hexdigest()[:16],
        loop.time(),
        world.broker.log.head,
        loop.steps,
    )


class _Simulation:
    """All processes of one simulation, and its three acts: faults, settling, judgement."""

    def __init__(self, world: World, plan: Plan, own: OwnGraph | None) -> None:
        self._world, self._plan = world, plan
        self._snapshots = MemorySnapshots()
        self._nemesis = Nemesis(world, plan, self._begin)
        self._client = Client(world, world.process("client"), own.input if own else None)
        self._folds: dict[str, Folded] = {}
        self._read = 0

    def _begin(self, kind: str, process: Process) -> Engine | None:
        match kind:
            case "engine":
                return start_engine(self._world, process, self._snapshots)
            case "runner":
                start_worker(self._world, process, "tool-runner")
            case "gateway":
                start_worker(self._world, process, "agent-gateway")
            case _:
                start_people(self._world, process)
        return None

    async def play(self) -> None:
        world, plan = self._world, self._plan
        for kind, count in (
            ("engine", plan.engines),
            ("runner", plan.runners),
            ("gateway", plan.gateways),
            ("people", 1),
        ):
            for n in range(count):
                self._nemesis.begin(kind, f"{kind}{n}")
        world.broker.net.chaos = replace(plan.chaos)
        client = self._client
        for run_id, graph, options in plan.runs:
            client.spawn(client.play(run_id, graph, plan.lasts, options))
        for at, fault in plan.faults:
            world.loop.call_later(at, self._nemesis.strike, fault)
        await asyncio.sleep(plan.lasts)
        world.say("the faults stop")
        world.broker.net.chaos = Chaos()
        world.quiet = True
        self._nemesis.mend()
        await self._settle()
        await judge(world, self._nemesis.engines(), self._snapshots)

    async def _settle(self) -> None:
        """Wait until nothing is left to do, and help where a run waits for somebody outside."""
        world = self._world
        until, calm = world.loop.time() + _LONGEST, 0.0
        while world.loop.time() < until and calm < _CALM:
            await asyncio.sleep(3.0)
            open_runs = [state for state in self._states() if not state.ended]
            unanswered = [id_ for id_ in world.asked if id_ not in world.broker.answers]
            calm = 0.0 if open_runs or unanswered else calm + 3.0
            for state in open_runs:
                self._help(state)

    def _states(self) -> list[RunState]:
        """All runs as the log has them now."""
        for record in self._world.broker.log.records[self._read :]:
            run_id = SUBJECTS.parse_log(record.subject).run_id
            if run_id == OURS or run_id in self._world.spoiled:
                continue
            folded = self._folds.get(run_id, Folded(RunState(run_id)))
            self._folds[run_id] = folded.after(record, SUBJECTS)
        self._read = self._world.broker.log.head
        states = (f.state for run, f in self._folds.items() if run not in self._world.spoiled)
        return [state for state in states if state.graph is not None or state.pending]

    def _help(self, state: RunState) -> None:
        """Resume what is paused, signal what waits; once at a time."""
        busy = {
            a.run_id for a in self._world.asked.values() if a.id not in self._world.broker.answers
        }
        if state.run_id in busy or state.stopping is not None:
            return
        waits = state.waits_on
        if state.paused:
            self._client.spawn(self._client.ask("resume", state.run_id))
        elif waits is not None and waits.on == "signal":
            ask = self._client.ask("signal", state.run_id, name=waits.what, payload=1)
            self._client.spawn(ask)


class _Log(logging.Handler):
    """The platform's log lines: part of the trace, and what it calls an error is a finding."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.INFO if world.trace is not None else logging.ERROR)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        told = {k: v for k, v in vars(record).items() if k in {"run", "problem", "why", "call"}}
        what = f"{record.getMessage()} {told}"
        parked = record.msg.startswith("run parked") and told["run"] in self._world.spoiled
        if record.levelno < logging.ERROR or parked:
            self._world.say(what)
        else:
            error = record.exc_info[1] if record.exc_info else None
            self._world.find(f"{what}: {error!r}")


@contextmanager
def _logged(world: World) -> Iterator[None]:
    logger, handler = logging.getLogger("partsong"), _Log(world)
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(handler.level)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]
