"""What tools look like to a model: asked of the tool-runners over NATS, remembered for a while."""

from __future__ import annotations

import json

import nats.errors
from nats.aio.client import Client
from pydantic import TypeAdapter, ValidationError

from partsong.contracts.errors import NotFound, Unavailable
from partsong.contracts.messages import ToolSpec
from partsong.contracts.subjects import Subjects
from partsong.runtime import clock

__all__ = ["Toolbox"]

_SPECS = TypeAdapter(list[ToolSpec])


class Toolbox:
    """The tools of all tool-runners, by name."""

    def __init__(
        self, nc: Client, subjects: Subjects, *, fresh: float = 10.0, within: float = 2.0
    ) -> None:
        self._nc, self._subject = nc, subjects.query("tool-runner", "tools")
        self._fresh, self._within = fresh, within
        self._known: dict[str, ToolSpec] = {}
        self._asked = float("-inf")

    async def specs(self, names: tuple[str, ...]) -> tuple[ToolSpec, ...]:
        """The tools of these names, in this order.

        Raises:
            NotFound: `tool.unknown`, no tool-runner has one of them.
            Unavailable: no tool-runner answered.
        """
        if not names:
            return ()
        known = self._known.keys() >= set(names)
        if not known or clock.monotonic() - self._asked > self._fresh:
            try:
                await self._ask()
            except Unavailable:
                if not known:  # else what was known a while ago still holds
                    raise
        for name in names:
            if name not in self._known:
                raise NotFound(
                    "tool.unknown",
                    f"no tool-runner has a tool {name!r}; there are: {', '.join(sorted(self._known)) or 'none'}",
                    where="agent.tools",
                    fix="correct the name, or load the tool in a tool-runner",
                )
        return tuple(self._known[name] for name in names)

    async def _ask(self) -> None:
        try:
            reply = await self._nc.request(self._subject, b"{}", timeout=self._within)
            specs = _SPECS.validate_json(reply.data)
        except (nats.errors.Error, TimeoutError, ValidationError, json.JSONDecodeError) as error:
            raise Unavailable(
                "tools.no_answer",
                f"no tool-runner said which tools there are: {error!r}",
                fix="start a tool-runner: `partsong worker start tool-runner`",
                retryable=True,
            ) from error
        self._known = {spec.name: spec for spec in specs}
        self._asked = clock.monotonic()
