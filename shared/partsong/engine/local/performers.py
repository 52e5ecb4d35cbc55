"""What the other services do, done in this process: functions, tools and agent turns."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Self, assert_never

from partsong.contracts.errors import PartsongError, Problem
from partsong.contracts.graph import Graph
from partsong.contracts.graph.needs import tools_of
from partsong.contracts.graph.validate import functions_of
from partsong.contracts.talk.chunks import Chunk
from partsong.contracts.wire.work import ChildWork, FunctionWork, HookWork, ToolWork, TurnWork, Work
from partsong.engine.local.engine import Perform, Result
from partsong.execution.executor import Executor
from partsong.execution.functions import Functions
from partsong.execution.hooks import Hooks
from partsong.execution.loaded_tools import LoadedTools
from partsong.execution.modules import Modules
from partsong.plugins.shelf import Shelf
from partsong.runtime.vault import MemoryVault
from partsong.tools.registry import ToolRegistry

if TYPE_CHECKING:
    from partsong.models.turns import Turns

__all__ = ["Performers", "routed"]


_KEPT = 100
"""Exceptions that are kept, with all that their frames hold, for the error of a run that comes of one."""


def routed(shared: Perform, own: Mapping[str, Perform], whose: Callable[[Work], str]) -> Perform:
    """Agents that bring their own keys and tools make their own turns and tool calls; `shared` makes all other calls."""

    def perform(work: Work, emit: Callable[[Chunk], None]) -> Coroutine[None, None, Result]:
        mine = own.get(whose(work)) if isinstance(work, TurnWork | ToolWork) else None
        return (mine or shared)(work, emit)

    return perform


class Performers:
    """Makes any call; a provider's SDK is loaded when the first agent asks for it."""

    def __init__(
        self, functions: Functions, tools: ToolRegistry, plugins: Shelf, stack: AsyncExitStack
    ) -> None:
        self._vault, self._raised = (
            MemoryVault(),
            deque[tuple[Problem, BaseException]](maxlen=_KEPT),
        )
        self._executor = Executor(functions, tools, vault=self._vault, raised=self._keep)
        self._hooks, self._plugins = Hooks(plugins), plugins
        stack.callback(self._hooks.close)
        self._tools = tools
        self._stack = stack
        self._turns: Turns | None = None
        stack.callback(self._executor.close)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        graph: Graph,
        functions: Mapping[str, Callable[..., object]],
        tools: ToolRegistry | None,
        plugins: Shelf | None = None,
    ) -> AsyncIterator[Self]:
        """Ready to perform for `graph`; functions it names but was not given are imported by name."""
        named = set(functions_of(graph))
        registry = tools or ToolRegistry()
        stand = {at for name, at in tools_of(graph) if at and not registry.has(name, at)}
        names = {name.partition(":")[0] for name in (named - functions.keys()) | stand}
        modules = Modules(sorted(names))
        async with AsyncExitStack() as stack:
            yield cls(
                Functions(modules, given=functions),
                registry.looking_in(LoadedTools(modules).find),
                plugins or Shelf({}),
                stack,
            )

    def cause_of(self, problem: Problem) -> BaseException | None:
        """The exception that was raised here and became this error; a run may have said more exactly where."""
        told = problem.code, problem.message, problem.traceback
        for raised, error in reversed(self._raised):
            if (raised.code, raised.message, raised.traceback) == told:
                return error
        return None

    def _keep(self, problem: Problem, error: BaseException) -> None:
        self._raised.append((problem, error))

    def __call__(self, work: Work, emit: Callable[[Chunk], None]) -> Coroutine[None, None, Result]:
        """Make one call."""
        match work:
            case FunctionWork() | ToolWork():
                return self._executor.called(work, emit)
            case HookWork():
                return self._hooks.run(work)
            case TurnWork():
                return self._turn(work, emit)
            case ChildWork():
                raise AssertionError("the engine runs detached subgraphs itself")
            case _:
                assert_never(work)

    async def _turn(self, work: TurnWork, emit: Callable[[Chunk], None]) -> Result:
        from partsong.models.turn import refuse_turn
        from partsong.models.turns import Turns
        from partsong.plugins.watching import watched

        if self._turns is None:
            self._turns = Turns.from_env(os.environ)
            self._stack.push_async_callback(self._turns.aclose)
        sources = work.agent.sources
        specs = [self._tools.get(name, sources.get(name, "")).spec() for name in work.agent.tools]
        show = watched(emit, self._plugins, work.run_id, work.node)
        try:
            decided = await self._turns.decide(work)
        except PartsongError as error:
            return refuse_turn(work, error.problem, emit)
        event = await self._turns.take(
            work, decided, (*specs, *work.inner), show, vault=self._vault
        )
        return event if decided is None else (decided, event)
