"""What tools look like to a model: asked of the tool-runners over NATS, remembered for a while."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing

import nats.errors
from nats.aio.client import Client
from pydantic import TypeAdapter, ValidationError

from partsong.contracts.errors import NotFound, Unavailable
from partsong.contracts.services import TOOL_RUNNER
from partsong.contracts.talk.messages import ToolSpec
from partsong.contracts.wire.subjects import Subjects
from partsong.runtime import clock
from partsong.runtime.answers import answers

__all__ = ["Toolbox"]

_log = logging.getLogger("partsong.agent_gateway")

_SPECS = TypeAdapter(list[ToolSpec])


class Toolbox:
    """The tools of all tool-runners, by name."""

    def __init__(
        self, nc: Client, subjects: Subjects, *, fresh: float = 10.0, within: float = 2.0
    ) -> None:
        self._nc, self._subject = nc, subjects.query(TOOL_RUNNER, "tools")
        self._fresh, self._within = fresh, within
        self._known: dict[str, ToolSpec] = {}
        self._asked = float("-inf")
        self._asking = asyncio.Lock()

    async def specs(self, names: tuple[str, ...]) -> tuple[ToolSpec, ...]:
        """The tools of these names, in this order.

        Raises:
            NotFound: `tool.unknown`, no tool-runner has one of them.
            Unavailable: no tool-runner answered.
        """
        wanted = set(names)
        if not self._fit(wanted):
            async with self._asking:
                if not self._fit(wanted):
                    await self._ask(wanted)
        for name in names:
            if name not in self._known:
                raise NotFound(
                    "tool.unknown",
                    f"no tool-runner has a tool {name!r}; there are: {', '.join(sorted(self._known)) or 'none'}",
                    where="agent.tools",
                    fix="correct the name, or load the tool in a tool-runner",
                )
        return tuple(self._known[name] for name in names)

    def _fit(self, wanted: set[str]) -> bool:
        fresh = clock.monotonic() - self._asked <= self._fresh
        return not wanted or (fresh and self._known.keys() >= wanted)

    async def _ask(self, wanted: set[str]) -> None:
        """Ask all tool-runners: each has tools of its own. Nobody is waited for once all that is wanted is known."""
        found = await self._gathered(wanted)
        if found:
            whole = not found.keys() >= wanted
            self._known = found if whole else {**self._known, **found}
            self._asked = clock.monotonic()
        elif not self._known.keys() >= wanted:  # else what was known a while ago still holds
            raise Unavailable(
                "tools.no_answer",
                f"no tool-runner said within {self._within:g} s which tools there are",
                fix="start a tool-runner: `partsong worker start tool-runner`",
                retryable=True,
            )

    async def _gathered(self, wanted: set[str]) -> dict[str, ToolSpec]:
        found: dict[str, ToolSpec] = {}
        try:
            async with aclosing(
                answers(self._nc, self._subject, b"{}", within=self._within)
            ) as said:
                async for body in said:
                    for spec in _read(body):
                        found.setdefault(spec.name, spec)
                    if found.keys() >= wanted:
                        break
        except nats.errors.NoRespondersError:
            pass
        except nats.errors.Error as error:
            _log.warning("tool-runners cannot be asked", extra={"why": repr(error)})
        return found


def _read(body: bytes) -> list[ToolSpec]:
    try:
        return _SPECS.validate_json(body)
    except ValidationError as error:
        _log.warning("a tool-runner's answer cannot be read", extra={"why": str(error)})
        return []
