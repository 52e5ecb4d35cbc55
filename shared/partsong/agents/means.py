"""`Means`: what calls of an agent use: connections to providers, and threads for tools."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from partsong.agents.choice import Choice
from partsong.agents.toolset import Toolset
from partsong.execution.executor import Executor
from partsong.models.registry import Providers
from partsong.runtime.vault import MemoryVault, Vault

__all__ = ["Means", "Pool"]


@dataclass(frozen=True, slots=True)
class Means:
    """To be made, used and closed in one event loop. Nothing is connected or imported before it is needed."""

    providers: Providers
    executor: Executor
    vault: Vault

    async def aclose(self) -> None:
        """Close all connections and let idle threads end."""
        self.executor.close()
        await self.providers.aclose()


class Pool:
    """Means that are shared while somebody holds the pool, and made anew for each user otherwise."""

    def __init__(self, choice: Choice, toolset: Toolset) -> None:
        self._choice, self._toolset = choice, toolset
        self._held: Means | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        """Where they were made, and are used."""
        self._holders = 0

    def hold(self) -> None:
        """Share means from here on."""
        if self._held is None:
            self._held, self._loop = self._made(), asyncio.get_running_loop()
        self._holders += 1

    async def release(self) -> None:
        """Close them, if nobody else holds the pool."""
        self._holders -= 1
        if self._holders == 0 and self._held is not None:
            means, self._held = self._held, None
            await means.aclose()

    @asynccontextmanager
    async def means(self) -> AsyncIterator[Means]:
        """The shared ones, or some for just this once, as for a blocking call from a notebook."""
        if self._held is not None and self._loop is asyncio.get_running_loop():
            yield self._held
            return
        means = self._made()
        try:
            yield means
        finally:
            await means.aclose()

    def _made(self) -> Means:
        vault = MemoryVault()
        return Means(Providers(self._choice.settings), self._toolset.executor(vault), vault)
