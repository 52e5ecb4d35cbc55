"""A fake in the vendors' place, and nothing of the machine's about them: for each conftest.py whose tests ask models."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest

from partsong.testing.fake_llm import FakeLLM

__all__ = ["llm", "no_vendor_settings"]


@pytest.fixture(autouse=True)
def no_vendor_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDKs read a dozen variables of their own, and keys decide what is asked; none may leak into a test."""
    for name in list(os.environ):
        if name.startswith(
            ("ANTHROPIC_", "OPENAI_", "GOOGLE_", "GEMINI_")
        ) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
async def llm() -> AsyncIterator[FakeLLM]:
    """A fake LLM server that answers by the model's name."""
    async with FakeLLM() as server:
        yield server
