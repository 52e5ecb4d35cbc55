"""Attacks on approval: hints that come twice, hints that claim what nobody has decided, and hints with other arguments."""

from __future__ import annotations

import pytest
from pydantic import JsonValue

from partsong.contracts.events import ApprovalDecided, CallFailed, Event
from partsong.contracts.wire.work import ToolWork
from partsong.execution.functions import Functions
from partsong.testing.nats import Bus
from partsong.tool_runner.app import ToolRunner
from partsong.tools import ToolRegistry, tool
from tests.support.hinted import Hinted, running


@pytest.fixture
async def engine(bus: Bus) -> Hinted:
    return Hinted(bus, "tool-runner")


class Till:
    """A tool that pays, once a person has agreed, and one that only looks, likewise."""

    def __init__(self) -> None:
        self.paid: list[int] = []

    def runner(self) -> ToolRunner:
        @tool(approval="always")
        def pay(amount: int) -> str:
            """Pays."""
            self.paid.append(amount)
            return "paid"

        @tool(approval="args.amount > 100", side_effect="read")
        def look(amount: int) -> str:
            """Looks."""
            self.paid.append(amount)
            return "seen"

        return ToolRunner(Functions(()), ToolRegistry((pay, look)))


def work(
    amount: int, *, call: str = "t:1", attempt: int = 1, by: str | None = None, name: str = "pay"
) -> ToolWork:
    args: dict[str, JsonValue] = {"amount": amount}
    return ToolWork(
        run_id="r_1", call_id=call, node="t", tool=name, args=args, attempt=attempt, approved=by
    )


async def decided(engine: Hinted, call: str, decision: str = "approve") -> None:
    """A person answers the question about a call's first attempt."""
    question = work(0, call=f"{call}/p1")
    event = ApprovalDecided(
        id=f"{question.call_id}.decided",
        call_id=question.call_id,
        decision="approve" if decision == "approve" else "reject",
        by="ann",
    )
    await engine.append(question, event)


async def about(engine: Hinted, call: str, count: int) -> list[Event]:
    return await engine.about(work(0, call=call), count)


async def test_a_call_that_nobody_approved_is_claimed_and_closed_unmade(engine: Hinted) -> None:
    till = Till()
    async with running(engine.bus, till.runner()):
        await engine.hint(*[work(5)] * 3)
        _, failed = await about(engine, "t:1", 2)
        await engine.worked_off()
    assert isinstance(failed, CallFailed)
    assert failed.error.code == "tool.approval_required"
    assert await engine.so_far(work(5)) == ["call.claimed", "call.failed"]
    assert till.paid == []


@pytest.mark.parametrize("name", ["pay", "look"])
async def test_what_was_approved_is_called_once_however_often_it_is_hinted(
    engine: Hinted, name: str
) -> None:
    till = Till()
    async with running(engine.bus, till.runner()):
        await engine.hint(work(500, name=name))
        await about(engine, "t:1", 2)
        await decided(engine, "t:1")
        approved = work(500, attempt=2, by="ann", name=name)
        await engine.hint(approved)
        await engine.worked_off()
        assert till.paid == [500]
        if name == "pay":
            await engine.hint(*[approved] * 2, work(500, name=name))
            await engine.worked_off()
    assert till.paid == [500]


async def test_the_word_of_a_hint_alone_approves_nothing(engine: Hinted) -> None:
    till = Till()
    async with running(engine.bus, till.runner()):
        await engine.hint(work(5, by="mallory"))
        _, failed = await about(engine, "t:1", 2)
        assert isinstance(failed, CallFailed)
        await engine.hint(work(5, attempt=2, by="mallory"))
        *_, again = await about(engine, "t:1", 4)
    assert isinstance(again, CallFailed)
    assert again.error.code == "tool.approval_required"
    assert till.paid == []


async def test_an_approval_of_one_call_is_none_of_another(engine: Hinted) -> None:
    till = Till()
    async with running(engine.bus, till.runner()):
        await engine.hint(work(5), work(5, call="t:2"))
        await about(engine, "t:1", 2)
        await about(engine, "t:2", 2)
        await decided(engine, "t:1")
        await engine.hint(work(5, call="t:2", attempt=2, by="ann"))
        *_, failed = await about(engine, "t:2", 4)
    assert isinstance(failed, CallFailed)
    assert till.paid == []


@pytest.mark.parametrize(("amount", "decision"), [(6, "approve"), (5, "reject")])
async def test_other_arguments_or_a_refusal_approve_nothing(
    engine: Hinted, amount: int, decision: str
) -> None:
    till = Till()
    async with running(engine.bus, till.runner()):
        await engine.hint(work(5))
        await about(engine, "t:1", 2)
        await decided(engine, "t:1", decision)
        await engine.hint(work(amount, attempt=2, by="ann"))
        *_, failed = await about(engine, "t:1", 4)
    assert isinstance(failed, CallFailed)
    assert failed.unapproved is not None
    assert failed.unapproved.args == {"amount": amount}
    assert till.paid == []


async def test_a_harmless_call_needs_no_log_to_say_so(engine: Hinted) -> None:
    till = Till()
    async with running(engine.bus, till.runner()):
        await engine.hint(work(5, by="anybody", name="look"))
        await engine.worked_off()
    assert till.paid == [5]
    assert await engine.so_far(work(5)) == ["call.completed"]
