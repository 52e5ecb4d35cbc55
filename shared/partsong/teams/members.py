"""Who is in a team: roles, agents as data or as objects, models by name; and how each becomes an agent of a graph."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from pydantic import JsonValue

from partsong.agents.choice import choose
from partsong.agents.roles import AgentRole
from partsong.contracts.errors import InvalidInput
from partsong.contracts.graph import AgentSpec, Graph
from partsong.engine.local.equipped import Equipped
from partsong.workflow import WorkflowGraph
from partsong.workflow.nodes import Specified
from partsong.workflow.options import Schema, checked, schema_of
from partsong.workflow.sources import own_tools_of

if TYPE_CHECKING:
    from partsong.engine.local.engine import Perform
    from partsong.tools.tool import AnyTool

__all__ = ["Casting", "Member", "Player", "about", "check_names", "player_of"]

Player: TypeAlias = AgentRole | AgentSpec | Specified | str
"""A role, which the team's model plays; an agent as data or as an object; or just `provider:model`."""


@dataclass(frozen=True, slots=True)
class Member:
    """A player, or a whole graph, and what the others should know of it."""

    player: Player | WorkflowGraph | Graph
    about: str = ""
    """What it is for, as models read it; a role says that itself."""
    parameters: Mapping[str, JsonValue] | None = None
    """Of a graph: JSON Schema of what it begins with; default: a text, `input`."""
    result: str | None = None
    """Of a graph: the key of its state that is the result; default: all that it wrote."""


def about(name: str, member: Player | Member) -> str:
    """What a member is for.

    Raises:
        InvalidInput: `team.no_about`.
    """
    player = member.player if isinstance(member, Member) else member
    said = member.about if isinstance(member, Member) else ""
    if said or isinstance(player, AgentRole):
        return said or (player.goal if isinstance(player, AgentRole) else "")
    raise InvalidInput(
        "team.no_about",
        f"nothing tells the others what {name} is for",
        where=f"members.{name}",
        fix="write Member(agent, 'what it is for'), or give a role",
    )


def player_of(name: str, member: Player | Member) -> Player:
    """The agent that a member is.

    Raises:
        InvalidInput: `team.not_an_agent`, it is a graph.
    """
    player = member.player if isinstance(member, Member) else member
    if isinstance(player, WorkflowGraph | Graph):
        raise InvalidInput(
            "team.not_an_agent",
            f"{name} is a graph, and only an agent can have this part",
            where=f"members.{name}",
            fix="make the graph a tool of an agent: a member of a supervisor",
        )
    return player


def check_names(members: Mapping[str, object], least: int, reserved: tuple[str, ...]) -> None:
    """Refuse too few members, and names that the team needs itself.

    Raises:
        InvalidInput: `team.too_small`, `team.reserved_name`.
    """
    if len(members) < least:
        raise InvalidInput(
            "team.too_small", f"{len(members)} members, it takes {least} at least", where="members"
        )
    if taken := [name for name in members if name in reserved]:
        raise InvalidInput(
            "team.reserved_name",
            f"{taken[0]!r} is a key or node of the team's own",
            where=f"members.{taken[0]}",
            fix="give the member another name",
        )


@dataclass(frozen=True, slots=True)
class _Adapted:
    """An agent object that is told something more; its keys and tools stay its own."""

    agent: Specified
    adapted: AgentSpec

    def spec(self) -> AgentSpec:
        return self.adapted

    def performing(self) -> AbstractAsyncContextManager[Perform]:
        assert isinstance(self.agent, Equipped)  # noqa: S101  # nobody else is adapted so
        return self.agent.performing()

    def own_tools(self) -> tuple[AnyTool, ...]:
        return own_tools_of(self.agent)


class Casting:
    """Gives parts to players. `model` plays what is only a role; without it, the one that `Agent()` would ask."""

    def __init__(self, model: str = "") -> None:
        self._model = model or choose("", os.environ).models[0]

    def part(
        self,
        player: Player,
        *,
        told: str = "",
        schema: Schema | None = None,
        text: bool = False,
        handoffs: Mapping[str, str] | None = None,
    ) -> AgentSpec | Specified:
        """The player as an agent: `told` is added to its instructions, `schema` holds if it has none, `text` needs none.

        Raises:
            InvalidInput: `agent.malformed`.
        """
        spec = self._spec(player)
        update: dict[str, object] = {}
        if told:
            update["instructions"] = "\n\n".join(filter(None, (spec.instructions, told)))
        if text:
            update["output_schema"] = None
        elif spec.output_schema is None and schema is not None:
            update["output_schema"] = schema_of(schema)
        if handoffs is not None:
            update["handoffs"] = dict(handoffs)
        adapted = checked(AgentSpec, {**dict(spec), **update}, "agent", "agent.malformed")
        if isinstance(player, Specified) and isinstance(player, Equipped):
            return _Adapted(player, adapted)
        return adapted

    def _spec(self, player: Player) -> AgentSpec:
        match player:
            case AgentSpec():
                return player
            case AgentRole():
                return player.spec(self._model)
            case str():
                return checked(AgentSpec, {"model": player}, "agent", "agent.malformed")
            case _:
                return player.spec()
