"""Messages: what they look like on the wire, and that nothing in them is lost."""

from __future__ import annotations

import pytest
from pydantic import JsonValue, ValidationError

from partsong.contracts.talk.messages import (
    MESSAGE,
    MESSAGES,
    AssistantMessage,
    Message,
    ReasoningStatePart,
    RefusalPart,
    ServerToolPart,
    TextPart,
    ToolCallPart,
    ToolMessage,
    UserMessage,
)

ASSISTANT = AssistantMessage(
    parts=(
        ReasoningStatePart(provider="p", form="signature", opaque={"deep": [1, None]}),
        TextPart(text="Hi"),
        RefusalPart(text="no"),
        ServerToolPart(provider="p", data={"x": 1}),
        TextPart(text=" there"),
        ToolCallPart(id="c1", name="look", args={"a": [1, {"b": None}]}),
        ToolCallPart(id="c2", name="look"),
    )
)
ALL: tuple[Message, ...] = (
    UserMessage(text="hello"),
    ASSISTANT,
    ToolMessage(call_id="c1", name="look", content={"found": True}),
    ToolMessage(call_id="c2", name="look", content=None, is_error=True),
)


@pytest.mark.parametrize("message", ALL, ids=lambda message: message.role)
def test_a_message_survives_the_wire_without_its_defaults(message: Message) -> None:
    sent = message.model_dump(mode="json", exclude_defaults=True)
    assert sent["role"] == message.role
    assert MESSAGE.validate_python(sent) == message
    assert MESSAGE.validate_json(MESSAGE.dump_json(message, exclude_defaults=True)) == message


def test_a_conversation_survives_the_wire() -> None:
    assert MESSAGES.validate_json(MESSAGES.dump_json(ALL, exclude_defaults=True)) == ALL


def test_what_is_default_does_not_travel() -> None:
    sent = UserMessage(text="hi").model_dump(mode="json", exclude_defaults=True)
    assert sent == {"role": "user", "text": "hi"}
    assert ASSISTANT.model_dump(mode="json", exclude_defaults=True)["parts"][-1] == {
        "kind": "tool_call",
        "id": "c2",
        "name": "look",
    }


def test_fields_nobody_knows_are_kept() -> None:
    raw = {"role": "user", "text": "hi", "mood": {"good": True}}
    assert MESSAGE.validate_python(raw).model_dump(exclude_defaults=True) == raw


@pytest.mark.parametrize(
    "raw", [{}, {"role": "system", "text": "x"}, {"role": "assistant", "parts": [{"text": "x"}]}]
)
def test_a_message_without_its_tag_is_refused(raw: dict[str, JsonValue]) -> None:
    with pytest.raises(ValidationError):
        MESSAGE.validate_python(raw)


def test_text_and_calls_of_an_answer_are_read_in_order() -> None:
    assert ASSISTANT.text == "Hi there"
    assert [call.id for call in ASSISTANT.tool_calls] == ["c1", "c2"]


@pytest.mark.parametrize(
    ("content", "text"),
    [("plain", "plain"), ({"a": "ü"}, '{"a":"ü"}'), (None, "null"), ([1, 2], "[1,2]")],
)
def test_a_result_is_read_as_text_or_compact_json(content: JsonValue, text: str) -> None:
    assert ToolMessage(call_id="c", name="n", content=content).text == text


def test_messages_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        ASSISTANT.parts = ()  # type: ignore[misc]  # frozen
