"""Estimates: what a turn has used while nobody has said so, from what its model was given and what it has said."""

from __future__ import annotations

from collections.abc import Iterable

from partsong.contracts.events import TurnPrice, TurnUsage
from partsong.contracts.talk.chunks import Chunk, Reasoning, Refusal, Text, ToolArgs, Usage
from partsong.contracts.talk.messages import Message, ToolSpec
from partsong.contracts.wire.work import TurnWork

__all__ = ["Tally", "asked", "given", "used"]

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
            cache_write_1h=reported.cache_write_1h,
            reasoning=reported.reasoning,
            cost=None if price is None else _cost(reported, read, written, price),
            estimated=True,
        )


def _cost(reported: Usage, read: int, written: int, price: TurnPrice) -> float:
    """US dollars; what comes out of a cache is not charged like what is read anew."""
    kept, stored = reported.cache_read, reported.cache_write
    dear = price.input if price.cache_write is None else price.cache_write
    cheap = price.input if price.cache_read is None else price.cache_read
    fresh = max(0, read - kept - stored)
    return fresh * price.input + kept * cheap + stored * dear + written * price.output


def used(work: TurnWork, said: Iterable[Chunk], price: TurnPrice | None) -> TurnUsage:
    """What an attempt used that said all this and never ended."""
    tally = Tally(work)
    for chunk in said:
        tally.take(chunk)
    return tally.usage(price)


def asked(work: TurnWork) -> int:
    """About how many tokens a model is given."""
    return given(work.agent.instructions, work.messages, work.inner)


def given(instructions: str, messages: Iterable[Message], tools: Iterable[ToolSpec]) -> int:
    """About how many tokens a prompt has."""
    told = (*messages, *tools)
    return _tokens(len(instructions) + sum(len(each.model_dump_json()) for each in told))


def _tokens(letters: int) -> int:
    return -(-letters // _CHARS_PER_TOKEN)
