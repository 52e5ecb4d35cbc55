"""What the tests of the test kit share."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def partsong_nats(nats_url: str) -> str:
    """The plugin's fixture, on the server that this session has anyway."""
    return nats_url


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GOOGLE_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
