"""Estimates: what a turn has used while nobody has said so, from what its model was given and what it has said."""

from __future__ import annotations

from collections.abc import Iterable

from partsong.contracts.events import TurnPrice, TurnUsage
from partsong.contracts.talk.chunks import Chunk, Reasoning, Refusal, Text, ToolArgs, Usage
from partsong.contracts.wire.work import TurnWork

__all__ = ["Tally", "asked", "used"]

_CHARS_PER_TOKEN = 4
"""A rule of thumb for English."""


class Tally:
    """Counts one attempt's chunks as they come; what the provider itself reports counts more."""

    def __init__(self, work: TurnWork) -> None:
        """Nothing was said yet; nobody knows that the provider has not read the question."""
        self._asked = asked(work)
        self._letters = 0
        self._reported = Usage()

    def take(self, chunk: Chunk) -> bool:
        """One more chunk; whether the model has said something in it."""
        match chunk:
            case Text() | Reasoning() | Refusal() | ToolArgs():
                self._letters += len(chunk.text)
                return True
            case Usage():
                self._reported = chunk
                return False
            case _:
                return False

    def usage(self, price: TurnPrice | None) -> TurnUsage:
        """The tokens so far, and their cost if the price is known."""
        reported = self._reported
        read = reported.input_total or self._asked
        written = max(reported.output_total, _tokens(self._letters))
        return TurnUsage(
            input_total=read,
            output_total=written,
            cache_read=reported.cache_read,
            cache_write=reported.cache_write,
            reasoning=reported.reasoning,
            cost=None if price is None else read * price.input + written * price.output,
            estimated=True,
        )


def used(work: TurnWork, said: Iterable[Chunk], price: TurnPrice | None) -> TurnUsage:
    """What an attempt used that said all this and never ended."""
    tally = Tally(work)
    for chunk in said:
        tally.take(chunk)
    return tally.usage(price)


def asked(work: TurnWork) -> int:
    """About how many tokens a model is given."""
    told = (*work.messages, *work.inner)
    return _tokens(len(work.agent.instructions) + sum(len(each.model_dump_json()) for each in told))


def _tokens(letters: int) -> int:
    return -(-letters // _CHARS_PER_TOKEN)
