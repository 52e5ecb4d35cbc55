"""Only a clear yes is one, and an approver that breaks is an error that says so."""

from __future__ import annotations

import asyncio

import pytest

from partsong.contracts.errors import InvalidInput, Unavailable
from partsong.contracts.graph.function_results import Approved, Edited, Rejected
from partsong.runtime.consent import Answer, Verdict, consent, reason_of

EDITED = Edited({"tasks": []})


class Panic(BaseException):
    """What a library in native code may raise."""


async def later(answer: object) -> object:
    await asyncio.sleep(0)
    return answer


@pytest.mark.parametrize(
    ("answer", "meant"),
    [
        (True, Approved()),
        (False, Rejected()),
        (EDITED, EDITED),
        (Approved("seen"), Approved("seen")),
        (Rejected("too risky"), Rejected("too risky")),
    ],
)
async def test_yes_no_and_another_value_are_answers(answer: Answer, meant: Verdict) -> None:
    async def says(_question: str) -> Answer:
        return answer

    assert await consent(says, "?", "wipe") == meant
    assert await consent(lambda _question: answer, "?", "wipe") == meant


@pytest.mark.parametrize(
    "answer",
    ["no", "yes", 1, 0, 2, None, (False, "too risky"), {"approve": False}, ["no"], object()],
)
async def test_nothing_else_is(answer: object) -> None:
    with pytest.raises(InvalidInput) as raised:
        await consent(lambda _question: later(answer), "?", "wipe")  # type: ignore[arg-type,return-value]
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


async def test_an_answer_that_takes_too_long_is_none() -> None:
    async def waits(_question: str) -> bool:
        await asyncio.Event().wait()
        return True

    with pytest.raises(Unavailable) as raised:
        await consent(waits, "?", "wipe", within=0.01)
    assert raised.value.problem.code == "approval.expired"


async def test_a_time_out_of_the_approver_is_its_own_failure() -> None:
    async def breaks(_question: str) -> bool:
        raise TimeoutError("the desk did not answer")

    with pytest.raises(Unavailable) as raised:
        await consent(breaks, "?", "wipe", within=60)
    assert raised.value.problem.code == "approval.failed"


class Mute:
    """Does not let itself be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


async def test_what_cannot_be_shown_is_named_by_its_type() -> None:
    with pytest.raises(InvalidInput, match="returned a Mute"):
        await consent(lambda _question: later(Mute()), "?", "wipe")  # type: ignore[arg-type,return-value]


@pytest.mark.parametrize(
    ("reason", "kept"), [(None, None), ("why", "why"), ("a\0b\ud800", "ab?"), (7, "7")]
)
def test_a_reason_is_text_that_a_log_can_hold(reason: object, kept: str | None) -> None:
    assert reason_of(Rejected(reason)) == kept  # type: ignore[arg-type]


async def test_who_cancels_is_not_kept() -> None:
    async def waits(_question: str) -> bool:
        await asyncio.Event().wait()
        return True

    asking = asyncio.ensure_future(consent(waits, "?", "wipe"))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
