"""The registry: from a model's full name to a provider, or to a clear word about what is missing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from partsong.contracts.errors import InvalidInput, Unavailable
from partsong.models.registry import (
    Providers,
    Settings,
    provider_for,
    settings_from,
    split_model,
)
from tests.support.providers import WIRES

KEYS = settings_from({"ANTHROPIC_API_KEY": "a", "OPENAI_API_KEY": "o", "GEMINI_API_KEY": "g"})


@pytest.mark.parametrize("name", [*WIRES, "scripted"])
def test_a_provider_knows_its_name(name: str) -> None:
    assert provider_for(f"{name}:some-model", KEYS).name == name


def test_a_models_name_may_hold_colons() -> None:
    assert split_model("openai-chat:qwen3:8b") == ("openai-chat", "qwen3:8b")


@pytest.mark.parametrize("model", ["claude", "anthropic:", "mistral:large", "", ":x"])
def test_an_unknown_provider_is_refused_with_the_known_ones(model: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        split_model(model)
    assert caught.value.problem.code == "model.unknown_provider"
    assert "anthropic:…" in caught.value.problem.message


@pytest.mark.parametrize(
    ("name", "variable"),
    [
        ("anthropic", "ANTHROPIC_API_KEY"),
        ("openai", "OPENAI_API_KEY"),
        ("openai-chat", "OPENAI_API_KEY"),
        ("google", "GOOGLE_API_KEY"),
    ],
)
def test_a_missing_key_is_named(name: str, variable: str) -> None:
    with pytest.raises(Unavailable) as caught:
        provider_for(f"{name}:x", Settings())
    assert caught.value.problem.code == "provider.no_key"
    assert caught.value.problem.where == variable
    assert "scripted:" in (caught.value.problem.fix or "")


def test_a_server_of_ones_own_needs_no_key() -> None:
    settings = settings_from({"OPENAI_BASE_URL": "http://127.0.0.1:11434/v1"})
    assert provider_for("openai-chat:qwen3:8b", settings).name == "openai-chat"


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("anthropic", "anthropic"),
        ("openai", "openai"),
        ("google", "google.genai"),
        ("google", "google"),
    ],
)
def test_a_missing_sdk_names_the_extra_to_install(
    name: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for loaded in [known for known in sys.modules if known.startswith(f"{module}.")]:
        monkeypatch.delitem(sys.modules, loaded)
    # How Python itself marks a module that is not there.
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(Unavailable) as caught:
        provider_for(f"{name}:x", KEYS)
    assert caught.value.problem.code == "provider.not_installed"
    assert "partsong[gateway]" in (caught.value.problem.fix or "")


async def test_one_provider_serves_all_models_of_its_vendor() -> None:
    providers = Providers(KEYS)
    assert providers.get("anthropic:a") is providers.get("anthropic:b")
    assert providers.get("openai:a") is not providers.get("openai-chat:a")
    await providers.aclose()


def test_the_environment_is_read_once_and_secrets_stay_secret() -> None:
    settings = settings_from({"GOOGLE_API_KEY": "first", "GEMINI_API_KEY": "second"})
    assert settings.google_api_key == "first"
    assert "first" not in repr(settings)


@pytest.mark.parametrize("delay", ["fast", "-1", "nan", "inf"])
def test_a_delay_that_is_no_delay_is_refused(delay: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        settings_from({"PARTSONG_SCRIPTED_DELAY": delay})
    assert caught.value.problem.where == "PARTSONG_SCRIPTED_DELAY"


def test_no_sdk_is_imported_before_it_is_used() -> None:
    program = (
        "import sys\n"
        "from partsong.models.registry import provider_for, settings_from\n"
        "env = {'ANTHROPIC_API_KEY': 'k', 'OPENAI_API_KEY': 'k', 'GOOGLE_API_KEY': 'k'}\n"
        "for name in ('anthropic', 'openai', 'openai-chat', 'google', 'scripted'):\n"
        "    provider_for(f'{name}:x', settings_from(env))\n"
        "print(*({'anthropic', 'openai', 'google.genai', 'httpx2'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == []
