"""What type checkers see of the teams' public names; read by mypy and pyright, not run."""

from __future__ import annotations

from typing import assert_type

from pydantic import BaseModel

from partsong.agents import Agent, AgentRole, RoleLibrary
from partsong.teams import (
    Member,
    Plan,
    Player,
    debate,
    handoff,
    planner,
    round_robin,
    software_team,
    supervisor,
    team,
)
from partsong.workflow import AgentSpec, WorkflowGraph


class Verdict(BaseModel):
    winner: str


def every_team(role: AgentRole, agent: Agent, spec: AgentSpec, inner: WorkflowGraph) -> None:
    players: dict[str, Player] = {"a": role, "b": agent, "c": spec, "d": "openai:gpt-5.4"}
    assert_type(software_team(players=players, approve=["requirements"]), WorkflowGraph)
    assert_type(debate(players, role, rounds=3, verdict=Verdict), WorkflowGraph)
    round_robin({"a": role, "b": role}, until="state.round > 1")
    supervisor(agent, {"dev": RoleLibrary.DEVELOPER, "sum": Member(inner, "Adds.", result="n")})
    handoff({"a": role, "b": Member("openai:gpt-5.4", "Sells.")}, paths={"a": ["b"]})
    planner(role, {"a": role}, approve=False, max_concurrency=2)
    assert_type(team("software@openai:gpt-5.4"), WorkflowGraph)
    WorkflowGraph("alone").add_agent("a", role).add_agent("b", role.spec("openai:gpt-5.4"))


def a_plan(result: dict[str, object]) -> tuple[str, ...]:
    return tuple(task.id for task in Plan.model_validate(result["plan"]).tasks)
