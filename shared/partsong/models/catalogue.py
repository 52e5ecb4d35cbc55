"""The catalogue: which models the router may choose from, in which policy's order."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from partsong.contracts.errors import InvalidInput
from partsong.contracts.talk.model_routing import Tier
from partsong.models.pricing import listed
from partsong.models.registry import Settings, usable
from partsong.models.routing.policies import (
    Bandit,
    CheapestCapable,
    Complexity,
    Policy,
    Shadow,
    Static,
)
from partsong.models.routing.router import Candidate, Capability

__all__ = ["MODELS_SETTING", "POLICIES", "Catalogue", "Entry", "policy_of"]

MODELS_SETTING = "PARTSONG_MODELS"
"""A YAML file of models, or `provider:model=tier` by commas."""

POLICIES: dict[str, Policy] = {
    "static": Static(),
    "cheapest-capable": CheapestCapable(),
    "complexity": Complexity(),
    "bandit": Bandit(),
    "shadow": Shadow(serve=Complexity(), watch=Bandit()),
}
"""By what comes after `auto:`."""

_ALL: tuple[Capability, ...] = ("tools", "json", "vision")
_USUAL: dict[str, dict[str, Tier]] = {
    "anthropic": {
        "claude-haiku-5-5": "medium",
        "claude-sonnet-5-5": "complex",
        "claude-opus-5-5": "reasoning",
    },
    "openai": {"gpt-6-luna": "simple", "gpt-6.1-terra": "complex", "gpt-6.1-sol": "reasoning"},
    "google": {
        "gemini-3.5-flash-lite": "simple",
        "gemini-3.8-flash": "complex",
        "gemini-4-argon": "reasoning",
    },
}
"""Vendors' current families, smallest first. What is not in reach of a key is not a candidate."""
_MILLION = 1_000_000
_WINDOW = 128_000
"""Tokens, of a model whose context window nobody knows."""


class Entry(BaseModel):
    """A model in the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(pattern=r"^[a-z][a-z0-9_-]*:.+$")
    tier: Tier
    context_window: int | None = Field(default=None, ge=1)
    capabilities: frozenset[Capability] = frozenset({"tools", "json"})
    input_price: float | None = Field(default=None, ge=0)
    """US dollars per million tokens; left out, the price list is asked."""
    output_price: float | None = Field(default=None, ge=0)
    p95_latency: float | None = Field(default=None, gt=0)


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    models: tuple[Entry, ...] = Field(min_length=1)
    policy: str = "complexity"


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Candidates in the order of preference, and the policy of agents that name none."""

    entries: tuple[Entry, ...]
    policy: str = "complexity"
    _found: list[Candidate] = field(default_factory=list)

    @classmethod
    def read(cls, env: Mapping[str, str], settings: Settings) -> Catalogue:
        """The models that PARTSONG_MODELS names; without it, the usual ones of all vendors that have a key.

        Raises:
            InvalidInput: `models.malformed`.
        """
        given = env.get(MODELS_SETTING, "")
        if not given:
            return cls(_usual(settings))
        if "=" in given and ":" in given:
            pairs = [pair.strip().rpartition("=") for pair in given.split(",") if pair.strip()]
            raw: object = {"models": [{"model": model, "tier": tier} for model, _, tier in pairs]}
        else:
            raw = _yaml(Path(given))
        try:
            file = _File.model_validate(raw)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise _malformed(f"{place}: {first['msg']}") from None
        policy_of(file.policy)
        return cls(file.models, file.policy)

    async def candidates(self) -> tuple[Candidate, ...]:
        """The models with their prices and windows. The price list is read once, in a thread: that takes a second."""
        if not self._found:
            made = await asyncio.to_thread(lambda: [_candidate(entry) for entry in self.entries])
            self._found[:] = made
        return tuple(self._found)


def policy_of(name: str) -> Policy:
    """The policy of a name.

    Raises:
        InvalidInput: `models.unknown_policy`.
    """
    if name not in POLICIES:
        raise InvalidInput(
            "models.unknown_policy",
            f"there is no routing policy {name!r}",
            where="model",
            fix=f"one of {', '.join(POLICIES)}",
        )
    return POLICIES[name]


def _usual(settings: Settings) -> tuple[Entry, ...]:
    found = [
        Entry(model=f"{provider}:{model}", tier=tier, capabilities=frozenset(_ALL))
        for provider, models in _USUAL.items()
        if usable(provider, settings)
        for model, tier in models.items()
    ]
    if not found:
        found.append(Entry(model="scripted:text", tier="reasoning", context_window=10_000_000))
    return tuple(found)


def _candidate(entry: Entry) -> Candidate:
    price, window = listed(entry.model)
    read, written = entry.input_price, entry.output_price
    if price is not None:
        read = price.input * _MILLION if read is None else read
        written = price.output * _MILLION if written is None else written
    return Candidate(
        model=entry.model,
        tier=entry.tier,
        context_window=entry.context_window or window or _WINDOW,
        capabilities=entry.capabilities,
        input_price=read,
        output_price=written,
        p95_latency=entry.p95_latency,
    )


def _yaml(path: Path) -> object:
    import yaml

    try:
        return yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise _malformed(f"{path}: {error}") from None


def _malformed(why: str) -> InvalidInput:
    return InvalidInput(
        "models.malformed",
        f"{MODELS_SETTING}: {why}",
        where=MODELS_SETTING,
        fix="name a YAML file with `models: [{model: provider:model, tier: simple|medium|complex|reasoning}]`, or "
        "write provider:model=tier by commas",
        fault="platform",
    )
