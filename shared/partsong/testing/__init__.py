"""What a test of an application on Partsong needs: scripted models, real servers, fake vendors, replays, shared suites."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from partsong.testing.fake_llm import FakeLLM
    from partsong.testing.network import NetworkClosed, closed_network
    from partsong.testing.platform import Platform, a_platform
    from partsong.testing.replay_model import ReplayModel
    from partsong.testing.replaying import Replayed, hash_state, replay_run
    from partsong.testing.scripted import Fails, ScriptedModel, ToolCall, Turn

__all__ = [
    "Fails",
    "FakeLLM",
    "NetworkClosed",
    "Platform",
    "ReplayModel",
    "Replayed",
    "ScriptedModel",
    "ToolCall",
    "Turn",
    "a_platform",
    "closed_network",
    "hash_state",
    "replay_run",
]

_HOMES = {
    "Fails": "scripted",
    "FakeLLM": "fake_llm",
    "NetworkClosed": "network",
    "Platform": "platform",
    "ReplayModel": "replay_model",
    "Replayed": "replaying",
    "ScriptedModel": "scripted",
    "ToolCall": "scripted",
    "Turn": "scripted",
    "a_platform": "platform",
    "closed_network": "network",
    "hash_state": "replaying",
    "replay_run": "replaying",
}


def __getattr__(name: str) -> object:
    """Load a name when it is first used: pytest imports this package in every session, also where nobody needs it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        home = importlib.import_module(f"{__name__}.{_HOMES[name]}")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "partsong":
            raise
        from partsong.contracts.errors import Unavailable

        raise Unavailable(
            "extra.missing",
            f"{name} runs the services, and needs {error.name}, which is not installed",
            where=f"{__name__}.{name}",
            fix="pip install 'partsong[up]'",
        ) from error
    return getattr(home, name)
