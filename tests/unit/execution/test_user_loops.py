"""User coroutines in loops of their own: what they see, how they end, and what one that blocks does to others."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from pydantic import JsonValue

from partsong.contracts.graph.function_results import NodeContext
from partsong.contracts.talk.chunks import Text
from partsong.execution.executor import Executor
from partsong.execution.functions import Functions
from partsong.execution.user_loops import UserLoops
from partsong.runtime.heartbeat.held import HeldCalls
from partsong.tools import ToolRegistry, tool
from tests.unit.execution.calls import DEADLINE, Calls, failure, function_work, success

State = dict[str, JsonValue]


@pytest.fixture
def held() -> HeldCalls:
    return HeldCalls()


@pytest.fixture
async def loops(held: HeldCalls) -> AsyncIterator[UserLoops]:
    made = UserLoops(held)
    yield made
    await made.close()


async def where(_: State) -> State:
    return {"thread": threading.get_ident(), "loop": id(asyncio.get_running_loop())}


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not true():  # noqa: ASYNC110  # what happens in a thread sets no event here
            await asyncio.sleep(0.01)


async def test_a_coroutine_runs_in_no_loop_of_the_service(loops: UserLoops) -> None:
    calls = Calls({"f": where}, loops=loops)
    first, second = [success(await calls.function("f")).update for _ in range(2)]
    assert first is not None
    assert first["thread"] != threading.get_ident()
    assert first["loop"] != id(asyncio.get_running_loop())
    assert first == second, "as long as nobody blocks it, there is one loop"


async def test_context_variables_reach_it(loops: UserLoops) -> None:
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("set")

    async def read(_: State) -> State:
        return {"variable": variable.get()}

    done = success(await Calls({"f": read}, loops=loops).function("f"))
    assert done.update == {"variable": "set"}


async def test_what_it_shows_comes_in_order_and_before_its_end(loops: UserLoops) -> None:
    async def talk(_: State, context: NodeContext) -> None:
        for n in range(50):
            context.emit(f"{n} ")
            await asyncio.sleep(0)

    calls = Calls({"f": talk}, loops=loops)
    success(await calls.function("f"))
    texts = [chunk.text for chunk in calls.chunks if isinstance(chunk, Text)]
    assert texts == [f"{n} " for n in range(50)]
    assert [chunk.seq for chunk in calls.chunks] == list(range(51))


async def test_an_exception_is_the_calls(loops: UserLoops) -> None:
    async def fail(_: State) -> None:
        raise KeyError("x")

    problem = await Calls({"f": fail}, loops=loops).problem("f")
    assert problem.message == "KeyError: 'x'"


async def test_a_late_one_is_cancelled_and_may_clean_up(loops: UserLoops) -> None:
    cleaned = threading.Event()

    async def slow(_: State) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.set()

    problem = await Calls({"f": slow}, loops=loops).problem("f", within=0.1)
    assert problem.code == "function.timeout"
    assert cleaned.is_set()


async def test_a_cancelled_call_cancels_it(loops: UserLoops) -> None:
    begun, ended = asyncio.Event(), threading.Event()
    home = asyncio.get_running_loop()

    async def slow(_: State) -> None:
        home.call_soon_threadsafe(begun.set)
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    calls = Calls({"f": slow}, loops=loops)
    task = asyncio.create_task(calls.function("f"))
    await asyncio.wait_for(begun.wait(), DEADLINE)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
    assert calls.executor.abandoned == 0


async def test_what_a_sync_function_returns_to_await_runs_there_too(loops: UserLoops) -> None:
    def later(state: State) -> object:
        return where(state)

    done = success(await Calls({"f": later}, loops=loops).function("f"))
    assert done.update is not None
    assert done.update["loop"] != id(asyncio.get_running_loop())


async def test_a_task_that_would_end_the_process_ends_nothing(loops: UserLoops) -> None:
    async def leave() -> None:
        raise SystemExit(3)

    async def spawn(_: State) -> None:
        task = asyncio.create_task(leave())
        await asyncio.wait((task,))
        task.exception()

    calls = Calls({"f": spawn, "g": where}, loops=loops)
    assert (await calls.run(function_work("f", within=1.0))).call_id
    success(await calls.function("g"))


def of_ours(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "partsong.tool_runner"]


class Blocking:
    """A coroutine that blocks its loop until it is let go."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()

    async def block(self, _: State) -> State:
        self.begun.set()
        self.go.wait(DEADLINE)
        return {"done": True}


async def test_a_blocked_loop_is_reported_and_others_are_served_meanwhile(
    loops: UserLoops, held: HeldCalls, caplog: pytest.LogCaptureFixture
) -> None:
    blocking = Blocking()
    calls = Calls({"m:block": blocking.block, "f": where}, loops=loops)
    main = success(await calls.function("f")).update
    with caplog.at_level(logging.WARNING, "partsong.tool_runner"):
        blocked = asyncio.create_task(calls.function("m:block"))
        await until(blocking.begun.is_set)
        waiting = asyncio.create_task(calls.function("f"))  # sent to the same loop, before it shows
        other = success(await waiting).update
        assert other is not None
        assert main is not None
        assert other["loop"] != main["loop"]
        (record,) = of_ours(caplog)
        assert record.message.startswith("function blocks its event loop")
        said = vars(record)
        assert (said["function"], said["run"], said["call"]) == ("m:block", "r_1", "n:2")
        assert "threading.py" in said["at"]
        assert held.blocking[1:] == ("m:block", "r_1", "n:2")
        assert success(await calls.function("f")).update == other
        blocking.go.set()
        assert success(await blocked).update == {"done": True}
        await until(lambda: not held.blocking)
    assert [record.message for record in of_ours(caplog)][1:] == [
        "event loop of user code answers again"
    ]
    assert success(await calls.function("f")).update == main, "the first loop serves again"


async def test_a_blocking_child_task_is_not_laid_on_another_call(
    loops: UserLoops, held: HeldCalls
) -> None:
    blocking = Blocking()

    async def parent(state: State) -> None:
        await asyncio.create_task(blocking.block(state))

    calls = Calls({"m:parent": parent}, loops=loops)
    call = asyncio.create_task(calls.function("m:parent"))
    await until(lambda: bool(held.blocking))
    assert held.blocking[1] == "m:parent"
    blocking.go.set()
    success(await call)


async def test_a_late_call_that_blocks_its_loop_is_left_behind(loops: UserLoops) -> None:
    blocking = Blocking()
    calls = Calls({"f": blocking.block}, loops=loops)
    problem = await calls.problem("f", within=0.2)
    assert problem.code == "function.timeout"
    assert calls.executor.abandoned == 1
    blocking.go.set()
    await calls.none_abandoned()


async def test_time_that_another_call_has_stolen_is_not_charged(loops: UserLoops) -> None:
    blocking, begun = Blocking(), threading.Event()

    @tool(side_effect="write")
    async def pay() -> str:
        begun.set()
        await asyncio.sleep(0.5)
        return "paid"

    calls = Calls({"m:block": blocking.block}, tools=(pay,), loops=loops)
    paying = asyncio.create_task(calls.tool("pay", {}, within=1.5))
    await until(begun.is_set)
    blocked = asyncio.create_task(calls.function("m:block"))
    await until(blocking.begun.is_set)
    await asyncio.wait((paying,), timeout=3.0)
    assert not paying.done(), "its time would have been over"
    blocking.go.set()
    assert success(await paying).content == "paid"
    success(await blocked)


async def test_whoever_blocks_a_loop_is_charged_for_it(loops: UserLoops) -> None:
    blocking = Blocking()
    problem = await Calls({"m:block": blocking.block}, loops=loops).problem("m:block", within=2.0)
    assert problem.code == "function.timeout"
    blocking.go.set()


async def test_silence_while_another_call_blocks_the_loop_is_not_charged(loops: UserLoops) -> None:
    blocking, begun = Blocking(), threading.Event()

    async def talk(_: State, context: NodeContext) -> State:
        begun.set()
        await asyncio.sleep(0.2)
        context.emit("here")
        return {}

    calls = Calls({"m:block": blocking.block, "f": talk}, loops=loops)
    work = function_work("f").model_copy(update={"idle_timeout": 1.0})
    talking = asyncio.create_task(calls.run(work))
    await until(begun.is_set)
    blocked = asyncio.create_task(calls.function("m:block"))
    await asyncio.wait((talking,), timeout=3.0)
    blocking.go.set()
    success(await talking)
    success(await blocked)


async def test_time_in_which_the_process_stood_still_is_not_charged() -> None:
    """A timer that comes out of a stall gives the call as long again as it is late."""
    begun = asyncio.Event()
    go = threading.Event()

    @tool(side_effect="write")
    async def pay() -> str:
        begun.set()
        await asyncio.to_thread(go.wait, DEADLINE)
        return "paid"

    calls = Calls(tools=(pay,))
    call = asyncio.create_task(calls.tool("pay", {}, within=1.0))
    await begun.wait()
    time.sleep(3)  # noqa: ASYNC251  # the process stands still
    go.set()
    assert success(await call).content == "paid"


async def test_silence_while_the_process_stood_still_is_not_charged() -> None:
    begun = asyncio.Event()

    async def talk(_: State, context: NodeContext) -> State:
        begun.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0.2)
        context.emit("here")
        return {}

    calls = Calls({"f": talk})
    work = function_work("f").model_copy(update={"idle_timeout": 1.0})
    call = asyncio.create_task(calls.run(work))
    await begun.wait()
    time.sleep(3)  # noqa: ASYNC251  # the process stands still
    success(await call)


async def test_a_timeout_is_one_all_the_same(loops: UserLoops) -> None:
    async def slow(_: State) -> None:
        await asyncio.Event().wait()

    assert failure(await Calls({"f": slow}, loops=loops).function("f", within=0.1)).retryable


async def test_close_cancels_what_is_left() -> None:
    before = set(threading.enumerate())
    loops, cancelled, begun = UserLoops(), threading.Event(), threading.Event()

    async def for_ever() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    kept: list[asyncio.Task[None]] = []

    async def spawn(_: State) -> None:
        kept.append(asyncio.create_task(for_ever()))

    success(await Calls({"f": spawn}, loops=loops).function("f"))
    await until(begun.is_set)
    await loops.close()
    assert cancelled.is_set()
    assert not [
        one for one in set(threading.enumerate()) - before if one.name.startswith("partsong-user")
    ]


async def test_a_module_that_was_not_imported_yet_is_imported_in_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "warehouse"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "heavy.py").write_text(
        "import threading\nWHERE = threading.get_ident()\n\ndef f(state):\n    return {'in': WHERE}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    executor = Executor(Functions(["warehouse"]), ToolRegistry())
    await executor.load(function_work("warehouse.heavy:f"))
    await executor.load(function_work("warehouse.heavy:nothing"))
    await executor.load(function_work("elsewhere:f"))
    done = success(await executor.run(function_work("warehouse.heavy:f"), lambda _chunk: None))
    assert done.update is not None
    assert done.update["in"] != threading.get_ident()
    executor.close()
