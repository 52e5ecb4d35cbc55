"""What a turn cost, from the price list that genai-prices carries; no network."""

from __future__ import annotations

import asyncio
from functools import lru_cache

from partsong.contracts.events import TurnPrice, TurnUsage

__all__ = ["cost_of", "listed", "price_of"]

_PRICED = {
    "anthropic": "anthropic",
    "openai": "openai",
    "openai-chat": "openai",
    "google": "google",
}
_FREE = "scripted"
"""The provider that asks nobody."""
_NOTHING = TurnPrice(input=0.0, output=0.0)
_MANY = 1000
"""Tokens of a turn of common length: some prices rise with it."""


async def cost_of(provider: str, model: str, usage: TurnUsage) -> float | None:
    """US dollars; None if the price is not known, which is not the same as free."""
    if provider == _FREE:
        return 0.0
    if provider not in _PRICED:
        return None
    # In a thread, because importing the list takes most of a second.
    return await asyncio.to_thread(_listed, _PRICED[provider], model, usage)


async def price_of(provider: str, model: str) -> TurnPrice | None:
    """What a token costs, in US dollars; None if it is not known."""
    if provider == _FREE:
        return _NOTHING
    if provider not in _PRICED:
        return None
    return await asyncio.to_thread(_per_token, _PRICED[provider], model)


def listed(model: str) -> tuple[TurnPrice | None, int | None]:
    """What a token of `provider:model` costs, and how many its context holds, as far as the list knows; blocks."""
    family, _, name = model.partition(":")
    if family == _FREE:
        return _NOTHING, None
    try:
        from genai_prices import Usage, calc_price
    except (
        ImportError
    ):  # another's provider, or one that stands in: the vendors' SDKs come with the list
        return None, None
    provider = _PRICED.get(family, family)
    try:
        found = calc_price(Usage(input_tokens=_MANY), model_ref=name, provider_id=provider)
    except LookupError:
        return None, None
    return _per_token(provider, name), found.model.context_window


@lru_cache(maxsize=1024)
def _per_token(provider: str, model: str) -> TurnPrice | None:
    read = _listed(provider, model, TurnUsage(input_total=_MANY))
    written = _listed(provider, model, TurnUsage(output_total=_MANY))
    kept = _listed(provider, model, TurnUsage(input_total=_MANY, cache_read=_MANY))
    stored = _listed(provider, model, TurnUsage(input_total=_MANY, cache_write=_MANY))
    if read is None or written is None:
        return None
    return TurnPrice(
        input=read / _MANY,
        output=written / _MANY,
        cache_read=None if kept is None else kept / _MANY,
        cache_write=None if stored is None else stored / _MANY,
    )


def _listed(provider: str, model: str, usage: TurnUsage) -> float | None:
    try:
        from genai_prices import Usage, calc_price
    except ImportError:
        return None
    tokens = Usage(
        input_tokens=usage.input_total,
        output_tokens=usage.output_total,
        cache_read_tokens=usage.cache_read,
        cache_write_tokens=usage.cache_write,
        cache_write_1h_tokens=usage.cache_write_1h,
    )
    try:
        return float(calc_price(tokens, model_ref=model, provider_id=provider).total_price)
    except LookupError:
        return None
    except ValueError:  # numbers that cannot be, as some compatible servers report them
        return None
