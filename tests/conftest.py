"""Fixtures for every test: a real NATS server for the session, a fresh corner of it for each test."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from partsong.contracts.wire.subjects import Subjects
from partsong.runtime.nats.server import EmbeddedNats, start_embedded
from partsong.testing.nats import Bus, a_bus, a_nats_server, fresh_subjects

pytest.register_assert_rewrite(
    "partsong.testing.log_suite",
    "partsong.testing.durable_log_suite",
    "partsong.testing.snapshot_suite",
    "partsong.testing.vector_suite",
)

# Neither has a deadline: what takes long on a busy machine is not wrong. HYPOTHESIS_PROFILE=nightly looks further.
_patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", _patient, max_examples=60)
settings.register_profile("nightly", _patient, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.fixture(scope="session", autouse=True)
def _no_authorities(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nobody here speaks TLS, but each HTTP client would read the machine's 140 certificates for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SSL_CERT_FILE", raising=False)
        patch.setenv("SSL_CERT_DIR", str(tmp_path_factory.mktemp("authorities")))
        yield


@pytest.fixture
async def complaints() -> list[object]:
    """What asyncio's exception handler is called with: failures that nobody asked about."""
    said: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
    return said


@pytest.fixture(scope="session")
def nats_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server shared by the session; use `subjects` or `bus` to keep out of each other's way."""
    with a_nats_server(tmp_path_factory.mktemp("nats")) as url:
        yield url


@pytest.fixture
async def nats_server(tmp_path: Path) -> AsyncIterator[EmbeddedNats]:
    """A server of the test's own, which it may kill and restart."""
    async with start_embedded(tmp_path / "nats", fast=True) as server:
        yield server


@pytest.fixture
def subjects() -> Subjects:
    """Subjects under a fresh prefix."""
    return fresh_subjects()


@pytest.fixture
async def bus(nats_url: str, subjects: Subjects) -> AsyncIterator[Bus]:
    """A connection to the session's server with all streams under the fresh prefix."""
    async with a_bus(nats_url, subjects) as provisioned:
        yield provisioned
