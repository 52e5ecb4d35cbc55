"""The soak's traffic: programs that start runs of every kind, steer some of them, decide approvals, and keep all answers."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from partsong.client import Client
from partsong.client.approvals import Approvals
from partsong.contracts.errors import InvalidInput, PartsongError, Unavailable
from tests.soak.work import GRAPHS

__all__ = ["Traffic"]

T = TypeVar("T")

_REFUSED = frozenset(
    {"run.ended", "run.unknown", "run.not_ended", "run.completed", "signal.unknown"}
)
"""What an honest engine may answer to a request that came too late or too early."""
_DAMAGED = frozenset({"log.broken", "log.unreadable", "log.history_changed", "envelope.malformed"})


@dataclass
class Traffic:
    """Keeps `most` runs open; every choice comes from the seed."""

    rnd: random.Random
    client: Client
    http_url: Callable[[], str]
    file: str
    spoiled: set[str]
    most: int = 40
    asked: dict[str, str] = field(default_factory=dict)
    """The kind of each run that was asked for."""
    open: set[str] = field(default_factory=set)
    answers: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    """Answers that no honest engine gives."""
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _deciding: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Start runs until `closing` is set."""
        self._deciding = asyncio.ensure_future(self._decide())
        while not self.closing.is_set():
            if len(self.open) < self.most:
                kind = self.rnd.choice([*GRAPHS])
                run_id = f"r_{len(self.asked)}"
                self.asked[run_id] = kind
                self.open.add(run_id)
                self._spawn(self._one(run_id, kind, random.Random(self.rnd.random())))
            await asyncio.sleep(self.rnd.uniform(0.0, 0.2))

    async def finish(self, within: float) -> set[str]:
        """Wait until everything has ended; what has not, when nothing has ended for `within` seconds, is given up."""
        while self._tasks:
            done, _ = await asyncio.wait(
                self._tasks, timeout=within, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                break
        left, tasks = set(self.open), set(self._tasks)
        if self._deciding is not None:
            tasks.add(self._deciding)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return left

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _one(self, run_id: str, kind: str, rnd: random.Random) -> None:
        state = {"file": self.file, "order": run_id, "items": list(range(6))}
        graph = GRAPHS[kind]()
        await self._insist(run_id, "run", lambda: self.client.start(graph, state, run_id=run_id))
        beside = [
            asyncio.ensure_future(work)
            for work in (
                self._steer(run_id, rnd) if rnd.random() < 0.4 else None,
                self._signal(run_id, rnd) if kind == "waits" else None,
            )
            if work is not None
        ]
        try:
            await self._ended(run_id)
        finally:
            self.open.discard(run_id)
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)

    async def _ended(self, run_id: str) -> None:
        """A reader is a program too: it waits through everything that is done to the server."""
        while run_id not in self.spoiled:
            try:
                await self.client.result(run_id, timeout=20)
            except (PartsongError, TimeoutError):
                continue
            return

    async def _steer(self, run_id: str, rnd: random.Random) -> None:
        await asyncio.sleep(rnd.uniform(0, 2))
        if rnd.random() < 0.25:
            await self._insist(run_id, "cancel", lambda: self.client.cancel(run_id, "the soak"))
            return
        await self._insist(run_id, "pause", lambda: self.client.pause(run_id))
        await asyncio.sleep(rnd.uniform(0, 2))
        await asyncio.shield(self._insist(run_id, "resume", lambda: self.client.resume(run_id)))

    async def _signal(self, run_id: str, rnd: random.Random) -> None:
        await asyncio.sleep(rnd.uniform(0, 4))
        await self._insist(
            run_id, "signal", lambda: self.client.signal(run_id, "go", "now", signal_id="s1")
        )

    async def _decide(self) -> None:
        """One person who decides whatever is open, also whether to make a call again that may have been made."""
        while True:
            await asyncio.sleep(self.rnd.uniform(0.2, 1))
            api = Approvals(self.http_url())
            try:
                open_, _ = await asyncio.to_thread(api.newest, limit=20, status="pending")
            except PartsongError as error:
                self.answers[f"decide {error.problem.code}"] += 1
                continue
            for item in open_:
                await self._decide_one(api, str(item["id"]), self.rnd.choice(["approve", "reject"]))

    async def _decide_one(self, api: Approvals, approval_id: str, decision: str) -> None:
        try:
            await asyncio.to_thread(api.decide, approval_id, decision, "soak", None)
        except PartsongError as error:
            self.answers[f"decide {error.problem.code}"] += 1
        else:
            self.answers["decide done"] += 1

    async def _insist(self, run_id: str, verb: str, ask: Callable[[], Awaitable[T]]) -> None:
        """Ask until there is an answer, as one may with ids of one's own."""
        while run_id not in self.spoiled:
            try:
                await ask()
            except Unavailable as error:
                self.answers[f"{verb} {error.problem.code}"] += 1
                await asyncio.sleep(0.1)
                continue
            except InvalidInput as error:
                code = error.problem.code
                self.answers[f"{verb} {code}"] += 1
                if code not in _REFUSED and run_id not in self.spoiled:
                    self.wrong.append(f"{verb} {run_id}: {error}")
                return
            self.answers[f"{verb} accepted"] += 1
            return
