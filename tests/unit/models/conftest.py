"""A fake LLM server and, in turn, each vendor's real SDK in front of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from partsong.models.port import Provider
from partsong.testing.fake_llm import FakeLLM
from tests.support.providers import WIRES, connected
from tests.support.vendors import llm, no_vendor_settings

__all__ = ["llm", "no_vendor_settings"]


@pytest.fixture(params=WIRES)
def wire(request: pytest.FixtureRequest) -> str:
    """Each wire format in turn."""
    return str(request.param)


@pytest.fixture
async def provider(llm: FakeLLM, wire: str) -> AsyncIterator[Provider]:
    """The provider of that wire format, in front of the fake."""
    async with connected(llm, wire) as made:
        yield made
