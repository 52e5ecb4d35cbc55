"""The pytest plugin: a NATS server, a platform, a fake LLM server, scripted models and replays, as fixtures.

pytest loads it in every session of every project that has Partsong installed, so it imports nothing before a fixture is
used.
"""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from partsong.contracts.state.results import RunResult
    from partsong.testing.fake_llm import FakeLLM
    from partsong.testing.platform import Platform
    from partsong.testing.recorded import RunLog
    from partsong.testing.replaying import Replayed
    from partsong.testing.scripted import Answer, ScriptedModel

__all__ = [
    "Replay",
    "Script",
    "fake_llm",
    "partsong_bus",
    "partsong_nats",
    "pytest_configure",
    "replay",
    "scripted_model",
]

_MARKER = (
    "partsong(load=(), tools=(), approval=False): modules with functions, and tools, that the platform of `partsong_bus` "
    "has beside the test module's own functions; whether the approval service runs"
)

if TYPE_CHECKING or importlib.util.find_spec("pytest_asyncio") is not None:
    from pytest_asyncio import fixture as _async_fixture
else:  # anyio's plugin takes async fixtures as they are
    _async_fixture = pytest.fixture


class Script(Protocol):
    """Makes models that answer from a list."""

    def __call__(self, *answers: Answer, model: str = "test:model") -> ScriptedModel:
        """A model that stands in for `model` until the test ends."""
        ...


class Replay(Protocol):
    """Replays recorded runs."""

    def __call__(
        self,
        log: RunLog,
        run_id: str | None = None,
        *,
        result: RunResult | None = None,
        state_hash: str | None = None,
    ) -> Replayed:
        """See `partsong.testing.replay_run`."""
        ...


def pytest_configure(config: pytest.Config) -> None:
    """Say what the marker is, for `--strict-markers`."""
    config.addinivalue_line("markers", _MARKER)


@pytest.fixture(scope="session")
def partsong_nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real NATS server for the session; see `partsong.testing.nats` for where it comes from."""
    from partsong.testing.nats import a_nats_server

    with a_nats_server(tmp_path_factory.mktemp("partsong-nats")) as url:
        yield url


@_async_fixture
async def partsong_bus(
    request: pytest.FixtureRequest, partsong_nats: str
) -> AsyncIterator[Platform]:
    """All services in this process under a fresh prefix of the session's server; `partsong_bus.client` talks to them.

    Graphs find the functions of the test's own module; the marker `partsong` gives them more.
    """
    from partsong.testing.platform import a_platform

    marker = request.node.get_closest_marker("partsong")
    given = marker.kwargs if marker is not None else {}
    async with a_platform(
        partsong_nats,
        loads=(request.module.__name__, *given.get("load", ())),
        tools=given.get("tools", ()),
        approval=given.get("approval", False),
    ) as platform:
        yield platform


@_async_fixture
async def fake_llm(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeLLM]:
    """A fake LLM server that speaks the vendors' wire formats; this process's environment leads there.

    Name it before `partsong_bus` in a test that needs both: the gateway reads the environment when it starts.
    """
    from partsong.testing.fake_llm import FakeLLM

    async with FakeLLM() as server:
        for name, value in server.env().items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def scripted_model() -> Iterator[Script]:
    """Makes models that answer from a list; the test fails if one is asked more, or less, than its script holds."""
    from partsong.testing.scripted import ScriptedModel

    with ExitStack() as stack:

        def script(*answers: Answer, model: str = "test:model") -> ScriptedModel:
            return stack.enter_context(ScriptedModel(*answers, model=model))

        yield script


@pytest.fixture
def replay() -> Replay:
    """Folds a recorded run anew with the network closed, and asserts that it is what it was and that nobody was called."""
    from partsong.testing.replaying import replay_run

    return replay_run
