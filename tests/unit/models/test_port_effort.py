"""Effort arrives in the field that each vendor has for it; a model that cannot think gets the same request as ever."""

from __future__ import annotations

import pytest
from pydantic import JsonValue

from partsong.models.port import Effort, Provider
from partsong.testing.fake_llm import FakeLLM
from tests.support.providers import asked, connected, turned

FIELDS = {
    "anthropic": ("thinking", "output_config"),
    "openai": ("reasoning",),
    "openai-chat": ("reasoning_effort",),
    "google": ("generationConfig",),
}
"""Where each vendor reads it."""
ADAPTIVE: JsonValue = {"type": "adaptive", "display": "summarized"}


def thinks(**config: JsonValue) -> dict[str, JsonValue]:
    return {"maxOutputTokens": 4096, "thinkingConfig": {"include_thoughts": True, **config}}


@pytest.mark.parametrize(
    ("wire", "model", "effort", "told"),
    [
        (
            "anthropic",
            "claude-opus-5-5",
            "max",
            {"thinking": ADAPTIVE, "output_config": {"effort": "max"}},
        ),
        (
            "anthropic",
            "claude-opus-5-5",
            "minimal",
            {"thinking": ADAPTIVE, "output_config": {"effort": "low"}},
        ),
        (
            "anthropic",
            "claude-haiku-4-5",
            "medium",
            {"thinking": {"type": "enabled", "budget_tokens": 2048}},
        ),
        ("openai", "gpt-6-sol", "max", {"reasoning": {"effort": "max", "summary": "auto"}}),
        ("openai", "o4-mini", "minimal", {"reasoning": {"effort": "low", "summary": "auto"}}),
        ("openai-chat", "gpt-oss:20b", "max", {"reasoning_effort": "high"}),
        (
            "google",
            "gemini-3-flash",
            "minimal",
            {"generationConfig": thinks(thinking_level="MINIMAL")},
        ),
        ("google", "gemini-2.5-pro", "medium", {"generationConfig": thinks(thinking_budget=2048)}),
    ],
)
async def test_effort_is_told_in_the_words_of_vendor_and_model(
    wire: str, model: str, effort: Effort, told: dict[str, JsonValue]
) -> None:
    async with FakeLLM() as llm, connected(llm, wire) as provider:
        await turned(provider, asked(model, effort=effort))
        body = llm.calls[0].body
    assert {field: body[field] for field in FIELDS[wire] if field in body} == told


async def test_a_model_that_cannot_think_is_asked_as_if_no_effort_were_given(
    provider: Provider, wire: str, llm: FakeLLM
) -> None:
    plain = {
        "anthropic": "claude-3-5-haiku-any",
        "openai": "gpt-4o",
        "openai-chat": "llama3.2",
        "google": "gemini-2.0-flash",
    }[wire]
    await turned(provider, asked(plain, effort="high"))
    await turned(provider, asked(plain))
    assert llm.calls[0].body == llm.calls[1].body
