"""Teams of agents as graphs: templates that return a `WorkflowGraph`, to be run, changed, or written to a file."""

from partsong.teams.catalogue import TEAMS, team
from partsong.teams.delegation import handoff, supervisor
from partsong.teams.members import Member, Player
from partsong.teams.plan import Plan, PlannedTask
from partsong.teams.planner import planner
from partsong.teams.software import Gate, software_team
from partsong.teams.talks import debate, round_robin

__all__ = [
    "TEAMS",
    "Gate",
    "Member",
    "Plan",
    "PlannedTask",
    "Player",
    "debate",
    "handoff",
    "planner",
    "round_robin",
    "software_team",
    "supervisor",
    "team",
]
