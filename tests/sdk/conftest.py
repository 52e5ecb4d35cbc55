"""A fake LLM server, an environment without keys, and a scripted provider that does not pause between words."""

from __future__ import annotations

import pytest

from tests.support.vendors import llm, no_vendor_settings

__all__ = ["llm", "no_vendor_settings"]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARTSONG_SCRIPTED_DELAY", "0")
