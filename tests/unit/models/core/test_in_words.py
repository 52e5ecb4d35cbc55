"""Whatever a model cannot be given is said to it: pictures in prompts and results, and fields of other versions."""

from __future__ import annotations

import base64
import json

import pytest
from pydantic import JsonValue

from partsong.agents import Conversation
from partsong.contracts.errors import InvalidInput
from partsong.contracts.talk.messages import ToolMessage, UserMessage
from partsong.models.core.in_words import in_words
from partsong.testing import FakeLLM
from partsong.testing.fake_llm import Answer, Ask, Call, Finish, Reply, Say
from partsong.tools import tool
from tests.support.agents import WIRES, asking
from tests.support.vendors import no_vendor_settings

__all__ = ["no_vendor_settings"]

PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20
ENCODED = base64.b64encode(PICTURE).decode()


@tool(side_effect="read")
def raw() -> bytes:
    """Takes a picture."""
    return PICTURE


@tool(side_effect="read")
def inside() -> dict[str, object]:
    """Takes pictures."""
    return {"pictures": [PICTURE], "url": f"data:image/png;base64,{ENCODED}"}


def _calling(name: str) -> object:
    def script(ask: Ask) -> Reply:
        if ask.nth:
            return Answer((Say("seen"), Finish()))
        return Answer((Call(name, "{}"), Finish("tool_calls")))

    return script


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("made", [raw, inside])
async def test_a_picture_of_a_tool_is_said_to_have_been_left_out(wire: str, made: object) -> None:
    name = getattr(made, "name", "raw")
    async with FakeLLM(_calling(name)) as llm:  # type: ignore[arg-type]
        await asking(llm, f"{wire}:m", tools=[made]).call("q")  # type: ignore[list-item]
        sent = json.dumps(dict(llm.calls[-1].body))
    assert "image left out: image/png, 5,128 bytes" in sent
    assert ENCODED[:40] not in sent


@pytest.mark.parametrize("wire", WIRES)
async def test_so_is_one_in_a_prompt(wire: str) -> None:
    async with FakeLLM() as llm:
        await asking(llm, f"{wire}:m").call(
            f"What is this? data:image/png;base64,{ENCODED} And this?"
        )
        said = llm.calls[0].ask.prompt
    assert said.startswith("What is this? [image left out: image/png")
    assert said.endswith(" And this?")


def _user(**more: JsonValue) -> UserMessage:
    return UserMessage.model_validate({"text": "see", **more})


def test_fields_of_a_newer_version_are_said_by_their_names() -> None:
    (said,) = in_words((_user(images=["https://x/y.png"]),))
    assert isinstance(said, UserMessage)
    assert said.text.startswith("see\n[left out of this message: images")
    result = ToolMessage.model_validate(
        {"call_id": "c", "name": "t", "content": 1, "files": [{"blob": "sha256:…"}]}
    )
    (told,) = in_words((result,))
    assert isinstance(told, ToolMessage)
    assert "files" in told.text


def test_what_says_nothing_stays_as_it_is() -> None:
    messages = (_user(id="r_1.a.0", at="2026-11-30", seen=True, tags=[]), _user())
    assert in_words(messages) == messages


@pytest.mark.parametrize("text", ["no json", "[1]", '[{"role": "user", "parts": []}]'])
def test_a_conversation_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Conversation.from_json(text)
    assert caught.value.problem.code == "agent.bad_history"


def test_a_message_as_some_vendor_writes_it_is_refused_at_once() -> None:
    with pytest.raises(InvalidInput, match=r"conversation\.0"):
        Conversation([{"role": "user", "content": "hello"}])  # type: ignore[list-item]
