"""What is shown of redacted arguments while a model answers, and what is taken out of its turn."""

from __future__ import annotations

import json
from itertools import count

from partsong.contracts.talk.chunks import Chunk, Text, ToolArgs, ToolEnd, ToolStart
from partsong.contracts.talk.messages import AssistantMessage, TextPart, ToolCallPart, ToolSpec
from partsong.contracts.talk.redaction import placeholder, token_in
from partsong.models.core.arguments import tool_end
from partsong.models.core.redaction import RedactedCalls, hidden_of, taken_out

PAY = ToolSpec(name="pay", redact=("pin",))
HIDDEN = hidden_of((PAY, ToolSpec(name="look")))


def shown(*chunks: Chunk) -> list[Chunk]:
    lens = RedactedCalls(HIDDEN)
    return [each for chunk in chunks for each in lens(chunk)]


def a_call(name: str, raw: str) -> tuple[Chunk, ...]:
    middle = len(raw) // 2
    fragments = (ToolArgs(id="1", text=raw[:middle]), ToolArgs(id="1", text=raw[middle:]))
    return (ToolStart(id="1", name=name), *fragments, tool_end("1", name, raw))


def test_a_call_is_shown_as_it_ends_and_its_fragments_are_its_text() -> None:
    seen = shown(*a_call("pay", '{"amount": 1, "pin": "s3cr3t"}'), Text(text="so"))
    assert "s3cr3t" not in "".join(chunk.model_dump_json() for chunk in seen)
    assert [chunk.kind for chunk in seen] == ["tool_start", "tool_args", "tool_end", "text"]
    ended = seen[2]
    assert isinstance(ended, ToolEnd)
    assert ended.args == {"amount": 1, "pin": "[redacted]"} == json.loads(ended.raw)
    assert seen[1].model_dump()["text"] == ended.raw


def test_arguments_that_are_no_json_are_not_shown_at_all() -> None:
    seen = shown(*a_call("pay", '{"pin": "s3cr3t"'))
    assert "s3cr3t" not in "".join(chunk.model_dump_json() for chunk in seen)


def test_other_calls_are_shown_as_they_come() -> None:
    chunks = a_call("look", '{"pin": "1"}')
    assert shown(*chunks) == [*chunks]


def test_values_are_taken_out_and_found_by_their_tokens() -> None:
    said = AssistantMessage(
        parts=(
            TextPart(text="paying"),
            ToolCallPart(id="1", name="pay", args={"amount": 1, "pin": {"number": "4711"}}),
            ToolCallPart(id="2", name="look", args={"pin": "open"}),
            ToolCallPart(id="3", name="pay", args={"pin": placeholder("x" * 22)}),
        )
    )
    numbers = count()
    taken = taken_out(said, HIDDEN, lambda: f"{next(numbers):022}")
    first, second = f"{0:022}", f"{1:022}"
    assert taken.values == {first: {"number": "4711"}, second: placeholder("x" * 22)}
    pay, look, again = taken.message.tool_calls
    assert pay.args == {"amount": 1, "pin": placeholder(first)}
    assert (look.args, token_in(again.args["pin"])) == ({"pin": "open"}, second)
    assert taken.message.text == "paying"


def test_a_message_without_such_calls_stays_as_it_is() -> None:
    said = AssistantMessage(parts=(ToolCallPart(id="2", name="look", args={"pin": "open"}),))
    taken = taken_out(said, HIDDEN, lambda: "never")
    assert taken.message is said
    assert taken.values == {}


def test_arguments_that_cannot_be_read_are_not_kept_either() -> None:
    broken = ToolCallPart(id="1", name="pay", malformed='{"pin": "s3cr3t"')
    taken = taken_out(AssistantMessage(parts=(broken,)), HIDDEN, lambda: "t")
    assert taken.message.tool_calls[0].malformed == "[redacted]"
