"""One turn: ask the provider, show its chunks as they come, and say how the turn ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing

from partsong.agent_gateway.core.assemble import Broken, Turn, assemble
from partsong.agent_gateway.core.coalesce import Coalescer
from partsong.agent_gateway.core.failure import failed
from partsong.agent_gateway.port import TurnRequest
from partsong.agent_gateway.pricing import cost_of
from partsong.agent_gateway.registry import Providers, split_model
from partsong.contracts.chunks import TERMINAL, Chunk
from partsong.contracts.errors import PartsongError
from partsong.contracts.events import AgentTurnCompleted, AgentTurnFailed
from partsong.contracts.messages import ToolSpec
from partsong.contracts.work import TurnWork
from partsong.runtime import clock

__all__ = ["take_turn"]


class _Stage:
    """Numbers the chunks of one attempt, joins small ones, and hands them on."""

    def __init__(self, work: TurnWork, show: Callable[[Chunk], None]) -> None:
        self._stamp = {"call_id": work.call_id, "attempt": work.attempt}
        self._show, self._seq, self._joiner = show, 0, Coalescer()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self.seen: list[Chunk] = []

    def take(self, chunk: Chunk) -> None:
        """One chunk from the provider."""
        self.seen.append(chunk)
        self._out(self._joiner.push(chunk, self._loop.time()))
        deadline = self._joiner.deadline
        if deadline is not None and self._timer is None:
            self._timer = self._loop.call_at(deadline, self._due)

    def close(self) -> None:
        """Nothing more comes: show what is held back."""
        if self._timer is not None:
            self._timer.cancel()
        self._out(self._joiner.flush(self._loop.time()))

    def _due(self) -> None:
        self._timer = None
        self._out(self._joiner.flush(self._loop.time()))

    def _out(self, chunks: Iterable[Chunk]) -> None:
        for chunk in chunks:
            self._show(chunk.model_copy(update={**self._stamp, "seq": self._seq}))
            self._seq += 1


async def take_turn(
    work: TurnWork,
    providers: Providers,
    tools: tuple[ToolSpec, ...],
    show: Callable[[Chunk], None],
    *,
    worker: str = "",
) -> AgentTurnCompleted | AgentTurnFailed:
    """Ask the model for one turn. Exactly one terminal chunk is shown, also if this task is cancelled.

    Raises nothing but `CancelledError`: what goes wrong is in the event.
    """
    stage = _Stage(work, show)
    try:
        async with aclosing(_chunks(work, providers, tools)) as chunks:
            async for chunk in chunks:
                stage.take(chunk)
    except asyncio.CancelledError:
        stage.take(failed("cancelled", "nobody needs the answer any more"))
        raise
    except Exception as error:
        message = (
            str(error) if isinstance(error, PartsongError) else f"{type(error).__name__}: {error}"
        )
        stage.take(
            failed("invalid_request" if isinstance(error, PartsongError) else "server", message)
        )
    finally:
        if not stage.seen or not isinstance(stage.seen[-1], TERMINAL):
            stage.take(failed("truncated", "the provider's stream stopped without an end"))
        stage.close()
    return _event(work, assemble(stage.seen), worker)


async def _chunks(
    work: TurnWork, providers: Providers, tools: tuple[ToolSpec, ...]
) -> AsyncGenerator[Chunk, None]:
    """The provider's chunks, within the call's time."""
    provider = providers.get(work.agent.model)
    request = TurnRequest(
        model=split_model(work.agent.model)[1],
        messages=work.messages,
        instructions=work.agent.instructions,
        tools=tools,
        max_tokens=work.agent.max_tokens,
        temperature=work.agent.temperature,
        output_schema=work.agent.output_schema,
        timeout=work.timeout or 600.0,
    )
    async with aclosing(provider.stream(request)) as chunks:
        async for chunk in chunks:
            yield chunk


def _event(
    work: TurnWork, outcome: Turn | Broken, worker: str
) -> AgentTurnCompleted | AgentTurnFailed:
    stem = f"{work.run_id}.{work.call_id}.{work.attempt}"
    now, cause = clock.now_text(), f"{stem}.requested"
    if isinstance(outcome, Broken):
        return AgentTurnFailed(
            id=f"{stem}.closed",
            time=now,
            cause=cause,
            call_id=work.call_id,
            attempt=work.attempt,
            worker=worker,
            error=outcome.problem,
            retry_after=outcome.retry_after,
            usage=outcome.usage,
        )
    return AgentTurnCompleted(
        id=f"{stem}.closed",
        time=now,
        cause=cause,
        call_id=work.call_id,
        attempt=work.attempt,
        worker=worker,
        message=outcome.message,
        stop=outcome.stop,
        provider=outcome.provider,
        model=outcome.model,
        usage=outcome.usage.model_copy(
            update={"cost": cost_of(outcome.provider, outcome.model, outcome.usage)}
        ),
    )
