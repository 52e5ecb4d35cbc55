"""What the executor's tests share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from pydantic import JsonValue

from partsong.contracts.errors import Problem
from partsong.contracts.events import CallCompleted, CallFailed
from partsong.contracts.talk.chunks import Chunk
from partsong.contracts.wire.work import FunctionWork, ToolWork
from partsong.execution.executor import Closed, Executor
from partsong.execution.functions import Functions
from partsong.execution.user_loops import UserLoops
from partsong.tools import ToolRegistry
from partsong.tools.tool import AnyTool

DEADLINE = 20.0


class Calls:
    """An executor with functions and tools under short names, and the chunks its calls showed."""

    def __init__(
        self,
        functions: Mapping[str, Callable[..., object]] | None = None,
        *,
        tools: tuple[AnyTool, ...] = (),
        slots: int = 8,
        seen: asyncio.Event | None = None,
        loops: UserLoops | None = None,
    ) -> None:
        self.executor = Executor(
            Functions.local(functions or {}),
            ToolRegistry(tools),
            slots=slots,
            worker="w1",
            loops=loops,
        )
        self.chunks: list[Chunk] = []
        self._seen = seen or asyncio.Event()

    async def run(self, work: FunctionWork | ToolWork) -> Closed:
        async with asyncio.timeout(DEADLINE):
            return await self.executor.run(work, self._show)

    def _show(self, chunk: Chunk) -> None:
        self.chunks.append(chunk)
        self._seen.set()

    async def function(
        self, name: str, state: dict[str, JsonValue] | None = None, *, within: float | None = None
    ) -> Closed:
        return await self.run(function_work(name, state, within=within))

    async def tool(self, name: str, args: JsonValue, *, within: float | None = None) -> Closed:
        work = ToolWork(run_id="r_1", call_id="n:1", node="n", tool=name, args=args, timeout=within)
        return await self.run(work)

    async def problem(self, name: str, *, within: float | None = None) -> Problem:
        return failure(await self.function(name, within=within))

    async def none_abandoned(self) -> None:
        async with asyncio.timeout(DEADLINE):
            while self.executor.abandoned:  # noqa: ASYNC110  # a thread that comes back sets no event
                await asyncio.sleep(0)


def function_work(
    name: str, state: dict[str, JsonValue] | None = None, *, within: float | None = None
) -> FunctionWork:
    return FunctionWork(
        run_id="r_1",
        call_id="n:2",
        node="n",
        attempt=3,
        timeout=within,
        function=name,
        state=state or {},
    )


def failure(outcome: Closed) -> Problem:
    assert isinstance(outcome, CallFailed), outcome
    return outcome.error


def success(outcome: Closed) -> CallCompleted:
    assert isinstance(outcome, CallCompleted), outcome
    return outcome
