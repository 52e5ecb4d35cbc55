"""Providers of installed packages: found by entry point, used only if the operator allows it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from partsong.agents import Agent
from partsong.contracts.errors import InvalidInput, Unavailable
from partsong.models.registry import Providers, provider_for, settings_from, split_model

MODULE = """
from partsong.models.core.scripted_replies import ScriptedTurn
from partsong.models.providers.scripted import ScriptedProvider
from partsong.contracts.errors import Unavailable


class Parrot(ScriptedProvider):
    name = "parrot"


def parrot(env):
    if "PARROT_KEY" not in env:
        raise Unavailable("provider.no_key", "PARROT_KEY is not set", where="PARROT_KEY")
    said = env["PARROT_KEY"]
    return Parrot(delay=0, script=lambda request: ScriptedTurn(f"{said}: {request.messages[-1].text}"))


def nothing(env):
    return object()


def scripted(env):
    return ScriptedProvider()
"""
ALLOWED = {"PARTSONG_PROVIDERS": "other, parrot", "PARROT_KEY": "k"}

Install = Callable[[str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs a package whose provider `parrot` is what the entry point leads to."""

    def installed(target: str) -> None:
        (tmp_path / "acme_parrot.py").write_text(MODULE)
        metadata = tmp_path / "acme_parrot-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: acme-parrot\nVersion: 1.0\n"
        )
        (metadata / "entry_points.txt").write_text(
            f"[partsong.providers]\nparrot = {target}\nopenai = {target}\n"
        )
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, "acme_parrot", raising=False)
        importlib.invalidate_caches()

    return installed


async def test_an_allowed_provider_answers_for_its_models(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("acme_parrot:parrot")
    for name, value in ALLOWED.items():
        monkeypatch.setenv(name, value)
    assert str(await Agent("parrot:grey").call("Hello")) == "k: Hello"


async def test_it_is_made_once_and_shared(install: Install) -> None:
    install("acme_parrot:parrot")
    providers = Providers(settings_from(ALLOWED))
    assert providers.get("parrot:grey") is providers.get("parrot:blue:1")
    assert split_model("parrot:blue:1") == ("parrot", "blue:1")
    await providers.aclose()


def test_an_installed_package_runs_nothing_by_being_installed(install: Install) -> None:
    install("acme_parrot:parrot")
    with pytest.raises(Unavailable, match="not among those that may be used") as refused:
        provider_for("parrot:grey", settings_from({"PARROT_KEY": "k"}))
    assert refused.value.problem.code == "provider.not_allowed"
    assert "PARTSONG_PROVIDERS=parrot" in (refused.value.problem.fix or "")
    assert "acme_parrot" not in sys.modules


def test_what_the_package_refuses_is_passed_on(install: Install) -> None:
    install("acme_parrot:parrot")
    with pytest.raises(Unavailable, match="PARROT_KEY is not set"):
        provider_for("parrot:grey", settings_from({"PARTSONG_PROVIDERS": "parrot"}))


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("acme_parrot:gone", "cannot be loaded: AttributeError"),
        ("nowhere:parrot", "cannot be loaded: ModuleNotFoundError"),
        ("acme_parrot:MODULE_NAME", "cannot be loaded"),
        ("acme_parrot:__doc__", "leads to a NoneType"),
        ("acme_parrot:nothing", "without name, warm, stream, aclose"),
        ("acme_parrot:scripted", "calls itself 'scripted'"),
    ],
)
def test_an_entry_point_that_leads_to_no_provider_is_an_error(
    install: Install, target: str, says: str
) -> None:
    install(target)
    with pytest.raises(InvalidInput, match=says) as refused:
        provider_for("parrot:grey", settings_from(ALLOWED))
    assert refused.value.problem.code == "provider.bad_entry_point"


def test_an_unknown_provider_is_answered_with_those_installed_too(install: Install) -> None:
    install("acme_parrot:parrot")
    with pytest.raises(InvalidInput, match="parrot:…"):
        split_model("parot:grey")


def test_no_package_takes_the_name_of_a_provider_of_ours(install: Install) -> None:
    install("acme_parrot:parrot")
    settings = settings_from({**ALLOWED, "PARTSONG_PROVIDERS": "openai", "OPENAI_API_KEY": "o"})
    assert type(provider_for("openai:x", settings)).__module__.startswith("partsong.")
