"""What a tool-runner offers: its tools as a model sees them, and which of the things that a graph names it has."""

from __future__ import annotations

import asyncio
import logging
from types import ModuleType

from pydantic import JsonValue, ValidationError

from partsong.bus.faststream import Command
from partsong.contracts.errors import NotFound, PartsongError
from partsong.contracts.wire.offers import (
    MOST_ASKED,
    LoadedModule,
    Offer,
    OfferQuestion,
    ToolsQuestion,
)
from partsong.execution.functions import Functions
from partsong.execution.loaded_tools import LoadedTools, functions_in
from partsong.tools.registry import ToolRegistry

__all__ = ["Offers"]

_log = logging.getLogger("partsong.tool_runner")

_SHOWN = 200
"""Names of a module's functions, or tools, that an answer has."""


class Offers:
    """Answers questions about one tool-runner."""

    def __init__(self, functions: Functions, tools: ToolRegistry, worker: str) -> None:
        self._functions, self._tools, self._worker = functions, tools, worker
        loaded = LoadedTools(functions.modules)
        self._modules = tuple(_about(one, loaded) for one in functions.modules.loaded)

    def say(self) -> None:
        """Log what each loaded module brings, and which built-in tools are not to be had because of it."""
        for module, about in zip(self._functions.modules.loaded, self._modules, strict=True):
            names = {"functions": about.functions, "tools": about.tools}
            said = {what: ", ".join(some) for what, some in names.items() if some}
            if said:
                _log.info("loaded module", extra={"module_name": about.name, **said})
            elif not hasattr(module, "__path__"):
                _log.warning(
                    "loaded module has neither a function nor a tool",
                    extra={"module_name": about.name},
                )
        for name in self._tools.shadowed:
            _log.warning(
                "a tool of one's own takes the place of the built-in one", extra={"tool": name}
            )

    async def tools(self, command: Command) -> list[dict[str, JsonValue]]:
        """What the tools look like to a model: all that are offered by name, and those that are asked for by source."""
        specs = [spec.model_dump(mode="json") for spec in self._tools.specs()]
        found = await asyncio.to_thread(self._standing, _sources(command.body))
        return [*specs, *found]

    def _standing(self, sources: dict[str, str]) -> list[dict[str, JsonValue]]:
        """In a thread: to look may mean to import a module."""
        found: list[dict[str, JsonValue]] = []
        for name, source in list(sources.items())[:MOST_ASKED]:
            try:
                spec = self._tools.get(name, source).spec()
            except PartsongError:
                continue
            found.append({**spec.model_dump(mode="json"), "source": source})
        return found

    async def offer(self, command: Command) -> dict[str, JsonValue]:
        """Which of the functions and tools it has that are asked for, and what its modules bring."""
        return (await asyncio.to_thread(self._offer, _asked(command.body))).model_dump(mode="json")

    def _offer(self, asked: OfferQuestion) -> Offer:
        return Offer(
            worker=self._worker,
            functions=tuple(name for name in asked.functions[:MOST_ASKED] if self._has(name)),
            tools=tuple(
                one for one in asked.tools[:MOST_ASKED] if self._has_tool(one.name, one.source)
            ),
            modules=self._modules,
            shadowed=self._tools.shadowed,
        )

    def _has(self, function: str) -> bool:
        """Also one that cannot be called: whoever calls it is told why."""
        try:
            self._functions.get(function)
        except NotFound:
            return False
        except PartsongError:
            return True
        return True

    def _has_tool(self, name: str, source: str) -> bool:
        try:
            return self._tools.has(name, source)
        except PartsongError:
            return True


def _about(module: ModuleType, loaded: LoadedTools) -> LoadedModule:
    functions, tools = functions_in(module)[:_SHOWN], loaded.names(module)[:_SHOWN]
    return LoadedModule(name=module.__name__, functions=functions, tools=tools)


def _sources(body: bytes) -> dict[str, str]:
    try:
        return ToolsQuestion.model_validate_json(body or b"{}").sources
    except ValidationError:  # whoever asks in other words is shown what is offered by name
        return {}


def _asked(body: bytes) -> OfferQuestion:
    try:
        return OfferQuestion.model_validate_json(body or b"{}")
    except ValidationError:
        return OfferQuestion()
