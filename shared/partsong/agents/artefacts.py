"""Artefacts: what the members of a software team hand to each other, as types.

prd               ProductRequirements   product manager → architect
design            Design                architect → developer
change_set        ChangeSet             developer → QA engineer
test_report       QualityReport         QA engineer → developer if it failed, else DevOps engineer
deployment_plan   DeploymentPlan        DevOps engineer → whoever releases

Every field is required and no other is allowed: only then do all providers keep a model to the schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict

from partsong.contracts.errors import NotFound

__all__ = [
    "ARTEFACTS",
    "Artefact",
    "ChangeSet",
    "Component",
    "Decision",
    "Defect",
    "DeploymentPlan",
    "DeploymentStep",
    "Design",
    "FileChange",
    "Finding",
    "ProductRequirements",
    "QualityReport",
    "Risk",
    "Task",
    "UserStory",
    "artefact",
]


class Artefact(BaseModel):
    """A document that one role writes and another one reads."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class UserStory(Artefact):
    """One thing a user can do afterwards."""

    role: str
    """Who wants it."""
    want: str
    benefit: str
    priority: Literal["must", "should", "could"]
    acceptance: tuple[str, ...]
    """Observable facts; when all hold, the story is done."""


class ProductRequirements(Artefact):
    """What is to be built, for whom, and how one sees that it was."""

    title: str
    problem: str
    users: tuple[str, ...]
    goals: tuple[str, ...]
    non_goals: tuple[str, ...]
    stories: tuple[UserStory, ...]
    constraints: tuple[str, ...]
    metrics: tuple[str, ...]
    """Numbers that tell success from failure."""
    open_questions: tuple[str, ...]


class Component(Artefact):
    """A part with one responsibility."""

    name: str
    responsibility: str
    interfaces: tuple[str, ...]
    """What it offers, as signatures, endpoints or events."""
    depends_on: tuple[str, ...]


class Decision(Artefact):
    """A choice, with what it was chosen over."""

    question: str
    choice: str
    reason: str
    rejected: tuple[str, ...]


class Risk(Artefact):
    """What could go wrong, and what is done about it."""

    risk: str
    mitigation: str


class Task(Artefact):
    """A step a developer can finish and show."""

    title: str
    files: tuple[str, ...]
    done_when: str


class Design(Artefact):
    """How it is to be built."""

    summary: str
    components: tuple[Component, ...]
    decisions: tuple[Decision, ...]
    risks: tuple[Risk, ...]
    tasks: tuple[Task, ...]
    """In the order in which they can be done."""


class FileChange(Artefact):
    """One file as it is to be."""

    path: str
    action: Literal["create", "modify", "delete"]
    content: str
    """The whole new content; empty for `delete`."""
    reason: str


class ChangeSet(Artefact):
    """Code that does what the design says."""

    summary: str
    changes: tuple[FileChange, ...]
    tests: tuple[str, ...]
    """What the tests in it show."""
    deviations: tuple[str, ...]
    """Where it departs from the design, and why."""
    limitations: tuple[str, ...]


class Finding(Artefact):
    """One thing that was looked at."""

    what: str
    covers: str
    """The acceptance criterion it belongs to."""
    outcome: Literal["passed", "failed", "not_checked"]
    evidence: str


class Defect(Artefact):
    """Something that is wrong."""

    title: str
    severity: Literal["blocker", "major", "minor"]
    steps: tuple[str, ...]
    expected: str
    actual: str
    path: str
    """The file it is in, as far as that is known."""


class QualityReport(Artefact):
    """Whether a change may go out."""

    verdict: Literal["pass", "fail"]
    summary: str
    findings: tuple[Finding, ...]
    defects: tuple[Defect, ...]
    not_covered: tuple[str, ...]


class DeploymentStep(Artefact):
    """One step, how to see that it worked, and how to take it back."""

    do: str
    check: str
    undo: str


class DeploymentPlan(Artefact):
    """How a change reaches production, and leaves it again if it must."""

    summary: str
    preconditions: tuple[str, ...]
    steps: tuple[DeploymentStep, ...]
    rollback_when: tuple[str, ...]
    """Observations that stop the roll-out."""
    monitoring: tuple[str, ...]


ARTEFACTS: Mapping[str, type[Artefact]] = {
    "prd": ProductRequirements,
    "design": Design,
    "change_set": ChangeSet,
    "test_report": QualityReport,
    "deployment_plan": DeploymentPlan,
}
"""Artefacts by the names that roles use."""


def artefact(name: str) -> type[Artefact]:
    """The type of an artefact.

    Raises:
        NotFound: `role.unknown_artefact`.
    """
    if name not in ARTEFACTS:
        raise NotFound(
            "role.unknown_artefact",
            f"{name!r} is none of {', '.join(ARTEFACTS)}",
            where="output",
            fix="correct the name, or give a JSON Schema of your own",
        )
    return ARTEFACTS[name]
