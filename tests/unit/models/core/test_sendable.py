"""What vendors refuse is not sent to them, whoever stored it."""

from __future__ import annotations

import pytest

from partsong.contracts.talk.messages import (
    AssistantMessage,
    Message,
    Part,
    ReasoningStatePart,
    TextPart,
    ToolCallPart,
    UserMessage,
)
from partsong.models.core.sendable import sendable

ASK = UserMessage(text="a")
THOUGHT = ReasoningStatePart(provider="openai", form="reasoning_item", opaque={})


def said(*parts: Part) -> AssistantMessage:
    return AssistantMessage(parts=parts)


@pytest.mark.parametrize(
    "nothing", [said(), said(TextPart(text=" \n")), said(THOUGHT), said(THOUGHT, TextPart(text=""))]
)
def test_an_answer_that_says_nothing_is_left_out(nothing: Message) -> None:
    assert sendable((ASK, nothing, ASK)) == (ASK, ASK)


def test_blank_text_beside_a_call_is_left_out() -> None:
    call = ToolCallPart(id="1", name="look")
    assert sendable((ASK, said(TextPart(text="\n"), call))) == (ASK, said(call))


def test_what_says_something_is_the_same_object() -> None:
    whole = (ASK, said(THOUGHT, TextPart(text="b")), ASK)
    assert sendable(whole) is whole
