"""The fake counts prompts as the vendors do: marks, a least size, a time to live, and no look too far back."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from pydantic import JsonValue

from partsong.testing.fake_llm import Ask, Deny, PromptCache, Tokens

TEXT = "many words stand here " * 250
MARK: JsonValue = {"type": "ephemeral"}
HOUR: JsonValue = {"type": "ephemeral", "ttl": "1h"}


def _block(text: str = TEXT, mark: JsonValue = None) -> JsonValue:
    block: dict[str, JsonValue] = {"type": "text", "text": text}
    return block | ({"cache_control": mark} if mark else {})


def _said(*blocks: JsonValue, **more: JsonValue) -> Mapping[str, JsonValue]:
    return {"messages": [{"role": "user", "content": list(blocks)}], **more}


def _claude(cache: PromptCache, body: Mapping[str, JsonValue], model: str = "claude-x") -> Tokens:
    counted = cache.count(Ask("anthropic", model, "", "", (), (), body))
    assert isinstance(counted, Tokens), counted
    return counted


def test_what_is_marked_is_written_once_and_read_from_then_on() -> None:
    cache = PromptCache()
    first = _claude(cache, _said(_block(mark=MARK)))
    assert first.cache_write == first.input_total > 1024
    later = _claude(cache, _said(_block(), _block("new", MARK)))
    assert later.cache_read == first.input_total
    assert later.cache_write == later.input_total - later.cache_read


def test_without_a_mark_nothing_is_kept_and_nothing_is_read() -> None:
    cache = PromptCache()
    assert _claude(cache, _said(_block())).cache_write == 0
    _claude(cache, _said(_block(mark=MARK)))
    assert _claude(cache, _said(_block())).cache_read == 0


def test_another_model_other_tools_or_another_way_to_think_read_nothing() -> None:
    cache = PromptCache()
    _claude(cache, _said(_block(mark=MARK)))
    assert _claude(cache, _said(_block(mark=MARK)), "claude-y").cache_read == 0
    tools: JsonValue = [{"name": "t", "input_schema": {}}]
    assert _claude(cache, _said(_block(mark=MARK), tools=tools)).cache_read == 0
    thinking: JsonValue = {"type": "adaptive"}
    assert _claude(cache, _said(_block(mark=MARK), thinking=thinking)).cache_read == 0


def test_below_the_models_least_nothing_is_kept() -> None:
    cache = PromptCache()
    small = _said(_block("word " * 500, MARK))
    assert _claude(cache, small).cache_write == 0
    assert _claude(cache, small, "claude-opus-5").cache_write > 512
    assert _claude(cache, _said(_block(mark=MARK)), "claude-haiku-4-5").cache_write == 0


def test_it_is_forgotten_five_minutes_after_it_was_read_or_after_an_hour() -> None:
    now = [0.0]
    cache = PromptCache(lambda: now[0])
    body, other = _said(_block(mark=MARK)), _said(_block(TEXT + "!", HOUR))
    _claude(cache, body)
    hour = _claude(cache, other)
    assert hour.cache_write_1h == hour.cache_write
    for _ in range(3):
        now[0] += 299
        assert _claude(cache, body).cache_read
    now[0] += 301
    assert not _claude(cache, body).cache_read
    now[0] += 1800
    assert _claude(cache, other).cache_read


@pytest.mark.parametrize(("more", "read"), [(20, True), (21, False)])
def test_nobody_looks_back_further_than_twenty_blocks(more: int, read: bool) -> None:
    cache = PromptCache()
    _claude(cache, _said(_block(mark=MARK)))
    added = [_block(f"b{i}", MARK if i == more - 1 else None) for i in range(more)]
    assert bool(_claude(cache, _said(_block(), *added)).cache_read) is read


@pytest.mark.parametrize(
    ("blocks", "said"),
    [
        ([_block(mark=MARK)] * 5, "maximum of 4"),
        ([_block(" ", MARK)], "empty text"),
        ([{"type": "thinking", "thinking": "hm", "cache_control": MARK}], "thinking"),
        ([_block(mark=MARK), _block(mark=HOUR)], "must not come after"),
    ],
)
def test_marks_that_the_vendor_refuses_are_refused(blocks: list[JsonValue], said: str) -> None:
    counted = PromptCache().count(Ask("anthropic", "m", "", "", (), (), _said(*blocks)))
    assert isinstance(counted, Deny)
    assert said in counted.message


def test_openai_keeps_without_marks_and_counts_in_steps() -> None:
    cache = PromptCache()
    body: dict[str, JsonValue] = {"instructions": TEXT, "input": [{"role": "user", "content": "a"}]}
    first = cache.count(Ask("openai", "gpt-5.4", "", "", (), (), body))
    again = cache.count(Ask("openai", "gpt-5.4", "", "", (), (), body))
    assert isinstance(first, Tokens)
    assert isinstance(again, Tokens)
    assert (first.cache_read, first.cache_write) == (0, 0)
    assert again.cache_read % 128 == 0
    assert again.input_total - again.cache_read < 128
    key = body | {"prompt_cache_key": "k" * 65}
    assert isinstance(cache.count(Ask("openai", "gpt-5.4", "", "", (), (), key)), Deny)
