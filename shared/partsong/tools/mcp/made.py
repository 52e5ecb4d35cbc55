"""A tool of an MCP server as one of ours: name, manners and schema, and a call that leads there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from mcp.types import Tool as Listed
from mcp.types import ToolAnnotations
from pydantic import BaseModel, JsonValue, TypeAdapter

from partsong.contracts.errors import InvalidInput
from partsong.contracts.graph.conform import findings_of, path_of
from partsong.runtime.evaluation.evaluator import evaluate
from partsong.tools.mcp.pins import hash_of
from partsong.tools.parameters import Parameters
from partsong.tools.tool import AnyTool, SideEffect, Tool

__all__ = ["Call", "made", "name_of", "pin_of", "withheld"]

_OBJECT: TypeAdapter[dict[str, JsonValue]] = TypeAdapter(dict[str, JsonValue])
_LONGEST = 64
_MOST_SAID = 8_000


class Call(Protocol):
    """Calls a server's tool."""

    async def __call__(
        self, tool: str, args: Mapping[str, JsonValue], *, repeatable: bool
    ) -> JsonValue:
        """Call it by the name it has there; `repeatable` says whether it may be called twice."""
        ...


@dataclass(frozen=True, slots=True)
class _Sent(Parameters):
    """Arguments that are sent as they are, if they fit the server's schema: nobody is asked about others."""

    def read(
        self,
        tool: str,
        args: JsonValue,
        secret: frozenset[str] = frozenset(),  # noqa: ARG002  # it has none
    ) -> dict[str, object]:
        """The arguments, if they are an object."""
        if not isinstance(args, dict):
            raise InvalidInput(
                "tool.invalid_arguments",
                f"{tool}: args: an object is needed, got {type(args).__name__}",
                where="args",
            )
        for place, said in self._findings(args):
            path = path_of(place)
            raise InvalidInput(
                "tool.invalid_arguments", f"{tool}: args{path}: {said}", where=f"args{path}"
            )
        return {"args": args}

    def _findings(self, args: dict[str, JsonValue]) -> list[tuple[list[str | int], str]]:
        try:
            return findings_of(self.schema, args, evaluate)
        except InvalidInput:  # it is no schema, or asks too much: the server checks them
            return []

    def written(self, values: Mapping[str, object]) -> dict[str, JsonValue]:
        """The arguments as they are sent."""
        return _OBJECT.validate_python(values["args"])


def name_of(server: str, listed: Listed) -> str:
    """The name a model knows it by.

    Raises:
        InvalidInput: `mcp.bad_name` if it would be too long.
    """
    name = f"{server}__{re.sub('[^A-Za-z0-9_-]', '_', listed.name)}"
    if len(name) > _LONGEST:
        raise InvalidInput(
            "mcp.bad_name",
            f"{name} has {len(name)} characters, and providers take {_LONGEST}",
            where=listed.name,
            fix="give the server a shorter name",
        )
    return name


def pin_of(listed: Listed) -> str:
    """The hash of all that a model or an operator goes by."""
    said = listed.model_dump(
        mode="json", include={"name", "title", "description", "input_schema", "annotations"}
    )
    return hash_of(_OBJECT.validate_python(said))


def made(server: str, listed: Listed, call: Call, *, trusted: bool) -> AnyTool:
    """The tool. It needs approval, unless a trusted server says that it only reads; what says nothing may destroy.

    Raises:
        InvalidInput: `mcp.bad_name`.
    """
    side_effect, idempotent = _manners(listed.annotations or ToolAnnotations(), trusted=trusted)

    async def remote(args: Mapping[str, JsonValue]) -> JsonValue:
        return await call(listed.name, args, repeatable=idempotent)

    return Tool(
        function=remote,
        name=name_of(server, listed),
        description=(listed.description or listed.title or "")[:_MOST_SAID],
        parameters=_Sent(BaseModel, {}, schema=_OBJECT.validate_python(listed.input_schema)),
        side_effect=side_effect,
        idempotent=idempotent,
        retries=1 if side_effect == "read" else 0,
        approval="never" if trusted and side_effect == "read" else "always",
    )


def withheld(server: str, listed: Listed, refuse: Call) -> AnyTool:
    """A tool that nobody has allowed as it is: it keeps its name, says nothing of itself, and is refused.

    Raises:
        InvalidInput: `mcp.bad_name`.
    """

    async def remote(args: Mapping[str, JsonValue]) -> JsonValue:
        return await refuse(listed.name, args, repeatable=False)

    return Tool(
        function=remote,
        name=name_of(server, listed),
        description=f"Not available: the operator has to allow it again for the server {server}.",
        parameters=_Sent(BaseModel, {}, schema={"type": "object", "properties": {}}),
        side_effect="none",
    )


def _manners(said: ToolAnnotations, *, trusted: bool) -> tuple[SideEffect, bool]:
    """What a server says of a tool; a stranger's word makes a tool no more harmless than one that may write."""
    if said.read_only_hint:
        return ("read", True) if trusted else ("write", False)
    idempotent = bool(said.idempotent_hint)
    return ("write" if said.destructive_hint is False else "destructive"), idempotent
