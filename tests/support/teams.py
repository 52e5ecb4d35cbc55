"""What the teams' tests share: artefacts in short, models by name, and what was said and done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import cast

from pydantic import JsonValue

from partsong.testing import ScriptedModel
from partsong.testing.scripted import Answer
from partsong.workflow import RunResult

__all__ = ["ARTEFACTS", "lines", "model", "models", "report", "task"]

PRD: dict[str, JsonValue] = {
    "title": "Login", "problem": "Anybody sees all orders.", "users": ["customers"], "goals": [], "non_goals": [],
    "stories": [], "constraints": [], "metrics": [], "open_questions": [],
}  # fmt: skip
DESIGN: dict[str, JsonValue] = {
    "summary": "A session cookie.", "components": [], "decisions": [], "risks": [], "tasks": [],
}  # fmt: skip
CHANGE: dict[str, JsonValue] = {
    "summary": "Adds login.", "changes": [], "tests": [], "deviations": [], "limitations": [],
}  # fmt: skip
DEPLOYMENT: dict[str, JsonValue] = {
    "summary": "Roll out to 1 %.", "preconditions": [], "steps": [], "rollback_when": [], "monitoring": [],
}  # fmt: skip


def report(verdict: str) -> dict[str, JsonValue]:
    """A test report."""
    return {
        "verdict": verdict,
        "summary": f"{verdict}!",
        "findings": [],
        "defects": [],
        "not_covered": [],
    }


ARTEFACTS = {"prd": PRD, "design": DESIGN, "change_set": CHANGE, "deployment_plan": DEPLOYMENT}


def model(who: str) -> str:
    """The full name of a member's own model."""
    return f"test:{who}"


@contextmanager
def models(**answers: Sequence[Answer]) -> Iterator[dict[str, ScriptedModel]]:
    """A model for each member, which plays its answers."""
    with ExitStack() as stack:
        yield {
            who: stack.enter_context(ScriptedModel(*said, model=model(who)))
            for who, said in answers.items()
        }


def lines(result: RunResult, key: str) -> list[dict[str, JsonValue]]:
    """A list of objects in the state of a run that has completed."""
    return cast("list[dict[str, JsonValue]]", result.raise_for_status()[key])


def task(id: str, *depends_on: str, doer: str = "ann", text: str = "") -> dict[str, JsonValue]:
    """A task of a plan."""
    return {"id": id, "doer": doer, "task": text or f"do {id}", "depends_on": list(depends_on)}
