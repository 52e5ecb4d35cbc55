"""A function may be told how long it may be silent: what it shows keeps it alive."""

from __future__ import annotations

import asyncio
import threading

import pytest
from pydantic import JsonValue

from partsong.contracts.graph.function_results import NodeContext, Route
from partsong.contracts.wire.work import FunctionWork
from partsong.execution.executor import Closed
from tests.unit.execution.calls import Calls, failure, success

State = dict[str, JsonValue]


async def bounded(calls: Calls, idle: float, within: float | None = None) -> Closed:
    work = FunctionWork(
        run_id="r_1",
        call_id="n:1",
        node="n",
        function="f",
        state={},
        timeout=within,
        idle_timeout=idle,
    )
    return await calls.run(work)


async def quiet(_: State) -> None:
    await asyncio.Event().wait()


def stuck(_: State) -> None:
    threading.Event().wait(20)


@pytest.mark.parametrize("function", [quiet, stuck])
async def test_silence_ends_the_call_whatever_the_function_does(function: object) -> None:
    assert callable(function)
    problem = failure(await bounded(Calls({"f": function}), 0.05))
    assert problem.code == "function.idle_timeout"
    assert problem.retryable


async def test_whoever_shows_something_goes_on() -> None:
    async def talkative(_: State, context: NodeContext) -> Route:
        for n in range(8):
            context.emit(f"{n} ")
            await asyncio.sleep(0.4)
        return Route("done", {"n": 8})

    done = success(await bounded(Calls({"f": talkative}), 2.5))
    assert done.update == {"n": 8}, "more than three seconds in all, never two without a word"


async def test_the_time_in_all_counts_too() -> None:
    async def endless(_: State, context: NodeContext) -> None:
        while True:
            context.emit("still here")
            await asyncio.sleep(0.01)

    problem = failure(await bounded(Calls({"f": endless}), 30.0, within=0.2))
    assert problem.code == "function.timeout"
