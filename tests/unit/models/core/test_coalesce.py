"""Coalescing: fewer chunks, the same words, and no word later than the delay."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from partsong.contracts.talk.chunks import Chunk, End, Reasoning, Text, ToolArgs, ToolStart
from partsong.models.core.coalesce import Coalescer

END = End(stop="stop")


def test_the_first_delta_leaves_at_once() -> None:
    assert Coalescer().push(Text(text="a"), 0.0) == (Text(text="a"),)


def test_a_slow_stream_is_passed_on_untouched() -> None:
    joins = Coalescer(delay=0.010)
    sent = [joins.push(Text(text=word), 0.020 * n) for n, word in enumerate("abc")]
    assert sent == [(Text(text="a"),), (Text(text="b"),), (Text(text="c"),)]
    assert joins.deadline is None


def test_a_burst_is_joined_and_leaves_when_the_delay_is_over() -> None:
    joins = Coalescer(delay=0.010)
    joins.push(Text(text="a"), 0.0)
    assert joins.push(Text(text="b"), 0.001) == ()
    assert joins.push(Text(text="c"), 0.002) == ()
    assert joins.deadline == 0.010
    assert joins.tick(0.009) == ()
    assert joins.tick(0.010) == (Text(text="bc"),)
    assert joins.deadline is None


def test_many_bytes_do_not_wait() -> None:
    joins = Coalescer(size=4, delay=1.0)
    joins.push(Text(text="a"), 0.0)
    assert joins.push(Text(text="bc"), 0.1) == ()
    assert joins.push(Text(text="é"), 0.2) == (Text(text="bcé"),)


def test_anything_else_pushes_out_what_is_held_before_itself() -> None:
    joins = Coalescer(delay=1.0)
    joins.push(Text(text="a"), 0.0)
    joins.push(Text(text="b"), 0.1)
    assert joins.push(END, 0.2) == (Text(text="b"), END)


def test_only_neighbours_of_one_block_and_kind_are_joined() -> None:
    joins = Coalescer(delay=1.0)
    joins.push(Text(text="a"), 0.0)
    assert joins.push(Text(text="b"), 0.1) == ()
    assert joins.push(Text(i=1, text="c"), 0.2) == (Text(text="b"),)
    assert joins.push(Reasoning(i=1, text="d"), 0.3) == (Text(i=1, text="c"),)
    assert joins.push(Reasoning(i=1, text="e", form="summary"), 0.4) == (Reasoning(i=1, text="d"),)
    assert joins.push(ToolArgs(i=1, id="x", text="f"), 0.5) == (
        Reasoning(i=1, text="e", form="summary"),
    )
    assert joins.push(ToolArgs(i=1, id="y", text="g"), 0.6) == (ToolArgs(i=1, id="x", text="f"),)
    assert joins.flush(0.7) == (ToolArgs(i=1, id="y", text="g"),)


_chunk: st.SearchStrategy[Chunk] = st.one_of(
    st.builds(Text, text=st.text(min_size=1, max_size=20), i=st.integers(0, 1)),
    st.builds(Reasoning, text=st.text(min_size=1, max_size=20)),
    st.builds(ToolArgs, id=st.sampled_from("xy"), text=st.text(min_size=1, max_size=20)),
    st.builds(ToolStart, id=st.just("x"), name=st.just("n")),
)


def _words(chunks: list[Chunk]) -> list[str]:
    """What was said, letter by letter, each with the block it was said in."""
    said: list[str] = []
    for chunk in chunks:
        match chunk:
            case Text() | Reasoning() | ToolArgs():
                said += [f"{chunk.kind}{chunk.i}{letter}" for letter in chunk.text]
            case _:
                said.append(chunk.kind)
    return said


@given(st.lists(st.tuples(_chunk, st.floats(0, 0.02)), max_size=40))
def test_joining_changes_no_word_and_no_order_and_holds_nothing_too_long(
    stream: list[tuple[Chunk, float]],
) -> None:
    joins, now, sent = Coalescer(size=32, delay=0.010), 0.0, list[Chunk]()
    for chunk, pause in stream:
        now += pause
        if joins.deadline is not None and joins.deadline <= now:
            sent += joins.tick(joins.deadline)
        sent += joins.push(chunk, now)
        assert joins.deadline is None or joins.deadline <= now + 0.010
    sent += joins.flush(now)
    assert _words(sent) == _words([chunk for chunk, _ in stream])
    assert len(sent) <= len(stream)
