"""What the tests of the test kit share."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def partsong_nats(nats_url: str) -> str:
    """The plugin's fixture, on the server that this session has anyway."""
    return nats_url
