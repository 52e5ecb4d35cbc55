"""What a turn cost, from the price list that genai-prices carries; no network."""

from __future__ import annotations

import asyncio

from partsong.contracts.events import TurnUsage

__all__ = ["cost_of"]

_PRICED = {
    "anthropic": "anthropic",
    "openai": "openai",
    "openai-chat": "openai",
    "google": "google",
}


async def cost_of(provider: str, model: str, usage: TurnUsage) -> float | None:
    """US dollars; None if the price is not known, which is not the same as free."""
    if provider not in _PRICED:
        return None
    # In a thread, because importing the list takes most of a second.
    return await asyncio.to_thread(_listed, _PRICED[provider], model, usage)


def _listed(provider: str, model: str, usage: TurnUsage) -> float | None:
    from genai_prices import Usage, calc_price

    tokens = Usage(
        input_tokens=usage.input_total,
        output_tokens=usage.output_total,
        cache_read_tokens=usage.cache_read,
        cache_write_tokens=usage.cache_write,
    )
    try:
        return float(calc_price(tokens, model_ref=model, provider_id=provider).total_price)
    except LookupError:
        return None
    except ValueError:  # numbers that cannot be, as some compatible servers report them
        return None
