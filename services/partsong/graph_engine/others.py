"""Other runs, as far as one run concerns them: its parent, its children, its thread."""

from __future__ import annotations

import hashlib
from typing import Protocol

from partsong.contracts.errors import InvalidInput, Problem
from partsong.contracts.state.state import Pending, RunState
from partsong.contracts.wire.requests import AdmitRequest, CancelRequest, RunRequest
from partsong.contracts.wire.subjects import OURS
from partsong.engine.commands.outcomes import Prepared, asked
from partsong.graph_engine.children import Children, abandoned
from partsong.graph_engine.commands import Commands
from partsong.graph_engine.threads import Threads

__all__ = ["Others", "Relations"]


class Others(Protocol):
    """Is told what became of a run, and tells other runs. Telling a thing twice does no harm."""

    async def settled(
        self, state: RunState, command: Pending, prepared: Prepared, error: Problem | None
    ) -> None:
        """A command has its outcome."""
        ...

    async def committed(self, before: RunState, after: RunState) -> None:
        """A commit led from one state to the other."""
        ...

    async def looked_after(self, state: RunState) -> None:
        """A run was woken: what may have been lost for it is done again."""
        ...

    async def taken_up(self, partition: int) -> None:
        """All open runs of a partition have been looked after since it was taken."""
        ...


class Relations:
    """The others on the bus. What concerns another run becomes a command of that run."""

    def __init__(self, children: Children, threads: Threads, commands: Commands) -> None:
        self._children, self._threads, self._commands = children, threads, commands

    async def settled(
        self, state: RunState, command: Pending, prepared: Prepared, error: Problem | None
    ) -> None:
        """See `Others.settled`."""
        if command.verb == "run":
            try:
                request = asked(RunRequest, command)
            except InvalidInput:
                return  # nobody can be told of what is no request
            if error is not None and state.graph is None:
                await self._children.refused(state.run_id, request.options, error)
            elif state.ended:
                await self._children.answer(
                    state
                )  # asked for once more by a parent that has not heard
            if error is None and request.options.on_busy == "cancel_previous":
                for other in prepared.ahead:
                    await self._cancel(other, f"run {state.run_id} takes its place", state.run_id)
        elif error is not None and prepared.rejoined and state.options.thread is not None:
            await self._threads.leave(state.run_id, state.options.thread)

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
            await self._cancel(state.run_id, why, "orphaned")
        elif state.options.thread is not None:
            if state.status == "queued":
                await self._admit(state)
            else:
                await self._threads.hold(state.run_id, state.options.thread)

    async def taken_up(self, partition: int) -> None:
        """See `Others.taken_up`."""
        await self._threads.seated(partition)

    async def _admit(self, state: RunState) -> None:
        """Let a run begin that waits for its thread, if it has it now."""
        thread = str(state.options.thread)
        if await self._threads.may_go(state.run_id, thread, state.started):
            id_ = f"{OURS}admit-{state.commits}"
            request = AdmitRequest(id=id_, run_id=state.run_id)
            await self._commands.append("admit", state.run_id, id_, request)

    async def _ended(self, state: RunState) -> None:
        await self._children.answer(state)
        if state.options.thread is not None:
            await self._threads.leave(state.run_id, state.options.thread)

    async def _cancel(self, run_id: str, reason: str, why: str) -> None:
        id_ = f"{OURS}cancel-{hashlib.sha256(why.encode()).hexdigest()[:16]}"
        request = CancelRequest(id=id_, run_id=run_id, reason=reason)
        await self._commands.append("cancel", run_id, id_, request)
