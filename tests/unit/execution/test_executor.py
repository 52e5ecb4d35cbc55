"""The executor: a function's call ends in exactly one event, whatever the function does."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import json
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest
from pydantic import JsonValue

from partsong.contracts.durations import format_duration
from partsong.contracts.errors import PartsongError
from partsong.contracts.graph.function_results import NodeContext, Route
from partsong.contracts.state import calls as contract
from partsong.contracts.talk.chunks import Chunk, End, Failed, Raw, Text
from partsong.execution import executor
from tests.unit.execution.calls import DEADLINE, Calls, failure, function_work, success

BEGUN = 0.2
"""Seconds after which a call is cut off that must have begun by then, also on a slow machine."""

State = dict[str, JsonValue]


def line_of(function: Callable[..., object], text: str) -> str:
    lines, first = inspect.getsourcelines(function)
    at = next(first + i for i, line in enumerate(lines) if text in line)
    return f"test_executor.py:{at}"


async def add_async(state: State) -> State:
    return {"seen": state["x"], "thread": threading.get_ident()}


def add_sync(state: State) -> State:
    return {"seen": state["x"], "thread": threading.get_ident()}


async def test_an_async_function_runs_in_the_loop() -> None:
    done = success(await Calls({"f": add_async}).function("f", {"x": 1}))
    assert done.update == {"seen": 1, "thread": threading.get_ident()}


async def test_a_sync_function_runs_in_a_thread() -> None:
    done = success(await Calls({"f": add_sync}).function("f", {"x": 1}))
    assert done.update is not None
    assert done.update["thread"] != threading.get_ident()


async def test_the_event_says_which_call_it_closes() -> None:
    calls = Calls({"f": lambda _: Route("left", {"a": 1})})
    done = success(await calls.function("f"))
    assert (done.id, done.cause) == ("r_1.n:2.3.closed", "r_1.n:2.3.requested")
    assert (done.call_id, done.attempt, done.worker) == ("n:2", 3, "w1")
    assert (done.label, done.update) == ("left", {"a": 1})
    assert done.time.endswith("Z")


async def test_a_function_gets_the_context_of_its_call() -> None:
    def keyed(state: State, context: NodeContext) -> State:
        return {"context": [context.run_id, context.node, context.attempt, context.idempotency_key]}

    done = success(await Calls({"f": keyed}).function("f"))
    assert done.update == {"context": ["r_1", "n", 3, "r_1/n:2"]}


@pytest.mark.parametrize("asynchronous", [True, False])
async def test_what_a_function_does_to_its_state_does_not_leak(asynchronous: bool) -> None:
    def spoil(state: State) -> None:
        inner = state["list"]
        assert isinstance(inner, list)
        inner.append("spoilt")
        state["more"] = True

    async def spoil_async(state: State) -> None:
        spoil(state)

    work = function_work("f", {"list": [1]})
    success(await Calls({"f": spoil_async if asynchronous else spoil}).run(work))
    assert work.state == {"list": [1]}


async def test_a_sync_function_may_return_something_to_await() -> None:
    async def later() -> State:
        return {"late": True}

    done = success(await Calls({"f": lambda _: later()}).function("f", within=DEADLINE))
    assert done.update == {"late": True}


async def test_what_it_returns_to_await_shares_its_time() -> None:
    async def never() -> None:
        await asyncio.Event().wait()

    problem = await Calls({"f": lambda _: never()}).problem("f", within=0.2)
    assert problem.message == "f gave no result within 200ms"


async def test_context_variables_reach_the_thread() -> None:
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("set")
    done = success(await Calls({"f": lambda _: {"variable": variable.get()}}).function("f"))
    assert done.update == {"variable": "set"}


class Panic(BaseException):
    """Like that of PyO3, which is no Exception, so that nobody catches it by accident."""


class TestFailures:
    async def test_an_unknown_function_is_not_worth_a_retry(self) -> None:
        problem = await Calls().problem("m:f")
        assert problem.code == "function.not_found"
        assert not problem.retryable

    async def test_a_bad_return_is_not_worth_a_retry(self) -> None:
        problem = await Calls({"f": lambda _: 3}).problem("f")
        assert problem.code == "function.bad_return"
        assert not problem.retryable

    async def test_an_exception_is_named_and_placed_in_the_users_file(self) -> None:
        def load(state: State) -> State:
            return parse("{")

        def parse(text: str) -> State:
            value: State = json.loads(text)  # fails in a library
            return value

        problem = await Calls({"f": load}).problem("f")
        assert problem.code == "function.raised"
        assert problem.message.startswith("JSONDecodeError: Expecting property name")
        assert problem.where == line_of(parse, "fails in a library")
        assert problem.retryable
        assert problem.fault == "tool"

    async def test_an_async_exception_is_placed_too(self) -> None:
        async def fail(state: State) -> None:
            raise KeyError("x")  # here

        problem = await Calls({"f": fail}).problem("f")
        assert problem.message == "KeyError: 'x'"
        assert problem.where == line_of(fail, "# here")

    async def test_an_error_of_this_project_keeps_its_code_and_its_verdict(self) -> None:
        def fail(state: State) -> None:
            raise PartsongError("shop.closed", "it is night", retryable=False)  # here

        problem = await Calls({"f": fail}).problem("f")
        assert (problem.code, problem.message, problem.retryable) == (
            "shop.closed",
            "it is night",
            False,
        )
        assert problem.where == line_of(fail, "# here")

    async def test_of_a_group_the_first_error_is_told(self) -> None:
        async def fail(state: State) -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(one(ValueError("first")))
                group.create_task(one(ValueError("second")))

        async def one(error: Exception) -> None:
            raise error

        problem = await Calls({"f": fail}).problem("f")
        assert problem.message == "ValueError: first (and 1 more)"

    @pytest.mark.parametrize("asynchronous", [True, False])
    @pytest.mark.parametrize(
        ("error", "message"),
        [
            (SystemExit(3), "SystemExit: 3"),
            (StopIteration(3), "StopIteration: 3"),
            (asyncio.CancelledError(), "CancelledError"),
            (TimeoutError("mine"), "TimeoutError: mine"),
            (RuntimeError("\ud800"), "RuntimeError: ?"),
            (RuntimeError("a\0b"), "RuntimeError: a\N{REPLACEMENT CHARACTER}b"),
            (GeneratorExit(), "GeneratorExit"),
            (Panic("of a library in Rust"), "Panic: of a library in Rust"),
            (RuntimeError("x" * 5000), f"RuntimeError: {'x' * 1986}…"),
        ],
    )
    async def test_no_exception_escapes(
        self, asynchronous: bool, error: BaseException, message: str
    ) -> None:
        def fail(state: State) -> None:
            raise error

        async def fail_async(state: State) -> None:
            raise error

        if asynchronous and isinstance(error, StopIteration):
            message = "RuntimeError: coroutine raised StopIteration"
        problem = await Calls({"f": fail_async if asynchronous else fail}).problem("f")
        assert problem.code == "function.raised"
        assert problem.message == message

    async def test_an_error_that_cannot_be_shown_is_still_told(self) -> None:
        class Broken(Exception):
            def __str__(self) -> str:
                raise ValueError

        def fail(state: State) -> None:
            raise Broken

        problem = await Calls({"f": fail}).problem("f")
        assert problem.message == "Broken: (its text cannot be shown: ValueError)"

    async def test_a_value_that_breaks_while_it_is_read_is_a_failure(self) -> None:
        class Trap(dict[str, object]):
            def items(self) -> object:  # type: ignore[override]
                raise RuntimeError("trapped")

        problem = await Calls({"f": lambda _: Trap(a=1)}).problem("f")
        assert problem.message == "RuntimeError: trapped"


class TestTime:
    async def test_a_slow_async_function_is_cancelled_and_may_clean_up(self) -> None:
        cleaned = asyncio.Event()

        async def slow(state: State) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                cleaned.set()

        calls = Calls({"f": slow}, slots=1)
        problem = await calls.problem("f", within=BEGUN)
        assert problem.code == "function.timeout"
        assert problem.message == f"f gave no result within {format_duration(BEGUN)}"
        assert problem.retryable
        assert cleaned.is_set()
        assert calls.executor.abandoned == 0

    async def test_a_function_without_a_timeout_has_a_day(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert contract.FUNCTION_TIMEOUT == 24 * 3600
        monkeypatch.setattr(executor, "FUNCTION_TIMEOUT", BEGUN)  # a day is too long for a test

        async def endless(state: State) -> None:
            await asyncio.Event().wait()

        problem = await Calls({"f": endless}).problem("f")
        assert problem.code == "function.timeout"

    async def test_an_async_function_that_ignores_cancellation_is_left_behind(self) -> None:
        release = asyncio.Event()

        async def stubborn(state: State) -> None:
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    continue

        calls = Calls({"stuck": stubborn, "f": add_async}, slots=1)
        assert (await calls.problem("stuck", within=BEGUN)).code == "function.timeout"
        assert calls.executor.abandoned == 1
        success(await calls.function("f", {"x": 1}))
        release.set()
        await calls.none_abandoned()

    async def test_a_stuck_sync_function_frees_its_slot(self) -> None:
        release = threading.Event()
        stuck = 20
        calls = Calls({"stuck": lambda _: {"done": release.wait()}, "f": add_sync}, slots=1)
        for count in range(1, stuck + 1):
            assert (await calls.problem("stuck", within=0.001)).code == "function.timeout"
            assert calls.executor.abandoned == count
        success(await calls.function("f", {"x": 1}, within=DEADLINE))
        release.set()
        await calls.none_abandoned()
        success(await calls.function("f", {"x": 1}, within=DEADLINE))

    async def test_the_clock_starts_when_the_call_has_a_slot(self) -> None:
        release = threading.Event()
        calls = Calls({"first": lambda _: {"done": release.wait()}, "second": add_sync}, slots=1)
        first = asyncio.create_task(calls.function("first"))
        second = asyncio.create_task(calls.function("second", {"x": 1}, within=DEADLINE))
        await calls_begun(calls, first)
        assert not second.done()
        release.set()
        success(await first)
        success(await second)

    async def test_no_more_calls_run_at_once_than_there_are_slots(self) -> None:
        running, most = 0, 0

        async def count(state: State) -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1

        calls = Calls({"f": count}, slots=3)
        await asyncio.gather(*(calls.function("f") for _ in range(20)))
        assert most == 3

    async def test_idle_threads_serve_again(self) -> None:
        calls = Calls({"f": add_sync})
        used = set()
        for _ in range(50):
            update = success(await calls.function("f", {"x": 1})).update
            assert update is not None
            used.add(str(update["thread"]))
        assert len(used) == 1

    async def test_closing_ends_the_threads(self) -> None:
        threads: list[threading.Thread] = []
        calls = Calls({"f": lambda _: threads.append(threading.current_thread())})
        success(await calls.function("f"))
        calls.executor.close()
        await asyncio.to_thread(threads[0].join, DEADLINE)
        assert not threads[0].is_alive()

    def test_a_stuck_thread_does_not_keep_the_process(self) -> None:
        done = subprocess.run(
            [sys.executable, "-c", STUCK], capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "function.timeout 1\n", "")


STUCK = """
import asyncio, threading
from partsong.contracts.wire.work import FunctionWork
from partsong.execution.executor import Executor
from partsong.execution.functions import Functions
from partsong.tools import ToolRegistry

async def main():
    executor = Executor(Functions.local({"f": lambda _: threading.Event().wait()}), ToolRegistry())
    work = FunctionWork(run_id="r_1", call_id="n:1", node="n", timeout=0.01, function="f", state={})
    closed = await executor.run(work, print)
    print(closed.error.code, executor.abandoned)

asyncio.run(main())
"""


async def calls_begun(calls: Calls, *tasks: asyncio.Task[object]) -> None:
    """A turn of the loop for each task to begin, and one more for whoever waits behind it."""
    for _ in tasks:
        await asyncio.sleep(0)
    await asyncio.sleep(0)


class TestCancellation:
    async def test_a_cancelled_call_cancels_its_function(self) -> None:
        begun, cleaned = asyncio.Event(), asyncio.Event()

        async def slow(state: State, context: NodeContext) -> None:
            context.emit("begun")
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                cleaned.set()

        calls = Calls({"f": slow}, slots=1)
        task = asyncio.create_task(calls.function("f"))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert cleaned.is_set()
        assert [type(chunk) for chunk in calls.chunks] == [Text, Failed]
        last = calls.chunks[-1]
        assert isinstance(last, Failed)
        assert last.error == "cancelled"

    async def test_a_cancelled_call_leaves_its_thread_and_frees_its_slot(self) -> None:
        begun, release = asyncio.Event(), threading.Event()
        loop = asyncio.get_running_loop()

        def stuck(state: State) -> None:
            loop.call_soon_threadsafe(begun.set)
            release.wait()

        calls = Calls({"stuck": stuck, "f": add_sync}, slots=1)
        task = asyncio.create_task(calls.function("stuck"))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert calls.executor.abandoned == 1
        success(await calls.function("f", {"x": 1}))
        release.set()
        await calls.none_abandoned()

    async def test_a_call_that_waits_for_a_slot_can_be_cancelled(self) -> None:
        release = asyncio.Event()

        async def wait(state: State) -> None:
            await release.wait()

        calls = Calls({"f": wait}, slots=1)
        first, second = (asyncio.create_task(calls.function("f")) for _ in range(2))
        await calls_begun(calls, first, second)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        release.set()
        success(await first)


class TestChunks:
    async def test_a_silent_call_has_no_chunks(self) -> None:
        calls = Calls({"f": lambda _: None})
        success(await calls.function("f"))
        assert calls.chunks == []

    @pytest.mark.parametrize("asynchronous", [True, False])
    async def test_what_is_shown_comes_in_order_and_ends(self, asynchronous: bool) -> None:
        def show(state: State, context: NodeContext) -> None:
            context.emit("one")
            context.emit({"two": [2]})
            context.emit("three")

        async def show_async(state: State, context: NodeContext) -> None:
            show(state, context)

        calls = Calls({"f": show_async if asynchronous else show})
        success(await calls.function("f"))
        tagged = {"call_id": "n:2", "attempt": 3}
        expected: list[Chunk] = [
            Text(text="one", seq=0, **tagged),
            Raw(data={"two": [2]}, seq=1, **tagged),
            Text(text="three", seq=2, **tagged),
            End(stop="stop", seq=3, **tagged),
        ]
        assert calls.chunks == expected

    async def test_a_failed_call_ends_its_chunks_with_the_error(self) -> None:
        def show(state: State, context: NodeContext) -> None:
            context.emit("one")
            raise ValueError("two")

        calls = Calls({"f": show})
        failure(await calls.function("f"))
        last = calls.chunks[-1]
        assert isinstance(last, Failed)
        assert (last.seq, last.error, last.message) == (1, "server", "ValueError: two")

    async def test_what_an_abandoned_thread_shows_is_dropped(self) -> None:
        seen, release, shown = asyncio.Event(), threading.Event(), threading.Event()

        def show(state: State, context: NodeContext) -> None:
            context.emit("in time")
            release.wait()
            context.emit("too late")
            shown.set()

        calls = Calls({"f": show}, seen=seen)
        task = asyncio.create_task(calls.function("f"))
        await seen.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        release.set()
        await asyncio.to_thread(shown.wait, DEADLINE)
        await calls.none_abandoned()
        assert [chunk.kind for chunk in calls.chunks] == ["text", "error"]

    async def test_a_late_call_ends_its_chunks_with_a_timeout(self) -> None:
        async def show(state: State, context: NodeContext) -> None:
            context.emit("one")
            await asyncio.Event().wait()

        calls = Calls({"f": show})
        failure(await calls.function("f", within=BEGUN))
        last = calls.chunks[-1]
        assert isinstance(last, Failed)
        assert (last.seq, last.error) == (1, "timeout")

    async def test_showing_what_json_cannot_hold_fails_the_call(self) -> None:
        def show(state: State, context: NodeContext) -> None:
            context.emit({"a": {1}})  # type: ignore[dict-item]

        problem = await Calls({"f": show}).problem("f")
        assert problem.code == "chunk.not_json"
        assert not problem.retryable


class Lazy(dict[str, JsonValue]):
    """A result that runs code of its author when it is read."""

    def __init__(self, read: Callable[[], object]) -> None:
        super().__init__(x=1)
        self._read = read

    def items(self):  # type: ignore[no-untyped-def]
        self._read()
        return super().items()


async def test_a_result_that_takes_its_time_to_be_read_holds_up_nobody() -> None:
    free = threading.Event()
    calls = Calls({"f": lambda _: Lazy(lambda: free.wait(DEADLINE))})
    try:
        assert (await calls.problem("f", within=BEGUN)).code == "function.timeout"
    finally:
        free.set()


async def test_a_result_that_raises_when_it_is_read_ends_no_process() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt("mine")

    problem = await Calls({"f": lambda _: Lazy(interrupt)}).problem("f")
    assert (problem.code, problem.message) == ("function.raised", "KeyboardInterrupt: mine")
