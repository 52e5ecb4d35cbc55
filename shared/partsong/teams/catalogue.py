"""Teams by name, with members of their own: what `team:software` on a command line means."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping

from partsong.agents.library import RoleLibrary
from partsong.agents.roles import AgentRole
from partsong.contracts.errors import NotFound
from partsong.teams.delegation import supervisor
from partsong.teams.planner import planner
from partsong.teams.software import software_team
from partsong.teams.talks import debate, round_robin
from partsong.workflow import WorkflowGraph

__all__ = ["TEAMS", "team"]

_ADVOCATE = AgentRole(name="Advocate", goal="Make the strongest honest case for what is proposed.")
_SCEPTIC = AgentRole(name="Sceptic", goal="Make the strongest honest case against it.")
_JUDGE = AgentRole(name="Judge", goal="Decide by the better reasons.")
_LEAD = AgentRole(name="Team Lead", goal="Reach the goal with the help of your team.")
_RESEARCHER = AgentRole(
    name="Researcher",
    goal="Find out what is known, and what is not.",
    constraints=("Tell facts from assumptions, and say where each fact comes from.",),
)
_WRITER = AgentRole(
    name="Writer",
    goal="Write what a busy reader understands at once.",
    constraints=("Say the result first.", "Use no more words than it takes."),
)
_CRITIC = AgentRole(
    name="Critic", goal="Find what is wrong or missing, and say how it would be right."
)


def _debate(model: str) -> WorkflowGraph:
    return debate({"advocate": _ADVOCATE, "sceptic": _SCEPTIC}, _JUDGE, model=model)


def _round_robin(model: str) -> WorkflowGraph:
    return round_robin(_writers(), model=model)


def _planner(model: str) -> WorkflowGraph:
    return planner(_LEAD, _writers(), model=model)


def _supervisor(model: str) -> WorkflowGraph:
    return supervisor(_LEAD, RoleLibrary.roles(), model=model)


def _writers() -> dict[str, AgentRole]:
    return {"researcher": _RESEARCHER, "writer": _WRITER, "critic": _CRITIC}


TEAMS: Mapping[str, Callable[[str], WorkflowGraph]] = {
    "software": software_team,
    "debate": _debate,
    "round_robin": _round_robin,
    "planner": _planner,
    "supervisor": _supervisor,
}
"""What makes each team, with a model for all its roles."""


def team(name: str) -> WorkflowGraph:
    """The team of a name, `software`, or `software@provider:model`; without a model, the one that `Agent()` would ask.

    Raises:
        NotFound: `team.unknown`.
        InvalidInput: `agent.malformed`, no model is called so.
    """
    which, _, model = name.partition("@")
    if which not in TEAMS:
        close = difflib.get_close_matches(which, TEAMS, n=1)
        raise NotFound(
            "team.unknown",
            f"there is no team {which!r}; there are {', '.join(TEAMS)}",
            where=f"team:{name}",
            fix=f"did you mean {close[0]}?" if close else None,
        )
    return TEAMS[which](model)
