"""The executor: a tool's call, with its options."""

from __future__ import annotations

import asyncio
import threading

import pytest
from pydantic import JsonValue

from partsong.contracts.errors import InvalidInput
from partsong.contracts.events import CallFailed, CallSuspended
from partsong.contracts.graph.function_results import NodeContext
from partsong.contracts.wire.work import Resume, ToolWork
from partsong.tools import tool
from partsong.tools.tool import AnyTool, SideEffect
from tests.unit.execution.calls import DEADLINE, Calls, failure, success


async def test_a_result_is_the_content() -> None:
    done = success(await Calls().tool("calculator", {"expression": "0.1 + 0.2"}))
    assert done.content == "0.3"
    assert (done.update, done.label) == (None, None)
    assert (done.id, done.cause) == ("r_1.n:1.1.closed", "r_1.n:1.1.requested")


async def test_an_unknown_tool_is_not_worth_a_retry() -> None:
    problem = failure(await Calls().tool("calculater", {}))
    assert problem.code == "tool.unknown"
    assert "close: calculator" in problem.message
    assert not problem.retryable


async def test_arguments_are_checked_before_anything_is_called() -> None:
    called = []

    @tool
    def act(amount: int) -> None:
        called.append(amount)

    problem = failure(await Calls(tools=(act,)).tool("act", {"amount": "many"}))
    assert problem.code == "tool.invalid_arguments"
    assert problem.where == "args.amount"
    assert not problem.retryable
    assert called == []


async def test_a_tool_may_refuse_for_good() -> None:
    problem = failure(await Calls().tool("calculator", {"expression": "1/0"}))
    assert problem.code == "calculator.undefined"
    assert not problem.retryable


async def test_a_tool_gets_the_context_and_may_show_progress() -> None:
    @tool
    async def act(context: NodeContext) -> str:
        context.emit("half")
        return context.idempotency_key

    calls = Calls(tools=(act,))
    assert success(await calls.tool("act", {})).content == "r_1/n:1"
    assert [chunk.kind for chunk in calls.chunks] == ["text", "end"]


async def test_a_long_result_is_cut() -> None:
    @tool(output_cap=3)
    def long() -> str:
        return "abcdef"

    content = success(await Calls(tools=(long,)).tool("long", {})).content
    assert content == "abc\n[cut: 6 characters in all, these are the first 3]"


async def test_a_secret_is_not_in_the_error() -> None:
    @tool(redact=("token",))
    def login(token: str) -> None:
        raise ValueError(f"bad token {token}")

    problem = failure(await Calls(tools=(login,)).tool("login", {"token": "hunter2"}))
    assert problem.message == "ValueError: bad token [redacted]"
    assert problem.where is not None
    assert problem.where.startswith("test_executor_tools.py:")


async def test_a_secret_is_not_in_the_result() -> None:
    @tool(redact=("token",))
    def echo(token: str, times: int) -> dict[str, list[str]]:
        return {"said": [f"token={token}"] * times, token: []}

    done = success(await Calls(tools=(echo,)).tool("echo", {"token": "hunter2", "times": 2}))
    assert done.content == {"said": ["token=[redacted]"] * 2, "[redacted]": []}


async def test_a_result_that_json_cannot_hold_is_a_failure() -> None:
    @tool
    def act() -> object:
        return object()

    problem = failure(await Calls(tools=(act,)).tool("act", {}))
    assert problem.code == "tool.bad_return"
    assert not problem.retryable


class TestTime:
    @pytest.mark.parametrize(
        ("own", "call"), [(0.01, None), (0.01, DEADLINE), (DEADLINE, 0.01), (None, 0.01)]
    )
    async def test_the_shorter_of_both_times_holds(
        self, own: float | None, call: float | None
    ) -> None:
        @tool(timeout=own, side_effect="read")
        async def slow() -> None:
            await asyncio.Event().wait()

        problem = failure(await Calls(tools=(slow,)).tool("slow", {}, within=call))
        assert problem.code == "tool.timeout"
        assert problem.retryable

    async def test_after_a_timeout_a_guarded_tool_is_not_repeated(self) -> None:
        release = threading.Event()

        @tool(timeout=0.01, side_effect="write")
        def pay() -> None:
            release.wait()

        calls = Calls(tools=(pay,))
        problem = failure(await calls.tool("pay", {}))
        assert problem.code == "tool.timeout"
        assert "its effect may still happen" in problem.message
        assert not problem.retryable
        release.set()
        await calls.none_abandoned()

    async def test_no_more_calls_of_a_tool_run_at_once_than_it_allows(self) -> None:
        running, most = 0, 0

        @tool(concurrency=2)
        async def count() -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1

        calls = Calls(tools=(count,))
        await asyncio.gather(*(calls.tool("count", {}) for _ in range(10)))
        assert most == 2

    async def test_who_waits_for_a_busy_tool_holds_no_slot(self) -> None:
        release = asyncio.Event()

        @tool(concurrency=1)
        async def busy() -> None:
            await release.wait()

        calls = Calls(tools=(busy,), slots=2)
        waiting = [asyncio.create_task(calls.tool("busy", {})) for _ in range(5)]
        success(await calls.tool("calculator", {"expression": "1"}))
        release.set()
        for task in waiting:
            success(await task)


class TestRetries:
    async def test_a_tool_that_raised_is_called_again(self) -> None:
        tries = []

        @tool(side_effect="read", retries=2)
        def flaky() -> str:
            tries.append(1)
            if len(tries) < 3:
                raise ConnectionError("gone")
            return "here"

        assert success(await Calls(tools=(flaky,)).tool("flaky", {})).content == "here"
        assert len(tries) == 3

    async def test_after_the_last_retry_the_error_stands(self) -> None:
        tries = []

        @tool(side_effect="read", retries=1)
        async def down() -> None:
            tries.append(1)
            raise ConnectionError(f"gone {len(tries)}")

        problem = failure(await Calls(tools=(down,)).tool("down", {}))
        assert problem.message == "ConnectionError: gone 2"
        assert problem.retryable

    async def test_an_error_for_good_is_not_retried(self) -> None:
        tries = []

        @tool(side_effect="read", retries=5)
        def wrong() -> None:
            tries.append(1)
            raise InvalidInput("x.wrong", "never")

        assert failure(await Calls(tools=(wrong,)).tool("wrong", {})).code == "x.wrong"
        assert len(tries) == 1

    async def test_retries_end_with_the_time_of_the_call(self) -> None:
        tries = []

        @tool(side_effect="read", retries=1000)
        async def down() -> None:
            tries.append(1)
            raise ConnectionError("gone")

        problem = failure(await Calls(tools=(down,)).tool("down", {}, within=0.5))
        assert problem.code == "tool.raised"
        assert len(tries) < 10


def paying(approval: str, called: list[int]) -> AnyTool:
    @tool(approval=approval, redact=("pin",))
    def pay(amount: int, pin: str = "1234") -> str:
        """Pays."""
        called.append(amount)
        return f"paid {amount}"

    return pay


def order(
    name: str,
    args: dict[str, JsonValue],
    *,
    tools: tuple[str, ...] = (),
    approved: str | None = None,
    asks: SideEffect | None = None,
) -> ToolWork:
    return ToolWork(
        run_id="r_1",
        call_id="n:1",
        node="n",
        tool=name,
        args=args,
        tools=tools,
        approved=approved,
        asks=asks,
    )


async def test_a_call_that_needs_approval_is_not_made_and_its_secrets_are_not_shown() -> None:
    called: list[int] = []
    calls = Calls(tools=(paying("always", called),))
    done = await calls.run(order("pay", {"amount": 5, "pin": "9999"}))
    assert isinstance(done, CallFailed)
    assert done.error.code == "tool.approval_required"
    assert done.unapproved is not None
    assert done.unapproved.args == {"amount": 5, "pin": "[redacted]"}
    assert "9999" not in done.model_dump_json()
    assert called == []


async def test_an_approved_call_is_made() -> None:
    called: list[int] = []
    calls = Calls(tools=(paying("always", called),))
    done = success(await calls.run(order("pay", {"amount": 5}, approved="ann")))
    assert (done.content, called) == ("paid 5", [5])


async def test_nobody_is_asked_about_wrong_arguments() -> None:
    calls = Calls(tools=(paying("always", []),))
    assert failure(await calls.tool("pay", {"amount": "all"})).code == "tool.invalid_arguments"


async def test_a_rule_decides_by_the_arguments() -> None:
    called: list[int] = []
    calls = Calls(tools=(paying("args.amount > 100", called),))
    assert failure(await calls.tool("pay", {"amount": 101})).code == "tool.approval_required"
    assert success(await calls.tool("pay", {"amount": 100})).content == "paid 100"
    assert called == [100]


async def test_an_agent_may_ask_about_any_tool() -> None:
    calls = Calls()
    args: dict[str, JsonValue] = {"expression": "1"}
    assert failure(await calls.run(order("calculator", args, asks="none"))).code == (
        "tool.approval_required"
    )
    assert success(await calls.run(order("calculator", args, asks="read"))).content == "1"


CODE = """
first = calculator("6 * 7")
try:
    refused = pay(amount=1)
except RuntimeError as error:
    refused = str(error)
print(first)
[first, refused]
"""


async def test_code_waits_for_the_tools_it_calls_and_another_process_goes_on_with_it() -> None:
    called: list[int] = []
    tools = (paying("always", called),)
    work = order("run_code", {"code": CODE}, tools=("calculator", "pay"))
    first = await Calls(tools=tools).run(work)
    assert isinstance(first, CallSuspended)
    assert (first.tool, first.args) == ("calculator", {"expression": "6 * 7"})
    resume = Resume(snapshot=first.snapshot, result="42")
    second = await Calls(tools=tools).run(work.model_copy(update={"attempt": 2, "resume": resume}))
    assert isinstance(second, CallSuspended)
    assert (second.tool, second.args, second.attempt) == ("pay", {"amount": 1}, 2)
    resume = Resume(snapshot=second.snapshot, error="approval.rejected: no")
    done = success(
        await Calls(tools=tools).run(work.model_copy(update={"attempt": 3, "resume": resume}))
    )
    assert done.content == {"value": ["42", "approval.rejected: no"], "printed": "42\n"}
    assert called == []


async def test_code_reaches_no_tool_that_it_was_not_given() -> None:
    called: list[int] = []
    calls = Calls(tools=(paying("never", called),))
    for tools in ((), ("calculator",)):
        done = await calls.run(order("run_code", {"code": "pay(amount=1)"}, tools=tools))
        assert "pay" in failure(done).message
    assert called == []


async def test_a_snapshot_that_is_none_is_refused() -> None:
    resume = Resume(snapshot="AAAA", result="42")
    work = order("run_code", {"code": CODE}, tools=("calculator",))
    done = await Calls().run(work.model_copy(update={"resume": resume}))
    assert failure(done).code == "code.bad_snapshot"


async def test_whoever_lacks_a_tool_that_code_may_call_leaves_it_to_others() -> None:
    executor = Calls().executor
    assert executor.lacks(order("run_code", {"code": "1"}, tools=("pay",)))
    assert not executor.lacks(order("run_code", {"code": "1"}, tools=("calculator",)))
    assert not executor.lacks(order("calculator", {"expression": "1"}, tools=("pay",)))
