"""Other runs, as far as one run concerns them: its parent, its children, its thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from pydantic import JsonValue

from partsong.contracts.events import Event
from partsong.contracts.state import RunState
from partsong.graph_engine.children import Children, abandoned
from partsong.graph_engine.core import hear
from partsong.graph_engine.mail import Ask, Message
from partsong.graph_engine.threads import Threads

__all__ = ["Others", "Relations"]


class Others(Protocol):
    """Is told what became of a run, and tells other runs. Telling a thing twice does no harm."""

    async def committed(self, before: RunState, after: RunState) -> None:
        """A commit led from one state to the other."""
        ...

    async def looked_after(self, state: RunState) -> None:
        """A run was woken, or asked for once more: what may have been lost for it is done again."""
        ...


class Relations:
    """The others on the bus; `tell` puts a message into the mailbox of a run."""

    def __init__(
        self, children: Children, threads: Threads, tell: Callable[[str, Message], None]
    ) -> None:
        self._children, self._threads, self._tell = children, threads, tell

    async def committed(self, before: RunState, after: RunState) -> None:
        """See `Others.committed`."""
        for call in abandoned(before, after):
            await self._children.cancel(after.run_id, call)
        if after.ended and not before.ended:
            await self._ended(after)

    async def looked_after(self, state: RunState) -> None:
        """See `Others.looked_after`."""
        if state.ended:
            await self._ended(state)
        elif (why := await self._children.orphaned(state)) is not None:
            self._cancel(state.run_id, why)
        elif state.status == "queued":
            await self._admit(state)

    async def _admit(self, state: RunState) -> None:
        """Let a run begin that waits for its thread, if it has it now."""
        thread, known = state.options.thread, dict[str, JsonValue]()
        if thread is not None:
            if not await self._threads.may_go(state.run_id, thread):
                return
            if state.graph is not None:
                known = await self._threads.remembered(thread, state.graph)

        def admit(state: RunState, now: str) -> tuple[Event, ...]:
            return hear.admit(state, now, known)

        self._tell(state.run_id, Ask(admit))

    async def _ended(self, state: RunState) -> None:
        await self._children.answer(state)
        if state.options.thread is not None:
            await self._threads.leave(state.run_id, state.options.thread)

    def _cancel(self, run_id: str, reason: str) -> None:
        def cancel(state: RunState, now: str) -> tuple[Event, ...]:
            return hear.cancel(state, reason, f"{run_id}~orphaned", now)

        self._tell(run_id, Ask(cancel))
