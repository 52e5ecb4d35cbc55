"""A fake LLM server and, in turn, each vendor's real SDK in front of it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest

from partsong.models.port import Provider
from partsong.testing.fake_llm import FakeLLM
from tests.services.agent_gateway.support import WIRES, connected


@pytest.fixture(autouse=True)
def _no_vendor_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDKs read a dozen variables of their own; none may leak into a test."""
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


@pytest.fixture(params=WIRES)
def wire(request: pytest.FixtureRequest) -> str:
    """Each wire format in turn."""
    return str(request.param)


@pytest.fixture
async def provider(llm: FakeLLM, wire: str) -> AsyncIterator[Provider]:
    """The provider of that wire format, in front of the fake."""
    async with connected(llm, wire) as made:
        yield made
