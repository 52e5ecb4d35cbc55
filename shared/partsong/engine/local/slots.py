"""Slots: how many nodes of a run may work at once, and which of those that wait goes first.

The engine asks for every call that could be made; here a call waits until its node has a slot. A node keeps its slot
from one call to the next one that follows at once (a turn, its tools, the next turn), and gives it back when it has
ended or waits for something else: a person, the time before a retry. So nothing that waits keeps others waiting.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import defaultdict
from collections.abc import Callable, Coroutine
from itertools import count

from partsong.contracts import events as e
from partsong.contracts.talk.chunks import Chunk
from partsong.contracts.wire.work import Work
from partsong.engine.local.engine import Item, Perform, Result

__all__ = ["Slots"]


class Slots:
    """Makes calls like `perform`, for at most `most` nodes of the run's own graph at once; one run uses it.

    `priority` is asked with a node's name; higher goes first, and of equals who came first. It must `see` the run's
    events.
    """

    def __init__(self, perform: Perform, most: int, priority: Callable[[str], int]) -> None:
        self._perform, self._most, self._priority = perform, most, priority
        self._open: defaultdict[str, set[str]] = defaultdict(set)
        """By execution: its calls that are not closed."""
        self._line: list[tuple[int, int, str, asyncio.Event]] = []
        self._turns: dict[str, asyncio.Event] = {}
        """By execution that wants a slot or has one: set when it has."""
        self._number = count()

    def __call__(self, work: Work, emit: Callable[[Chunk], None]) -> Coroutine[None, None, Result]:
        """Make one call, once its node has a slot."""
        return self._in_turn(work, emit)

    def see(self, item: Item) -> None:
        """Take note of what the run did."""
        match item:
            case e.CallRequested() | e.AgentTurnRequested():
                self._open[_owner(item.call_id)].add(item.call_id)
            case (
                e.CallCompleted()
                | e.CallFailed()
                | e.CallSuspended()
                | e.CallCancelled()
                | e.CallLapsed()
                | e.AgentTurnCompleted()
                | e.AgentTurnFailed()
            ):
                self._close(item.call_id)
            case _:
                pass

    async def _in_turn(self, work: Work, emit: Callable[[Chunk], None]) -> Result:
        owner = _owner(work.call_id)
        self._open[owner].add(work.call_id)
        try:
            await self._turn(owner).wait()
            return await self._perform(work, emit)
        except asyncio.CancelledError:
            self._close(work.call_id)
            raise

    def _turn(self, owner: str) -> asyncio.Event:
        turn = self._turns.get(owner)
        if turn is None:
            turn = self._turns[owner] = asyncio.Event()
            first = -self._priority(owner.rpartition(":")[0])
            heapq.heappush(self._line, (first, next(self._number), owner, turn))
            self._soon(self._deal)  # after all who were asked for by the same decision
        return turn

    def _close(self, call_id: str) -> None:
        self._open[_owner(call_id)].discard(call_id)
        self._soon(self._sweep)  # after the rest of the commit, which may ask for the next call

    def _sweep(self) -> None:
        for owner in [owner for owner, calls in self._open.items() if not calls]:
            del self._open[owner]
            self._turns.pop(owner, None)
        self._soon(self._deal)

    def _deal(self) -> None:
        free = self._most - sum(turn.is_set() for turn in self._turns.values())
        while free > 0 and self._line:
            _, _, owner, turn = heapq.heappop(self._line)
            if self._turns.get(owner) is turn:
                turn.set()
                free -= 1

    def _soon(self, what: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_soon(what)


def _owner(call_id: str) -> str:
    """The execution in the run's own graph that a call belongs to."""
    return call_id.partition("/")[0]
