"""Thoughts in tags: told apart from the answer wherever a tag is split, and only at the beginning."""

from __future__ import annotations

import pytest

from partsong.contracts.talk.chunks import Reasoning, Text
from partsong.models.core.think_tags import ThinkTags


def _read(*pieces: str) -> tuple[str, str]:
    tags = ThinkTags()
    said = [chunk for piece in pieces for chunk in tags.read(piece)] + list(tags.ended())
    thought = "".join(chunk.text for chunk in said if isinstance(chunk, Reasoning))
    return thought, "".join(chunk.text for chunk in said if isinstance(chunk, Text))


@pytest.mark.parametrize(
    ("text", "thought", "answer"),
    [
        ("<think>hm</think>Hello", "hm", "Hello"),
        ("\n<think>\nhm < 3\n</think>\n\nHello <b>", "\nhm < 3\n", "Hello <b>"),
        ("Hello <think>no</think>", "", "Hello <think>no</think>"),
        ("<think>a</think>b<think>c</think>", "a", "b<think>c</think>"),
        ("<think>never ends </thi", "never ends </thi", ""),
        ("<thin", "", "<thin"),
        ("<thinner>", "", "<thinner>"),
        ("  plain", "", "  plain"),
        ("<think></think>  ", "", ""),
        ("", "", ""),
    ],
)
def test_every_split_says_the_same(text: str, thought: str, answer: str) -> None:
    assert _read(text) == (thought, answer)
    assert _read(*text) == (thought, answer)
    for cut in range(len(text)):
        assert _read(text[:cut], text[cut:]) == (thought, answer)


def test_a_thought_is_shown_while_it_comes() -> None:
    tags = ThinkTags()
    assert [chunk.text for chunk in tags.read("<think>one ")] == ["one "]
    assert [chunk.text for chunk in tags.read("two <")] == ["two "]
    assert [chunk.text for chunk in tags.read("/think> three")] == ["three"]
