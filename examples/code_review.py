"""A review of a change: three reviewers read it side by side, each for one thing, and a lead decides.

    git diff main | python -m examples.code_review

Without a change on standard input it reviews one that has a hole in it.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from pydantic import JsonValue

from examples.voices import models
from partsong.agents import Agent
from partsong.workflow import RunResult, WorkflowGraph

CHANGE = """\
--- a/shop/orders.py
+++ b/shop/orders.py
@@ -3,2 +3,3 @@
 def find(db, name):
-    return db.execute("select * from orders where customer = ?", (name,))
+    query = f"select * from orders where customer = '{name}'"
+    return db.execute(query)
"""
REVIEWERS = {
    "security": "Read the change for holes: injection, secrets, missing checks.",
    "tests": "Read the change for what no test covers.",
    "style": "Read the change for names and structure that the next reader will stumble over.",
}
VERDICT: dict[str, JsonValue] = {
    "type": "object",
    "properties": {
        "merge": {"type": "boolean"},
        "findings": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["merge", "findings"],
}


def read(state: dict[str, str]) -> dict[str, int]:
    """Count, so that the lead knows how large the change is."""
    return {"lines": sum(line[:1] in "+-" for line in state["change"].splitlines() if line)}


def review(model: dict[str, str]) -> WorkflowGraph:
    """read → (security ∥ tests ∥ style) → verdict."""
    graph = WorkflowGraph("code_review").add_node("read", read)
    for name, task in REVIEWERS.items():
        graph.add_agent(name, Agent(model[name], instructions=task), prompt="{{change}}")
    said = "\n".join(f"{name}: {{{{{name}}}}}" for name in REVIEWERS)
    lead = Agent(model["lead"], instructions="Decide, and list what must change.", output=VERDICT)
    graph.add_agent("verdict", lead, prompt=f"A change of {{{{lines}}}} lines.\n{said}")
    return graph.add_parallel("read", REVIEWERS, join="verdict")


async def work(change: str) -> RunResult:
    """Run the review in this process."""
    with models(
        security=["The name is put into the query: that is SQL injection."],
        tests=["Nothing tests a name with a quote in it."],
        style=["Fine."],
        lead=[{"merge": False, "findings": ["Bind the name.", "Test a name with a quote."]}],
    ) as model:
        return (await review(model).execute({"change": change})).raise_for_status()


def main() -> None:
    """Print what each reviewer says, and the verdict."""
    change = "" if sys.stdin.isatty() else sys.stdin.read()
    result = asyncio.run(work(change.strip() or CHANGE))
    for name in REVIEWERS:
        print(f"{name:<9} {result[name]}")
    verdict: Any = result["verdict"]
    print("merge" if verdict["merge"] else "do not merge", *verdict["findings"], sep="\n  - ")


if __name__ == "__main__":
    main()
