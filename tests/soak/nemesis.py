"""The soak's nemesis: kills, pauses, ends and restarts services and the server, and writes what nobody should write."""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable

import nats.errors
from nats.js.errors import APIError

from partsong.client import Client
from tests.soak.processes import Ended, Fleet, Worker

__all__ = ["Nemesis"]

_GARBAGE = (b"", b"{", b"\xff\xfe", b'{"run":"r","events":[]}', b'{"v":9}', b"[1,2]")


class Nemesis:
    """Does harm until it is stopped; every choice comes from the seed."""

    def __init__(
        self, rnd: random.Random, fleet: Fleet, client: Client, say: Callable[[str], None]
    ) -> None:
        self._random, self._fleet, self._client, self._say = rnd, fleet, client, say
        self.done: Counter[str] = Counter()
        self.spoiled: set[str] = set()
        """Runs in whose log it has written what cannot be read."""
        self.wrong: list[str] = []
        """Services that ended by themselves."""
        self._coming: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """One thing every few seconds."""
        harms: list[tuple[int, str, Callable[[], Awaitable[None]]]] = [
            (5, "kill -9", self._kill),
            (5, "pause", self._pause),
            (4, "end and start again", self._end),
            (1, "kill -9 of NATS", self._kill_nats),
            (2, "bad record", self._bad_record),
            (2, "bad request", self._bad_request),
            (2, "bad hint", self._bad_hint),
        ]
        while True:
            await asyncio.sleep(self._random.uniform(1.0, 5.0))
            weights = [weight for weight, _, _ in harms]
            _, name, harm = self._random.choices(harms, weights)[0]
            self.done[name] += 1
            await harm()

    async def settle(self) -> None:
        """Let everything go on, and start what is missing."""
        for task in self._coming:
            task.cancel()
        await asyncio.gather(*self._coming, return_exceptions=True)
        for worker in self._fleet.workers:
            worker.send(signal.SIGCONT)
            worker.paused = False
        await self._fleet.start()

    def _victim(self) -> Worker | None:
        well = [worker for worker in self._fleet.workers if worker.alive and not worker.paused]
        return self._random.choice(well) if well else None

    def _later(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._coming.add(task)
        task.add_done_callback(self._coming.discard)

    async def _back(self, worker: Worker, wait: float) -> None:
        await asyncio.sleep(wait)
        worker.start()
        try:
            await worker.ready()
        except Ended as error:
            if not worker.was_killed:
                self.wrong.append(str(error))

    async def _kill(self) -> None:
        if (worker := self._victim()) is not None:
            self._say(f"kill -9 {worker.name}")
            worker.send(signal.SIGKILL)
            await worker.ended(10)
            self._later(self._back(worker, self._random.uniform(0.0, 4.0)))

    async def _pause(self) -> None:
        if (worker := self._victim()) is not None:
            seconds = self._random.choice([0.5, 2.0, 7.0, 15.0])
            self._say(f"{worker.name} stands still for {seconds:g} s")
            worker.paused = True
            worker.send(signal.SIGSTOP)
            self._later(self._go_on(worker, seconds))

    async def _go_on(self, worker: Worker, seconds: float) -> None:
        await asyncio.sleep(seconds)
        worker.send(signal.SIGCONT)
        worker.paused = False

    async def _end(self) -> None:
        """Partitions and work move to the others, and come back."""
        if (worker := self._victim()) is not None:
            self._say(f"{worker.name} ends and comes back")
            worker.send(signal.SIGTERM)
            if await worker.ended(60):
                self._later(self._back(worker, self._random.uniform(0.0, 2.0)))
            else:
                worker.send(signal.SIGKILL)
                await worker.ended(10)
                self._later(self._back(worker, 0.0))

    async def _kill_nats(self) -> None:
        self._say("kill -9 of NATS")
        self._fleet.nats.kill()
        await asyncio.sleep(self._random.uniform(0.0, 3.0))
        await self._fleet.nats.restart()

    async def _bad_record(self) -> None:
        """What cannot be read, in the log of a run that is open or of one that is not."""
        subjects = self._client.subjects
        run_id = f"r_spoiled_{len(self.spoiled)}"
        try:
            if self._random.random() < 0.5:
                runs = await self._client.runs(limit=50)
                open_ = [run.run_id for run in runs if run.status in {"running", "waiting"}]
                run_id = self._random.choice(open_ or [run_id])
            self.spoiled.add(run_id)
            subject = self._random.choice([subjects.engine, subjects.fact])(run_id)
            self._say(f"a bad record on {subject}")
            await self._publish(subject, self._random.choice(_GARBAGE))
        except Exception as error:  # the server may be away
            self._say(f"no bad record: {error!r}")

    async def _bad_request(self) -> None:
        verb = self._random.choice(["run", "cancel", "fork", "signal", "nonsense"])
        self._say(f"a bad request to {verb}")
        await self._publish(self._client.subjects.request(verb), self._random.choice(_GARBAGE))

    async def _bad_hint(self) -> None:
        service = self._random.choice(["tool-runner", "agent-gateway"])
        self._say(f"a bad hint to {service}")
        await self._publish(self._client.subjects.work(service), self._random.choice(_GARBAGE))

    async def _publish(self, subject: str, body: bytes) -> None:
        try:
            await self._client.nats.jetstream().publish(subject, body, timeout=2)
        except (nats.errors.Error, APIError, TimeoutError) as error:
            self._say(f"not published: {error!r}")
