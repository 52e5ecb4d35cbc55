"""A software team: product manager, architect, developer and QA engineer in turns, DevOps engineer.

idea → requirements [→ approval] → design → develop → test → deploy [→ approval]
                                               repair ⇄ test
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

from partsong.agents.artefacts import artefact
from partsong.agents.library import RoleLibrary
from partsong.contracts.errors import InvalidInput
from partsong.teams.members import Casting, Player
from partsong.workflow import END, WorkflowGraph

__all__ = ["Gate", "software_team"]

Gate = Literal["requirements", "deployment"]
"""What a person may have to approve."""

_MADE = "Product requirements:\n{{prd}}\n\nDesign:\n{{design}}"
_PROMPTS = {
    "requirements": "{{idea}}",
    "design": "Product requirements:\n{{prd}}",
    "develop": _MADE,
    "repair": f"{_MADE}\n\nYour change set:\n{{{{change_set}}}}\n\n"
    "It failed the test. Give the whole change set again, mended.\n\nTest report:\n{{test_report}}",
    "test": f"{_MADE}\n\nChange set:\n{{{{change_set}}}}",
    "deploy": "Design:\n{{design}}\n\nChange set:\n{{change_set}}\n\nTest report:\n{{test_report}}",
}
_WHO = {
    "requirements": "product_manager",
    "design": "architect",
    "develop": "developer",
    "repair": "developer",
    "test": "qa_engineer",
    "deploy": "devops_engineer",
}


def software_team(
    model: str = "",
    *,
    players: Mapping[str, Player] | None = None,
    max_rounds: int = 3,
    approve: Collection[Gate] = (),
    name: str = "software_team",
) -> WorkflowGraph:
    """From `idea` to `deployment_plan`, by typed artefacts: `prd`, `design`, `change_set`, `test_report`.

    `players` take the place of the library's roles, by the names that `RoleLibrary.roles()` has. A change that fails the
    test goes back to the developer, `max_rounds` times at most; then the run ends with `limit_exceeded`. Whoever approves
    the requirements or the deployment may edit them; a rejection fails the run.

    Raises:
        InvalidInput: `team.unknown_role`, `agent.malformed`, or what makes the graph not valid.
    """
    parts: dict[str, Player] = {**RoleLibrary.roles(), **(players or {})}
    if unknown := parts.keys() - RoleLibrary.roles().keys():
        raise InvalidInput(
            "team.unknown_role",
            f"a software team has no {min(unknown)!r}",
            where="players",
            fix=f"it has {', '.join(RoleLibrary.roles())}",
        )
    graph, casting = WorkflowGraph(name), Casting(model)
    for node, role in _WHO.items():
        document = str(RoleLibrary.get(role).output)
        agent = casting.part(parts[role], schema=artefact(document))
        visits = max_rounds if node == "repair" else None
        graph.add_agent(node, agent, prompt=_PROMPTS[node], output=document, max_visits=visits)
    _connect(graph, approve)
    return graph


def _connect(graph: WorkflowGraph, approve: Collection[Gate]) -> None:
    if "requirements" in approve:
        _gate(
            graph, "approve_requirements", "Build this: {{prd.title}}?", "prd", after="requirements"
        )
        graph.add_edge("approve_requirements", "design", on="approved")
    else:
        graph.add_edge("requirements", "design")
    graph.add_edge("design", "develop").add_edge("develop", "test").add_edge("repair", "test")
    graph.add_condition("test", [('state.test_report.verdict == "pass"', "deploy")], "repair")
    if "deployment" in approve:
        title = "Deploy this: {{deployment_plan.summary}}?"
        _gate(graph, "approve_deployment", title, "deployment_plan", after="deploy")
        graph.add_edge("approve_deployment", END, on="approved")


def _gate(graph: WorkflowGraph, name: str, title: str, document: str, *, after: str) -> None:
    graph.add_approval(name, title=title, editable=document, edit_schema=artefact(document))
    graph.add_edge(after, name)
