"""A model plans, you approve or edit the plan, two members carry it out; all in this process.

python -m examples.plan_and_edit "A page about tea"

The models are those of the key in your environment. Without one, a script has the plan, whatever the goal.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path

from examples.plan_and_edit.team import LEAD, Script, report_team
from partsong.contracts.events import ApprovalRequested
from partsong.workflow import Edited, RunResult

KEYS = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GOOGLE_API_KEY", "GEMINI_API_KEY")


def decide(request: ApprovalRequested, file: Path, say: Callable[[str], str]) -> bool | Edited:
    """Write the plan to a file, let the person change it there, and hear what they say."""
    shown = request.context["plan"]
    file.write_text(json.dumps(shown, indent=2) + "\n")
    print(
        f"{request.title}\n{request.detail.strip()}\n\nThe plan is in {file}; edit it if you like."
    )
    if not say("Carry it out? [y/n] ").lower().startswith("y"):
        return False
    plan = json.loads(file.read_text())
    return Edited(plan) if plan != shown else True


async def work(goal: str, file: Path, say: Callable[[str], str] = input) -> RunResult:
    """Run the team, with the script if there is no key."""

    async def approve(request: ApprovalRequested) -> bool | Edited:
        return await asyncio.to_thread(decide, request, file, say)

    if any(os.environ.get(key) for key in KEYS):
        return await report_team().execute({"goal": goal}, approve=approve)
    print("There is no key in the environment: a script answers.\n")
    with Script() as script:
        team = report_team(LEAD.spec(script.model), model="scripted:echo")
        return await team.execute({"goal": goal}, approve=approve)


def main() -> None:
    """Print what was done, and the summary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("goal", nargs="?", default="A page about tea")
    parser.add_argument("--file", type=Path, default=Path("plan.json"))
    given = parser.parse_args()
    result = asyncio.run(work(given.goal, given.file))
    print(json.dumps(result.get("done"), indent=2))
    print(result["summary"] if result.status == "completed" else result.error)


if __name__ == "__main__":
    main()
