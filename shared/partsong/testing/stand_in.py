"""What the models for tests have in common: they stand in for a model by name, and say at the end what went wrong."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from partsong.contracts.talk.chunks import Chunk, Failed
from partsong.models.port import TurnRequest
from partsong.models.stand_ins import standing_in

__all__ = ["StandIn"]


class StandIn(ABC):
    """Answers inside `with`, for every agent and graph of this process that asks one of its models.

    What it cannot answer fails the turn, and the end of the block too: code that swallows the one meets the other.
    """

    def __init__(self, *models: str) -> None:
        self.models = models
        """Full names, as they stand in agents and graphs."""
        self.asked: list[TurnRequest] = []
        """All it was asked so far, the first question first."""
        self._stack = ExitStack()
        self._failure: str | None = None

    @property
    def model(self) -> str:
        """The first of its names."""
        return self.models[0]

    @property
    def name(self) -> str:
        """What comes before the colon."""
        return self.model.partition(":")[0]

    async def warm(self) -> None:  # noqa: B027  # there is no SDK
        """Nothing to do."""

    @abstractmethod
    def stream(self, request: TurnRequest) -> AsyncGenerator[Chunk, None]:
        """The answer; see `Provider.stream`."""

    async def aclose(self) -> None:  # noqa: B027  # there is no connection
        """Nothing to do."""

    def __enter__(self) -> Self:
        self._stack.enter_context(standing_in(self, *self.models))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()
        failure = self._failure or self._unfinished()
        if error is None and failure is not None:
            raise AssertionError(failure)

    def _unfinished(self) -> str | None:
        """What is wrong although every question was answered."""
        return None

    def _fail(self, message: str) -> Failed:
        """The end of a turn that there is no answer for."""
        self._failure = self._failure or message
        return Failed(error="invalid_request", message=message)
