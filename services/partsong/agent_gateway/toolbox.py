"""What tools look like to a model: asked of the tool-runners over NATS, remembered for a while."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from contextlib import aclosing
from typing import TypeAlias

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
_NOWHERE: Mapping[str, str] = {}
_Key: TypeAlias = tuple[str, str]
"""A tool's name and its source, which is empty where any of that name will do."""


class Toolbox:
    """The tools of all tool-runners, by name."""

    def __init__(
        self, nc: Client, subjects: Subjects, *, fresh: float = 10.0, within: float = 2.0
    ) -> None:
        self._nc, self._subject = nc, subjects.query(TOOL_RUNNER, "tools")
        self._fresh, self._within = fresh, within
        self._known: dict[_Key, ToolSpec] = {}
        self._asked = float("-inf")
        self._asking = asyncio.Lock()

    async def specs(
        self, names: tuple[str, ...], sources: Mapping[str, str] = _NOWHERE
    ) -> tuple[ToolSpec, ...]:
        """The tools of these names, in this order; by `sources` those that stand in a module, and no others.

        Raises:
            NotFound: `tool.unknown`, no tool-runner has one of them.
            Unavailable: no tool-runner answered.
        """
        keys = [(name, sources.get(name, "")) for name in names]
        wanted = set(keys)
        if not self._fit(wanted):
            async with self._asking:
                if not self._fit(wanted):
                    await self._ask(wanted)
        for key in keys:
            if key not in self._known:
                raise self._unknown(*key)
        return tuple(self._known[key] for key in keys)

    def _unknown(self, name: str, source: str) -> NotFound:
        there = ", ".join(sorted({name for name, _ in self._known})) or "none"
        module = source.partition(":")[0]
        return NotFound(
            "tool.unknown",
            f"no tool-runner has a tool {name!r} at {source}"
            if source
            else f"no tool-runner has a tool {name!r}; there are: {there}",
            where="agent.tools",
            fix=f"start a tool-runner with `--load {module}`"
            if source
            else "correct the name, or load the tool in a tool-runner",
        )

    def _fit(self, wanted: set[_Key]) -> bool:
        fresh = clock.monotonic() - self._asked <= self._fresh
        return not wanted or (fresh and self._known.keys() >= wanted)

    async def _ask(self, wanted: set[_Key]) -> None:
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

    async def _gathered(self, wanted: set[_Key]) -> dict[_Key, ToolSpec]:
        found: dict[_Key, ToolSpec] = {}
        body = json.dumps({"sources": {name: at for name, at in wanted if at}}).encode()
        try:
            async with aclosing(
                answers(self._nc, self._subject, body, within=self._within)
            ) as said:
                async for answer in said:
                    for spec in _read(answer):
                        source = _source(spec)
                        found.setdefault((spec.name, source), _bare(spec) if source else spec)
                    if found.keys() >= wanted:
                        break
        except nats.errors.NoRespondersError:
            pass
        except nats.errors.Error as error:
            _log.warning("tool-runners cannot be asked", extra={"why": repr(error)})
        return found


def _bare(spec: ToolSpec) -> ToolSpec:
    """Without its source, which no model is shown."""
    return ToolSpec.model_validate(spec.model_dump(exclude={"source"}))


def _source(spec: ToolSpec) -> str:
    """Where it stands, if it was asked for by that."""
    said = (spec.model_extra or {}).get("source")
    return said if isinstance(said, str) else ""


def _read(body: bytes) -> list[ToolSpec]:
    try:
        return _SPECS.validate_json(body)
    except ValidationError as error:
        _log.warning("a tool-runner's answer cannot be read", extra={"why": str(error)})
        return []
