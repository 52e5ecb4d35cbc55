"""Streams: as many agents at once as one gateway is meant for, each as fast as people read."""

from __future__ import annotations

from bench.row import Context, Row
from bench.speech import speak

__all__ = ["measure"]


async def measure(context: Context) -> list[Row]:
    """100 agents at once, each told 10 words a second."""
    heard = await speak(context, agents=100, rate=10, words=context.size(100, 30))
    return [
        context.promised("streams.p50", heard.at(0.5), note=str(heard)),
        context.promised("streams.p99", heard.at(0.99), note=str(heard)),
    ]
