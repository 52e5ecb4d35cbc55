"""Redacted arguments where a call is made: found in the vault, refused when they are gone, forgotten afterwards."""

from __future__ import annotations

import pytest
from pydantic import JsonValue

from partsong.contracts.events import CallCompleted, CallFailed, CallSuspended
from partsong.contracts.talk.chunks import Chunk
from partsong.contracts.talk.redaction import placeholder
from partsong.contracts.wire.work import ToolWork
from partsong.execution.executor import Executor
from partsong.execution.functions import Functions
from partsong.runtime.vault import MemoryVault
from partsong.tools import ToolRegistry, tool

TOKEN = "t" * 22


@tool(approval="args.pin == '4711'", redact=("pin",))
def pay(amount: int, pin: str) -> str:
    """Pay."""
    return f"paid {amount} with {pin}"


@tool(side_effect="none", idempotent=True)
def look(pin: str) -> str:
    """Look."""
    return pin


def work(tool: str = "pay", call_id: str = "a:1/t1/c0", **args: JsonValue) -> ToolWork:
    args = args or {"amount": 1, "pin": placeholder(TOKEN)}
    return ToolWork(run_id="r_1", call_id=call_id, node="a", tool=tool, args=args)


def emit(_chunk: Chunk) -> None: ...


async def executor(value: bytes | None) -> tuple[Executor, MemoryVault]:
    vault = MemoryVault()
    if value is not None:
        await vault.put(TOKEN, value)
    return Executor(Functions(), ToolRegistry((pay, look)), vault=vault), vault


async def test_the_function_gets_the_value_and_the_result_does_not_say_it() -> None:
    made, vault = await executor(b'"1234"')
    done = await made.called(work(), emit)
    assert isinstance(done, CallCompleted)
    assert done.content == "paid 1 with [redacted]"
    assert await vault.get(TOKEN) is None


async def test_a_rule_sees_the_value_and_a_person_does_not() -> None:
    made, vault = await executor(b'"4711"')
    assert await made.asks(work())
    asked = await made.called(work(), emit)
    assert isinstance(asked, CallFailed)
    assert asked.unapproved is not None
    assert asked.unapproved.args == {"amount": 1, "pin": "[redacted]"}
    assert await vault.get(TOKEN) == b'"4711"', "the call is still to be made"


async def test_the_digest_of_what_is_agreed_to_tells_nobody_a_short_value() -> None:
    """Of four digits there are ten thousand: a digest of them would be the value itself."""
    digests: list[str] = []
    for pin in (b'"4711"', b'"4711"'):
        made, _vault = await executor(pin)
        asked = await made.run(work(), emit)
        assert isinstance(asked, CallFailed)
        assert asked.unapproved is not None
        digests.append(asked.unapproved.digest)
    other, vault = await executor(None)
    await vault.put("o" * 22, b'"4711"')
    asked = await other.run(work(amount=1, pin=placeholder("o" * 22)), emit)
    assert isinstance(asked, CallFailed)
    assert asked.unapproved is not None
    assert digests[0] == digests[1] != asked.unapproved.digest


async def test_a_value_that_is_gone_is_said_and_nothing_is_called() -> None:
    made, _vault = await executor(None)
    failed = await made.run(work(), emit)
    assert isinstance(failed, CallFailed)
    assert failed.error.code == "tool.redacted_gone"


@pytest.mark.parametrize(
    "forged",
    [
        work(call_id="a:1", amount=1, pin=placeholder(TOKEN)),
        work("look", pin=placeholder(TOKEN)),
    ],
    ids=["a node's call", "an argument that is not redacted"],
)
async def test_a_placeholder_elsewhere_is_text(forged: ToolWork) -> None:
    made, vault = await executor(b'"1234"')
    done = await made.called(forged, emit)
    assert isinstance(done, CallCompleted)
    assert "1234" not in str(done.content)
    assert await vault.get(TOKEN) == b'"1234"'


CODE = """
first = pay(amount=1, pin="12" + "34")
look(pin="x")
"""


async def test_code_is_out_of_sight_from_its_first_redacted_call_on() -> None:
    made, vault = await executor(None)
    begun = ToolWork(
        run_id="r_1",
        call_id="a:1",
        node="a",
        tool="run_code",
        args={"code": CODE},
        tools=("pay", "look"),
    )
    first = await made.called(begun, emit)
    assert isinstance(first, CallSuspended)
    assert (first.snapshot[:9], str(first.args["pin"])[:9]) == ("[redacted", "[redacted")
    resume = {"snapshot": first.snapshot, "result": "paid"}
    go_on = begun.model_copy(update={"attempt": 2})
    second = await made.called(
        ToolWork.model_validate({**go_on.model_dump(), "resume": resume}), emit
    )
    assert isinstance(second, CallSuspended)
    assert (second.tool, second.args, second.snapshot[:9]) == ("look", {"pin": "x"}, "[redacted")
    assert await vault.get(first.snapshot[10:-1]) is None, "nobody goes back there"
