"""Which models an agent asks, and with whose key: from what it was given, else from the environment."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from partsong.contracts.errors import InvalidInput
from partsong.models.registry import Settings, settings_from, split_model

__all__ = ["DEFAULT_MODELS", "Choice", "choose"]

DEFAULT_MODELS: Mapping[str, str] = {
    "anthropic": "claude-sonnet-5-5",
    "openai": "gpt-5.4",
    "google": "gemini-3.8-flash",
}
"""What an agent asks if it is told only whom to ask."""

_FAMILY = {
    "anthropic": "anthropic",
    "openai": "openai",
    "openai-chat": "openai",
    "google": "google",
}
"""Whose key and address a provider uses."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Models in the order in which they are tried, and the keys and addresses for them."""

    models: tuple[str, ...]
    settings: Settings

    def account(self, model: str) -> str:
        """Tells the keys for a model apart, without giving them away."""
        family = _FAMILY.get(split_model(model)[0], "")
        keys = {
            "anthropic": (self.settings.anthropic_api_key, self.settings.anthropic_base_url),
            "openai": (self.settings.openai_api_key, self.settings.openai_base_url),
            "google": (self.settings.google_api_key, self.settings.google_base_url),
        }
        return hashlib.sha256("\n".join(keys.get(family, ())).encode()).hexdigest()[:12]


def choose(
    model: str,
    env: Mapping[str, str],
    *,
    provider: str = "",
    api_key: str = "",
    base_url: str = "",
    fallbacks: tuple[str, ...] = (),
    scripted: str = "summary",
) -> Choice:
    """The models to ask. Key and address belong to the provider of the first one; the others take the environment's.

    Without a model, the key's form says whose it is; without a key, the first key in the environment does; without any,
    the scripted provider plays `scripted`. An address given without a key gets no key from the environment: a key is
    shown only to whom it was given for.

    Raises:
        InvalidInput: `model.unknown_provider`, `model.wrong_provider`, `model.missing`, `model.no_key_needed`,
            `model.bad_key`.
    """
    settings = settings_from(env)
    _check(api_key)
    if provider:
        model = _of_provider(model, provider, base_url)
    elif not model and base_url:
        raise InvalidInput(
            "model.missing",
            f"{base_url} was given, but not what to ask there",
            where="model",
            fix="name the model, for example openai-chat:llama3 for a server that speaks Chat Completions",
        )
    elif not model:
        vendor = _vendor_of(api_key) if api_key else _vendor_in(settings)
        model = f"{vendor}:{DEFAULT_MODELS[vendor]}" if vendor else f"scripted:{scripted}"
    family = _FAMILY.get(split_model(model)[0], "")
    for other in fallbacks:
        split_model(other)
    if api_key or base_url:
        settings = _with(settings, family, api_key, base_url)
    return Choice((model, *fallbacks), settings)


def _check(api_key: str) -> None:
    if any(not "!" <= character <= "~" for character in api_key):
        raise InvalidInput(
            "model.bad_key",
            f"the key of {len(api_key)} characters has some that no key has: blanks, line ends or others beyond ASCII",
            where="api_key",
            fix="copy it again; or leave it out, and the key in the environment or the scripted provider is used",
        )


def _of_provider(model: str, provider: str, base_url: str) -> str:
    """The full name of a model of this provider. OpenAI-compatible servers speak Chat Completions."""
    prefix, _, rest = model.partition(":")
    if rest and _FAMILY.get(prefix) == provider:
        return model
    if rest and prefix in {*_FAMILY, "scripted"}:
        raise InvalidInput(
            "model.wrong_provider",
            f"{model} is not a model of {provider}",
            where="model",
            fix="use Agent, which asks any provider",
        )
    spoken = "openai-chat" if provider == "openai" and base_url else provider
    return f"{spoken}:{model or DEFAULT_MODELS[provider]}"


def _vendor_of(api_key: str) -> str:
    """Whose key this is, by its form; Anthropic's if it has none that is known."""
    if api_key.startswith("AIza"):
        return "google"
    if api_key.startswith("sk-") and not api_key.startswith("sk-ant-"):
        return "openai"
    return "anthropic"


def _vendor_in(settings: Settings) -> str:
    """The first vendor with a key in the environment; empty if there is none."""
    keys = {
        "anthropic": settings.anthropic_api_key,
        "openai": settings.openai_api_key,
        "google": settings.google_api_key,
    }
    return next((vendor for vendor, key in keys.items() if key), "")


def _with(settings: Settings, family: str, key: str, url: str) -> Settings:
    match family:
        case "anthropic":
            url = url or settings.anthropic_base_url
            return replace(settings, anthropic_api_key=key, anthropic_base_url=url)
        case "openai":
            url = url or settings.openai_base_url
            return replace(settings, openai_api_key=key, openai_base_url=url)
        case "google":
            url = url or settings.google_base_url
            return replace(settings, google_api_key=key, google_base_url=url)
        case _:
            raise InvalidInput(
                "model.no_key_needed",
                "a scripted model takes no key and has no address; another package's provider has settings of its own",
                where="api_key",
                fix="leave api_key and base_url out, or name another model",
            )
