"""A fake LLM server, and an environment without keys."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest

from partsong.testing.fake_llm import FakeLLM


@pytest.fixture(autouse=True)
def _no_vendor_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key of the machine's may decide what a test asks."""
    for name in list(os.environ):
        if name.startswith(
            ("ANTHROPIC_", "OPENAI_", "GOOGLE_", "GEMINI_")
        ) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PARTSONG_SCRIPTED_DELAY", "0")


@pytest.fixture
async def llm() -> AsyncIterator[FakeLLM]:
    """A fake LLM server that answers by the model's name."""
    async with FakeLLM() as server:
        yield server
