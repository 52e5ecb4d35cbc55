"""The team: a lead who plans, a researcher and a writer who do; and a script for those who have no key."""

from __future__ import annotations

from partsong.agents import AgentRole
from partsong.teams import Plan, PlannedTask, Player, planner
from partsong.testing import ScriptedModel
from partsong.workflow import WorkflowGraph

__all__ = ["LEAD", "PLAN", "Script", "report_team"]

LEAD = AgentRole(name="Lead", goal="Reach the goal with as little work as possible.")
WORKERS = {
    "researcher": AgentRole(name="Researcher", goal="Find out what is known, and what is not."),
    "writer": AgentRole(name="Writer", goal="Write what a busy reader understands at once."),
}
PLAN = Plan(
    summary="Two questions side by side, then the page.",
    tasks=(
        PlannedTask(id="origin", doer="researcher", task="Where is tea from?", depends_on=()),
        PlannedTask(id="trade", doer="researcher", task="How did it travel?", depends_on=()),
        PlannedTask(
            id="page", doer="writer", task="Write the page.", depends_on=("origin", "trade")
        ),
    ),
)


class Script(ScriptedModel):
    """A lead that always has the same plan. It is not asked for the summary if a person rejects that."""

    def __init__(self) -> None:
        super().__init__(PLAN, "The page is written.", model="script:lead")

    def _unfinished(self) -> None:
        return None


def report_team(lead: Player = LEAD, *, model: str = "") -> WorkflowGraph:
    """The graph; all play with the model of the key in the environment, unless you name another one."""
    return planner(lead, WORKERS, model=model)
