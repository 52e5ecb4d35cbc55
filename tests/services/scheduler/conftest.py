"""A scripted provider that does not pause between words."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARTSONG_SCRIPTED_DELAY", "0")
