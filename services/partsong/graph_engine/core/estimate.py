"""Estimates: what a turn used that nobody finished, from what its model was given and what it had said."""

from __future__ import annotations

from collections.abc import Iterable

from partsong.contracts.chunks import Chunk, Reasoning, Refusal, Text, ToolArgs, Usage
from partsong.contracts.events import TurnPrice, TurnUsage
from partsong.contracts.work import TurnWork

__all__ = ["used"]

_CHARS_PER_TOKEN = 4


def used(work: TurnWork, said: Iterable[Chunk], price: TurnPrice | None) -> TurnUsage:
    """The tokens of an attempt, and their cost if the price is known; what the provider itself reported counts more.

    An attempt that said nothing counts as if the provider had read the question: nobody knows that it had not.
    """
    reported, letters = Usage(), 0
    for chunk in said:
        match chunk:
            case Text() | Reasoning() | Refusal() | ToolArgs():
                letters += len(chunk.text)
            case Usage():
                reported = chunk
            case _:
                pass
    asked = reported.input_total or _tokens(_asked(work))
    answered = max(reported.output_total, _tokens(letters))
    return TurnUsage(
        input_total=asked,
        output_total=answered,
        cache_read=reported.cache_read,
        cache_write=reported.cache_write,
        reasoning=reported.reasoning,
        cost=None if price is None else asked * price.input + answered * price.output,
        estimated=True,
    )


def _asked(work: TurnWork) -> int:
    told = (*work.messages, *work.inner)
    return len(work.agent.instructions) + sum(len(each.model_dump_json()) for each in told)


def _tokens(letters: int) -> int:
    return -(-letters // _CHARS_PER_TOKEN)
