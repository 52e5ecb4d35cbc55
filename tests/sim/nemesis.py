"""The nemesis: kills processes and starts them again, cuts them off, moves pins, restarts the broker."""

from __future__ import annotations

from collections.abc import Callable

from tests.sim.engine import Engine
from tests.sim.loop import Process
from tests.sim.world import World

__all__ = ["Nemesis"]

_Begin = Callable[[str, Process], Engine | None]


class Nemesis:
    """Knows all processes, and does to them what the plan says."""

    def __init__(self, world: World, skew: float, begin: _Begin) -> None:
        self._world, self._skew, self._make = world, skew, begin
        self._running: dict[str, tuple[str, Process, Engine | None]] = {}
        self._births = 0

    def begin(self, kind: str, name: str) -> None:
        """Start a process, or start it again."""
        self._births += 1
        skew = self._world.random.uniform(-self._skew, self._skew) if self._skew else 0.0
        process = self._world.process(f"{name}~{self._births:04}", skew=skew)
        self._running[name] = kind, process, self._make(kind, process)

    def engines(self) -> list[Engine]:
        """Those that run now."""
        return [e for _, process, e in self._running.values() if e is not None and process.alive]

    def strike(self, fault: str) -> None:
        """Let one fault happen."""
        self._world.say(f"NEMESIS {fault}")
        broker, rnd = self._world.broker, self._world.random
        match fault.split():
            case ["kill", what]:
                self._kill(what)
            case ["stop", what]:
                self._stop(what)
            case ["cut", what]:
                self._cut(what)
            case ["unpin"]:
                for partition in sorted(broker.feeds):
                    if rnd.random() < 0.5:
                        broker.feeds[partition].unpin()
            case ["restart"]:
                self._down(rnd.uniform(0.05, 0.5), forgets=False)
            case ["outage"]:
                self._down(rnd.uniform(5.0, 40.0), forgets=False)
            case ["forgetful", "restart"]:
                for feed in broker.feeds.values():
                    feed.save()
                self._world.loop.call_later(
                    rnd.uniform(0.1, 2.0), lambda: self._down(rnd.uniform(0.05, 0.5), forgets=True)
                )
            case _:
                raise AssertionError(fault)

    def mend(self) -> None:
        """Everything is up and connected again."""
        if not self._world.broker.net.up:
            self._back(forgets=False)
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

    def _heal(self, process: Process) -> None:
        process.heal()
        self._world.broker.pulled()

    def _down(self, seconds: float, *, forgets: bool) -> None:
        if self._world.broker.net.up:
            self._world.broker.down()
            self._world.loop.call_later(seconds, lambda: self._back(forgets=forgets))

    def _back(self, *, forgets: bool) -> None:
        if not self._world.broker.net.up:
            self._world.broker.back(forgets=forgets)
            self._world.say("the broker is back")
