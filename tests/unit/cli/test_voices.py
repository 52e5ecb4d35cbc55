"""What several agents say at once: lines are whole, and each is somebody's."""

from __future__ import annotations

import random

import pytest

from partsong.cli.voices import Voices
from partsong.contracts.talk.chunks import Chunk, End, Text


def said(chunks: list[Chunk], *, live: bool = False) -> str:
    shown: list[str] = []
    voices = Voices(shown.append, live=live)
    for chunk in chunks:
        voices.take(chunk)
    voices.close()
    return "".join(shown)


def text(who: str, words: str, attempt: int = 1) -> Chunk:
    return Text(call_id=who, attempt=attempt, text=words)


def end(who: str) -> Chunk:
    return End(call_id=who, stop="stop")


def test_two_at_once_are_never_in_one_line() -> None:
    talk = [
        text("a", "one "),
        text("b", "two "),
        text("a", "more\nand"),
        text("b", "words"),
        end("b"),
    ]
    for live in (False, True):
        lines = said(talk, live=live).splitlines()
        assert "[b] two words" in lines
        assert all(line.startswith(("[a]", "[b]")) for line in lines)
    assert said(talk) == "[a] one more\n[b] two words\n[a] and\n"


def test_who_speaks_alone_is_shown_as_it_comes_on_a_terminal() -> None:
    shown: list[str] = []
    voices = Voices(shown.append, live=True)
    for word in ("one ", "two ", "three\n", "four"):
        voices.take(text("a", word))
    assert "".join(shown) == "[a] one two three\n[a] four"
    voices.take(end("a"))
    assert "".join(shown) == "[a] one two three\n[a] four\n"


def test_elsewhere_lines_come_whole() -> None:
    shown: list[str] = []
    voices = Voices(shown.append, live=False)
    voices.take(text("a", "one "))
    assert shown == []
    voices.take(text("a", "two\n"))
    assert "".join(shown) == "[a] one two\n"


def test_another_attempt_is_another_voice() -> None:
    assert said([text("a", "x"), text("a", "y", 2)]) == "[a] x\n[a, attempt 2] y\n"


def test_what_an_attempt_had_begun_is_shown_before_the_next_one_speaks() -> None:
    talk = [text("a", "half "), text("b", "meanwhile"), text("a", "whole", attempt=2), end("b")]
    shown = said(talk).splitlines()
    assert shown == ["[a] half ", "[b] meanwhile", "[a, attempt 2] whole"]


def test_a_line_without_end_is_shown_in_pieces() -> None:
    shown = said([text("a", "word " * 500)]).splitlines()
    assert len(shown) > 10
    assert all(len(line) < 200 for line in shown)
    assert "".join(line.removeprefix("[a]") for line in shown).split() == ["word"] * 500


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("live", [False, True])
def test_nothing_is_lost_or_mixed(seed: int, live: bool) -> None:
    rnd = random.Random(seed)
    parts = [(who, f"{who}{n}{rnd.choice(['', chr(10)])}") for who in "abc" for n in range(30)]
    rnd.shuffle(parts)
    lines = said([text(who, words + " ") for who, words in parts], live=live).splitlines()
    for who in "abc":
        heard = "".join(
            line.removeprefix(f"[{who}]") for line in lines if line.startswith(f"[{who}]")
        )
        meant = "".join(words for one, words in parts if one == who)
        assert heard.replace(" ", "") == meant.replace("\n", "")
    assert all(line[:3] in {"[a]", "[b]", "[c]"} for line in lines)
