"""The nemesis: kills processes and starts them again, cuts them off, lets them disagree, restarts the broker."""

from __future__ import annotations

from collections.abc import Callable

from partsong.contracts.events.envelope import encode_report
from partsong.contracts.wire.stop import Stop
from tests.sim.broker import SUBJECTS
from tests.sim.engine import Engine
from tests.sim.loop import Process
from tests.sim.plan import Plan
from tests.sim.world import World

__all__ = ["Nemesis"]

_LINE = 40
"""Characters of the key of a thread's line."""
_Begin = Callable[[str, Process], Engine | None]


class Nemesis:
    """Knows all processes, and does to them what the plan says."""

    def __init__(self, world: World, plan: Plan, begin: _Begin) -> None:
        self._world, self._plan, self._make = world, plan, begin
        self._running: dict[str, tuple[str, Process, Engine | None]] = {}
        self._births = 0

    def begin(self, kind: str, name: str) -> None:
        """Start a process, or start it again."""
        self._births += 1
        most = self._plan.skew
        skew = self._world.random.uniform(-most, most) if most else 0.0
        process = self._world.process(f"{name}~{self._births:04}", skew=skew)
        self._running[name] = kind, process, self._make(kind, process)

    def engines(self) -> list[Engine]:
        """Those that run now."""
        return [e for _, process, e in self._running.values() if e is not None and process.alive]

    def strike(self, fault: str) -> None:
        """Let one fault happen."""
        self._world.say(f"NEMESIS {fault}")
        rnd = self._world.random
        match fault.split():
            case ["kill", what]:
                self._kill(what)
            case ["stop", what]:
                self._stop(what)
            case ["cut", what]:
                self._cut(what)
            case ["old", "stops"]:
                self._old_stops()
            case ["bad", "record"]:
                self._bad_record()
            case ["lost", "streams"]:
                self._lost_streams()
            case ["doubt"]:
                self._doubt()
            case ["restart"]:
                self._down(rnd.uniform(0.05, 0.5))
            case ["outage"]:
                self._down(rnd.uniform(5.0, 40.0))
            case _:
                raise AssertionError(fault)

    def mend(self) -> None:
        """Everything is up and connected again."""
        if not self._world.broker.net.up:
            self._back()
        self._world.alone.clear()
        for name, (kind, process, _) in list(self._running.items()):
            self._heal(process)
            if not process.alive:
                self.begin(kind, name)

    def _pick(self, what: str) -> str | None:
        kinds = {"engine": {"engine"}, "worker": {"runner", "gateway"}, "people": {"people"}}[what]
        names = [n for n, (kind, p, _) in self._running.items() if kind in kinds and p.alive]
        return self._world.random.choice(sorted(names)) if names else None

    def _kill(self, what: str) -> None:
        name = self._pick(what)
        if name is None:
            return
        kind, process, _ = self._running[name]
        process.kill()
        self._world.say(f"{process.name} dies")
        after = self._world.random.choice([0.1, 1.0, 4.0, 15.0, 40.0])
        self._world.loop.call_later(after, self._again, kind, name)

    def _again(self, kind: str, name: str) -> None:
        if not self._running[name][1].alive:
            self.begin(kind, name)

    def _stop(self, what: str) -> None:
        """As at a deployment: what is in flight is finished, then another one begins."""
        name = self._pick(what)
        if name is None:
            return
        kind, process, engine = self._running[name]
        if engine is None:
            return

        async def stop() -> None:
            await engine.stop()
            process.kill()
            self._world.say(f"{process.name} has stopped")
            self._world.loop.call_soon(self._again, kind, name, context=self._world.context)

        process.spawn(stop())

    def _cut(self, what: str) -> None:
        name = self._pick(what)
        if name is None:
            return
        process = self._running[name][1]
        process.cut()
        self._world.say(f"{process.name} is cut off")
        after = self._world.random.choice([0.5, 3.0, 8.0, 30.0, 140.0])
        self._world.loop.call_later(after, self._heal, process)

    def _doubt(self) -> None:
        """An engine hears of no other for a while, and takes everything for its own."""
        name = self._pick("engine")
        if name is None:
            return
        process, alone = self._running[name][1], self._world.alone
        alone.add(process)
        self._world.say(f"{process.name} believes that it is alone")
        after = self._world.random.choice([0.3, 1.0, 4.0, 15.0])
        self._world.loop.call_later(after, alone.discard, process)

    def _old_stops(self) -> None:
        """Stops come late, once more, or from somebody who has made them up."""
        broker, rnd = self._world.broker, self._world.random
        runs = sorted({run_id for run_id, _ in broker.stopped})
        made_up = [(run, Stop(commit=rnd.randint(1, broker.log.head + 1))) for run in runs]
        for run_id, stop in [*broker.stopped[-5:], *made_up]:
            for n in range(12):  # until there is work that they could end
                self._world.loop.call_later(0.3 * n, broker.stop_run, run_id, stop)

    def _bad_record(self) -> None:
        """Somebody writes into a run's log what cannot be read, or what says nothing and only moves a guard."""
        world, rnd = self._world, self._world.random
        begun = sorted(self._plan.alone & world.graphs.keys())
        if not begun:
            return
        run_id = rnd.choice(begun)
        calls = {r.subject for r in world.broker.log.select(SUBJECTS.run(run_id))}
        calls = {subject for subject in calls if ".call." in subject}
        guarded = [SUBJECTS.engine(run_id), SUBJECTS.command(run_id, "q"), *sorted(calls)]
        subject = rnd.choice([*guarded, SUBJECTS.fact(run_id)])
        body = rnd.choice([b"{", encode_report(run_id), b'{"run":"r","events":[]}'])
        if body == encode_report(run_id) and subject == SUBJECTS.fact(run_id):
            return  # it says nothing, and moves no guard
        world.spoiled |= {run_id, f"{run_id}f"}
        world.say(f"a bad record on {subject}")
        world.broker.log.append(subject, body, f"bad-{rnd.getrandbits(32):x}", None, {})

    def _lost_streams(self) -> None:
        """The broker comes back without timers and without the lines of threads: its disk was damaged."""
        broker = self._world.broker
        if broker.net.up:
            self._world.lines_lost = self._world.lines_lost or self._world.loop.time()
            broker.timers.clear()
            for key in [key for key in broker.buckets if len(key) == _LINE]:
                del broker.buckets[key]
            self._down(self._world.random.uniform(0.05, 0.5))

    @staticmethod
    def _heal(process: Process) -> None:
        process.heal()

    def _down(self, seconds: float) -> None:
        if self._world.broker.net.up:
            self._world.broker.down()
            self._world.loop.call_later(seconds, self._back)

    def _back(self) -> None:
        if not self._world.broker.net.up:
            self._world.broker.back()
            self._world.say("the broker is back")
