"""Effort: a model is told how much to think only in words that it knows, and not at all if it cannot."""

from __future__ import annotations

from typing import get_args

import pytest

from partsong.contracts.graph import Effort
from partsong.models.core.effort import (
    Budget,
    Level,
    of_claude,
    of_compatible,
    of_gemini,
    of_openai,
)

EFFORTS: tuple[Effort, ...] = get_args(Effort)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("claude-sonnet-5-5", "low low medium high max"),
        ("claude-opus-4-6", "low low medium high max"),
        ("anthropic/claude-sonnet-5", "low low medium high max"),
        ("claude-of-next-year", "low low medium high max"),
    ],
)
def test_claude_is_told_a_word(model: str, words: str) -> None:
    assert [of_claude(model, e, 4096) for e in EFFORTS] == [Level(w) for w in words.split()]


@pytest.mark.parametrize(
    "model",
    [
        "claude-3-7-sonnet-latest",
        "claude-sonnet-4-20250514",
        "claude-opus-4-1-20250805",
        "claude-haiku-4-5",
        "claude-opus-4-5-20251101",
    ],
)
def test_claudes_before_4_6_are_given_a_budget_that_leaves_room_for_the_answer(model: str) -> None:
    given = [of_claude(model, e, 10_000) for e in EFFORTS]
    assert given == [Budget(n) for n in (1024, 2000, 5000, 8000, 9000)]


def test_a_turn_too_small_to_think_in_does_not_think() -> None:
    assert of_claude("claude-haiku-4-5", "max", 1024) is None
    assert of_claude("claude-haiku-4-5", "minimal", 1025) == Budget(1024)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("gemini-3-pro-preview", "LOW LOW HIGH HIGH HIGH"),
        ("gemini-3.1-pro", "LOW LOW MEDIUM HIGH HIGH"),
        ("gemini-pro-latest", "LOW LOW MEDIUM HIGH HIGH"),
        ("models/gemini-3-flash", "MINIMAL LOW MEDIUM HIGH HIGH"),
        ("gemini-4-flash", "MINIMAL LOW MEDIUM HIGH XHIGH"),
    ],
)
def test_gemini_is_told_a_level(model: str, words: str) -> None:
    assert [of_gemini(model, e, 4096) for e in EFFORTS] == [Level(w) for w in words.split()]


def test_gemini_2_5_is_given_a_budget_that_each_of_its_models_takes() -> None:
    for model in ("gemini-2.5-pro", "gemini-2.5-flash", "gemini-2.5-flash-lite"):
        given = [of_gemini(model, e, 4000) for e in EFFORTS]
        assert given == [Budget(n) for n in (512, 800, 2000, 3200, 3600)]
    assert of_gemini("gemini-2.5-flash", "max", 100_000) == Budget(24_576)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("gpt-6-sol", "minimal low medium high max"),
        ("gpt-5", "minimal low medium high high"),
        ("gpt-5-mini-2025-08-07", "minimal low medium high high"),
        ("gpt-5-codex", "low low medium high high"),
        ("gpt-5-pro", "high high high high high"),
        ("gpt-5.1", "low low medium high high"),
        ("gpt-5.4-mini", "low low medium high xhigh"),
        ("o3", "low low medium high high"),
        ("ft:o4-mini-2025-04-16:us::x", "low low medium high high"),
    ],
)
def test_openai_is_told_the_nearest_word_it_knows(model: str, words: str) -> None:
    assert [of_openai(model, e) for e in EFFORTS] == [Level(w) for w in words.split()]


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("gpt-oss:20b", "low low medium high high"),
        ("openai/gpt-oss-120b", "low low medium high high"),
        ("Qwen/Qwen3-32B", "low low medium high high"),
        ("deepseek-r1:7b", "low low medium high high"),
        ("phi4-reasoning", "low low medium high high"),
        ("openai/gpt-5", "minimal low medium high high"),
    ],
)
def test_open_models_that_think_are_told(model: str, words: str) -> None:
    assert [of_compatible(model, e) for e in EFFORTS] == [Level(w) for w in words.split()]


@pytest.mark.parametrize("effort", EFFORTS)
def test_models_that_cannot_think_are_left_alone(effort: Effort) -> None:
    for model in ("claude-3-5-sonnet-latest", "claude-3-haiku-20240307", "claude-2.1"):
        assert of_claude(model, effort, 4096) is None
    for model in ("gemini-2.0-flash", "gemini-1.5-pro", "gemma-3-27b-it", "gemini-2.5-flash-image"):
        assert of_gemini(model, effort, 4096) is None
    for model in ("gpt-4o", "gpt-4.1-mini", "chatgpt-4o-latest", "gpt-5-chat-latest", "o1-mini"):
        assert of_openai(model, effort) is None
    for model in ("llama3.2", "mistral-small", "qwen2.5:7b", "gemma3", "some-model", "gpt-4o"):
        assert of_compatible(model, effort) is None


def test_who_asks_for_no_effort_tells_nothing() -> None:
    assert of_claude("claude-opus-5", None, 4096) is None
    assert of_gemini("gemini-3-pro", None, 4096) is None
    assert of_openai("gpt-5", None) is None
    assert of_compatible("gpt-oss", None) is None
