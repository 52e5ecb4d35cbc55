"""The registry: which provider serves a model, and where its key and address come from."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from partsong.contracts.errors import InvalidInput, PartsongError, Unavailable
from partsong.models.installed import GROUP, made_by
from partsong.models.port import Provider
from partsong.models.stand_ins import stand_in
from partsong.runtime.entry_points import load, offered

__all__ = ["Providers", "Settings", "provider_for", "settings_from", "split_model", "usable"]


@dataclass(frozen=True, slots=True)
class Settings:
    """Keys and addresses. An empty address is the vendor's own."""

    anthropic_api_key: str = field(default="", repr=False)
    anthropic_base_url: str = ""
    openai_api_key: str = field(default="", repr=False)
    openai_base_url: str = ""
    google_api_key: str = field(default="", repr=False)
    google_base_url: str = ""
    scripted_delay: float = 0.01
    """Seconds between two words of the scripted provider."""
    installed: tuple[str, ...] = ()
    """Providers of installed packages that may be used."""
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What those may read their own settings from."""


def settings_from(env: Mapping[str, str]) -> Settings:
    """The settings that environment variables name.

    Raises:
        InvalidInput: `settings.scripted_delay` if PARTSONG_SCRIPTED_DELAY is not a number of seconds.
    """
    delay = env.get("PARTSONG_SCRIPTED_DELAY", "0.01")
    try:
        seconds = float(delay)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise InvalidInput(
            "settings.scripted_delay",
            f"PARTSONG_SCRIPTED_DELAY is {delay!r}, not a number of seconds",
            where="PARTSONG_SCRIPTED_DELAY",
            fix="set it to something like 0.01, or leave it out",
        )
    return Settings(
        anthropic_api_key=env.get("ANTHROPIC_API_KEY", ""),
        anthropic_base_url=env.get("ANTHROPIC_BASE_URL", ""),
        openai_api_key=env.get("OPENAI_API_KEY", ""),
        openai_base_url=env.get("OPENAI_BASE_URL", ""),
        google_api_key=env.get("GOOGLE_API_KEY", "") or env.get("GEMINI_API_KEY", ""),
        google_base_url=env.get("GOOGLE_BASE_URL", ""),
        scripted_delay=seconds,
        installed=tuple(
            n for n in env.get("PARTSONG_PROVIDERS", "").replace(" ", "").split(",") if n
        ),
        env=env,
    )


def _anthropic(settings: Settings) -> Provider:
    from partsong.models.providers.anthropic import AnthropicProvider

    return AnthropicProvider(settings.anthropic_api_key, settings.anthropic_base_url)


def _openai(settings: Settings) -> Provider:
    from partsong.models.providers.openai_responses import ResponsesProvider

    return ResponsesProvider(settings.openai_api_key, settings.openai_base_url)


def _openai_chat(settings: Settings) -> Provider:
    from partsong.models.providers.openai_chat import ChatProvider

    return ChatProvider(settings.openai_api_key, settings.openai_base_url)


def _google(settings: Settings) -> Provider:
    from partsong.models.providers.google import GoogleProvider

    return GoogleProvider(settings.google_api_key, settings.google_base_url)


def _scripted(settings: Settings) -> Provider:
    from partsong.models.providers.scripted import ScriptedProvider

    return ScriptedProvider(delay=settings.scripted_delay)


@dataclass(frozen=True, slots=True)
class _Vendor:
    make: Callable[[Settings], Provider]
    sdk: str = ""
    """The module to look for; empty if it needs none."""
    variable: str = ""
    """The environment variable of its key; empty if it needs none."""
    usable: Callable[[Settings], str] = lambda _: "yes"
    """A key, or the address of a server that may not want one; empty if there is neither."""


_VENDORS: dict[str, _Vendor] = {
    "anthropic": _Vendor(
        _anthropic,
        "anthropic",
        "ANTHROPIC_API_KEY",
        lambda s: s.anthropic_api_key or s.anthropic_base_url,
    ),
    "openai": _Vendor(
        _openai, "openai", "OPENAI_API_KEY", lambda s: s.openai_api_key or s.openai_base_url
    ),
    "openai-chat": _Vendor(
        _openai_chat, "openai", "OPENAI_API_KEY", lambda s: s.openai_api_key or s.openai_base_url
    ),
    "google": _Vendor(
        _google, "google.genai", "GOOGLE_API_KEY", lambda s: s.google_api_key or s.google_base_url
    ),
    "scripted": _Vendor(_scripted),
}


def split_model(model: str) -> tuple[str, str]:
    """`anthropic:claude-x` as provider and the provider's own name of the model.

    Raises:
        InvalidInput: `model.unknown_provider` if what comes before the first colon is none of ours and of no installed
            package, and nobody stands in.
    """
    provider, colon, name = model.partition(":")
    if stand_in(model) is not None:
        return provider, name
    known = provider in _VENDORS or provider in offered(GROUP)
    if not known or not colon or not name:
        names = [*_VENDORS, *sorted(offered(GROUP))]
        raise InvalidInput(
            "model.unknown_provider",
            f"{model!r} is not one of {', '.join(f'{known}:…' for known in names)}",
            where="model",
            fix="write provider:model, for example scripted:summary, which needs no key",
        )
    return provider, name


def provider_for(model: str, settings: Settings) -> Provider:
    """A provider for a model's full name; its SDK is looked for, but not imported yet.

    Raises:
        InvalidInput: `model.unknown_provider`, `provider.bad_entry_point`.
        Unavailable: `provider.not_installed` if the SDK is missing, `provider.no_key` if there is no key,
            `provider.not_allowed` if a package has it, but nobody said that it may be used.
    """
    if (other := stand_in(model)) is not None:
        return other
    name, _ = split_model(model)
    if name not in _VENDORS:
        return made_by(name, settings.installed, settings.env)
    vendor = _VENDORS[name]
    if vendor.sdk and not _installed(vendor.sdk):
        raise Unavailable(
            "provider.not_installed",
            f"{model}: the package {vendor.sdk!r} is not installed",
            where="model",
            fix="pip install 'partsong[gateway]'",
        )
    if not vendor.usable(settings):
        raise Unavailable(
            "provider.no_key",
            f"{model}: {vendor.variable} is not set",
            where=vendor.variable,
            fix=f"set {vendor.variable}, or use a scripted:… model, which needs no key",
        )
    return vendor.make(settings)


def usable(provider: str, settings: Settings) -> bool:
    """Whether a vendor's models can be asked: its SDK is there, and a key or an address."""
    vendor = _VENDORS.get(provider)
    if vendor is None or (vendor.sdk and not _installed(vendor.sdk)):
        return False
    return bool(vendor.usable(settings))


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of the package around it
        return False


class Providers:
    """One provider per vendor, made when first asked for, so that all calls share its connections."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._made: dict[str, Provider] = {}

    def get(self, model: str) -> Provider:
        """The provider of a model's full name. Raises what `provider_for` raises."""
        if (other := stand_in(model)) is not None:
            return other
        name, _ = split_model(model)
        if name not in self._made:
            self._made[name] = provider_for(model, self._settings)
        return self._made[name]

    async def load(self, model: str) -> None:
        """Import the package of a provider that is none of ours, off the loop: that may take seconds."""
        name = model.partition(":")[0]
        foreign = name not in _VENDORS and name in self._settings.installed
        if foreign and name not in self._made and name in offered(GROUP):
            with contextlib.suppress(PartsongError):  # said when it is asked for
                await asyncio.to_thread(load, GROUP, name)

    async def aclose(self) -> None:
        """Close all pools."""
        made, self._made = self._made, {}
        for provider in made.values():
            await provider.aclose()
