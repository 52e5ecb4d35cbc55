"""Assembly: from the chunks of one attempt to a turn, or to the reason why there is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partsong.contracts.state.tool_calls import malformed
from partsong.contracts.talk.chunks import (
    Chunk,
    Citation,
    End,
    ErrorClass,
    Failed,
    Raw,
    Reasoning,
    ReasoningState,
    Refusal,
    ServerTool,
    Start,
    StopReason,
    Text,
    ToolArgs,
    ToolEnd,
    ToolStart,
    Usage,
)
from partsong.contracts.talk.messages import (
    AssistantMessage,
    ReasoningStatePart,
    RefusalPart,
    ServerToolPart,
    TextPart,
    ToolCallPart,
)
from partsong.models.core.arguments import tool_end
from partsong.models.core.assemble import Broken, Turn, assemble, hollow

START = Start(provider="p", model="m-2")
STOP = End(stop="stop", native="end_turn")


def call(call_id: str, raw: str = "{}") -> tuple[Chunk, ...]:
    """A whole tool call."""
    return (
        ToolStart(id=call_id, name="lookup"),
        ToolArgs(id=call_id, text=raw),
        tool_end(call_id, "lookup", raw),
    )


def turn(*chunks: Chunk) -> Turn:
    """The turn; there must be one."""
    outcome = assemble(chunks)
    assert isinstance(outcome, Turn), outcome
    return outcome


def broken(*chunks: Chunk) -> Broken:
    """The reason; there must be no turn."""
    outcome = assemble(chunks)
    assert isinstance(outcome, Broken), outcome
    return outcome


def test_text_of_one_block_is_one_part() -> None:
    said = turn(START, Text(text="Hel"), Text(text="lo"), Text(i=1, text="again"), STOP)
    assert said.message.parts == (TextPart(text="Hello"), TextPart(text="again"))
    assert (said.provider, said.model, said.stop, said.native) == ("p", "m-2", "stop", "end_turn")


def test_parts_keep_the_order_in_which_they_were_said() -> None:
    state = ReasoningState(form="signature", opaque={"s": 1})
    said = turn(
        START,
        Reasoning(text="hm"),
        state,
        Text(i=1, text="a"),
        ServerTool(i=2, data={"t": 1}),
        Text(i=3, text="b"),
        *call("c1"),
        End(stop="tool_calls"),
    )
    assert said.message.parts == (
        ReasoningStatePart(provider="p", form="signature", opaque={"s": 1}),
        TextPart(text="a"),
        ServerToolPart(provider="p", data={"t": 1}),
        TextPart(text="b"),
        ToolCallPart(id="c1", name="lookup", args={}),
    )


def test_reasoning_citations_and_raw_events_are_not_part_of_the_message() -> None:
    said = turn(START, Reasoning(text="x"), Citation(data={}), Raw(data={}), Text(text="y"), STOP)
    assert said.message == AssistantMessage(parts=(TextPart(text="y"),))


def test_a_refusal_is_a_part_of_its_own() -> None:
    said = turn(
        START, Text(text="So, "), Refusal(text="I "), Refusal(text="won't."), End(stop="refusal")
    )
    assert said.message.parts == (TextPart(text="So, "), RefusalPart(text="I won't."))


def test_without_a_terminal_chunk_there_is_no_turn() -> None:
    lost = broken(START, Text(text="all of it, "), *call("c1"))
    assert (lost.problem.code, lost.problem.retryable) == ("provider.truncated", True)
    assert lost.partial == "all of it, "


def test_nothing_at_all_is_truncated() -> None:
    assert broken().problem.code == "provider.truncated"


def test_what_comes_after_the_terminal_chunk_does_not_count() -> None:
    assert turn(START, Text(text="a"), STOP, Text(text="b")).message.text == "a"


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        ("rate_limited", "provider"),
        ("auth", "caller"),
        ("limit", "caller"),
        ("truncated", "provider"),
    ],
)
def test_a_failure_says_whose_fault_it_is(error: ErrorClass, fault: str) -> None:
    lost = broken(START, Failed(error=error, message="no", retryable=True, retry_after=2.5))
    assert (lost.problem.code, lost.problem.fault) == (f"provider.{error}", fault)
    assert (lost.problem.message, lost.problem.retryable, lost.retry_after) == ("no", True, 2.5)


@pytest.mark.parametrize("raw", ["{", "[1]", '"x"', "{} {}", '{"a": NaN}', "nul", "\x00"])
def test_a_call_with_anything_but_one_json_object_is_malformed(raw: str) -> None:
    (made,) = turn(START, *call("c1", raw), End(stop="tool_calls")).message.tool_calls
    assert (made.args, made.malformed) == ({}, raw)
    problem = malformed(made)
    assert problem is not None
    assert problem.code == "tool.malformed_arguments"


def test_a_malformed_call_keeps_no_sound_one_from_being_made_and_is_bounded() -> None:
    calls = turn(START, *call("c1"), *call("c2", "[" * 9_000), End(stop="tool_calls")).message
    assert [len(made.malformed or "") for made in calls.tool_calls] == [0, 4_000]
    assert malformed(calls.tool_calls[0]) is None


@pytest.mark.parametrize(
    "said",
    [
        (),
        (Text(text=" \n"),),
        (ReasoningState(form="signature", opaque="x"),),
        (Text(i=0, text=" "), ReasoningState(form="signature", opaque="x"), Text(i=1, text="\n")),
    ],
)
def test_an_end_without_a_word_is_no_answer(said: tuple[Chunk, ...]) -> None:
    lost = hollow(turn(START, *said, STOP))
    assert lost is not None
    assert (lost.problem.code, lost.problem.retryable) == ("agent.empty_answer", True)


@pytest.mark.parametrize(
    ("said", "stop"),
    [
        (Text(text="a"), "stop"),
        (Refusal(text="no"), "stop"),
        (Text(text=""), "refusal"),
        (Text(text=""), "length"),
        (Text(text=""), "pause"),
    ],
)
def test_what_says_something_or_why_it_does_not_is_not_hollow(
    said: Chunk, stop: StopReason
) -> None:
    assert hollow(turn(START, said, End(stop=stop))) is None


def test_a_call_that_never_ended_is_malformed() -> None:
    lost = broken(START, *call("c1"), ToolStart(id="c2", name="other"), End(stop="tool_calls"))
    assert lost.problem.code == "provider.malformed_tool_call"
    assert "other" in lost.problem.message


def test_a_stop_to_call_tools_without_a_call_is_malformed() -> None:
    assert (
        broken(START, Text(text="a"), End(stop="tool_calls")).problem.code
        == "provider.malformed_tool_call"
    )


def test_calls_before_a_plain_stop_are_calls() -> None:
    assert turn(START, *call("c1"), STOP).stop == "tool_calls"


def test_calls_cut_off_by_the_limit_do_not_run() -> None:
    lost = broken(START, *call("c1"), End(stop="length"))
    assert (lost.problem.code, lost.problem.retryable) == ("provider.tool_call_cut", False)


@pytest.mark.parametrize("stop", ["refusal", "blocked", "pause", "other"])
def test_calls_do_not_survive_a_stop_for_another_reason(stop: StopReason) -> None:
    said = turn(START, Text(text="a"), *call("c1"), End(stop=stop))
    assert said.message == AssistantMessage(parts=(TextPart(text="a"),))
    assert said.stop == stop


def test_the_last_usage_counts() -> None:
    first, last = (
        Usage(input_total=9, output_total=1),
        Usage(input_total=9, output_total=5, reasoning=2),
    )
    usage = turn(START, first, Text(text="a"), last, STOP).usage
    assert (usage.input_total, usage.output_total, usage.reasoning, usage.estimated) == (
        9,
        5,
        2,
        False,
    )
    assert usage.cost is None


def test_a_stream_that_broke_off_estimates_what_it_cost() -> None:
    lost = broken(START, Usage(input_total=9, output_total=1), Text(text="x" * 400))
    assert (lost.usage.input_total, lost.usage.output_total, lost.usage.estimated) == (9, 100, True)


def test_a_server_that_tells_no_usage_gets_an_estimate() -> None:
    usage = turn(START, Text(text="x" * 40), STOP).usage
    assert (usage.output_total, usage.estimated) == (10, True)


_texts = st.lists(st.text(min_size=1, max_size=5), max_size=8)


@given(texts=_texts, calls=st.integers(0, 3), cut=st.integers(0, 30))
def test_a_prefix_of_a_stream_never_yields_calls_or_a_turn(
    texts: list[str], calls: int, cut: int
) -> None:
    chunks: list[Chunk] = [START, *(Text(text=text) for text in texts)]
    for number in range(calls):
        chunks += call(f"c{number}", '{"a": 1}')
    chunks.append(End(stop="tool_calls" if calls else "stop"))
    whole = turn(*chunks)
    assert whole.message.text == "".join(texts)
    assert [c.args for c in whole.message.tool_calls] == [{"a": 1}] * calls
    assert isinstance(assemble(chunks[: min(cut, len(chunks) - 1)]), Broken)


def test_a_tool_end_that_claims_to_be_sound_needs_arguments() -> None:
    odd = ToolEnd(id="c1", name="lookup", raw="null", ok=True, args=None)
    (made,) = turn(START, odd, End(stop="tool_calls")).message.tool_calls
    assert made.malformed == "null"
