"""Only a clear yes is one, and an approver that breaks is an error that says so."""

from __future__ import annotations

import asyncio

import pytest

from partsong.contracts.errors import InvalidInput, Unavailable
from partsong.contracts.graph.function_results import Edited
from partsong.runtime.consent import consent

EDITED = Edited({"tasks": []})


class Panic(BaseException):
    """What a library in native code may raise."""


async def later(answer: object) -> object:
    await asyncio.sleep(0)
    return answer


@pytest.mark.parametrize("answer", [True, False, EDITED])
async def test_yes_no_and_another_value_are_answers(answer: bool | Edited) -> None:
    async def says(_question: str) -> bool | Edited:
        return answer

    assert await consent(says, "?", "wipe") is answer
    assert await consent(lambda _question: answer, "?", "wipe") is answer


@pytest.mark.parametrize(
    "answer",
    ["no", "yes", 1, 0, 2, None, (False, "too risky"), {"approve": False}, ["no"], object()],
)
async def test_nothing_else_is(answer: object) -> None:
    with pytest.raises(InvalidInput) as raised:
        await consent(lambda _question: later(answer), "?", "wipe")  # type: ignore[type-var]
    assert raised.value.problem.code == "approval.unclear"
    assert "wipe" in raised.value.problem.message


@pytest.mark.parametrize(
    "error", [ValueError("down"), Panic("unwrap"), SystemExit(1), GeneratorExit()]
)
async def test_an_approver_that_raises_has_asked_nobody(error: BaseException) -> None:
    def breaks(_question: str) -> bool:
        raise error

    with pytest.raises(Unavailable) as raised:
        await consent(breaks, "?", "wipe")
    assert raised.value.problem.code == "approval.failed"
    assert raised.value.problem.fault == "caller"
    assert type(error).__name__ in raised.value.problem.message
    assert raised.value.__cause__ is error


async def test_who_cancels_is_not_kept() -> None:
    async def waits(_question: str) -> bool:
        await asyncio.Event().wait()
        return True

    asking = asyncio.ensure_future(consent(waits, "?", "wipe"))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
