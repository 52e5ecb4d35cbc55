"""Chunks: from a provider's socket through its real SDK and the gateway to a NATS subscriber."""

from __future__ import annotations

from bench.row import Context, Row
from bench.speech import speak

__all__ = ["measure"]


async def measure(context: Context) -> list[Row]:
    """20 agents at once, each told 50 words a second."""
    heard = await speak(context, agents=20, rate=50, words=context.size(500, 100))
    return [
        context.promised("chunk.p50", heard.at(0.5), note=str(heard)),
        context.promised("chunk.p99", heard.at(0.99), note=str(heard)),
    ]
