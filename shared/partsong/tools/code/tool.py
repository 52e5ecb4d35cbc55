"""The tool: which sandbox runs the code."""

from __future__ import annotations

import os
from dataclasses import replace
from importlib.util import find_spec
from typing import Annotated, Literal, TypeAlias, assert_never

from pydantic import Field, JsonValue

from partsong.contracts.errors import InvalidInput
from partsong.tools.code import problems
from partsong.tools.code.limits import Limits
from partsong.tools.code.outcome import Finished, Paused
from partsong.tools.tool import Tool, tool

__all__ = ["TIER_SETTING", "Code", "CodeTool", "Tier", "code_tool", "run_code"]

Tier = Literal["monty", "python"]
"""`monty`: a small Python without a way out. `python`: all of it, in a container of Linux's own (bubblewrap)."""

TIER_SETTING = "PARTSONG_CODE_TIER"
"""Which of them, where a tool does not say."""

Code: TypeAlias = Annotated[
    str, Field(description="Python code.", examples=["total = sum(range(10))\ntotal / 3"])
]
CodeTool: TypeAlias = Tool[[Code], dict[str, JsonValue]]

_MARGIN = 10.0
"""Seconds a call has beyond the code's own time, for starting the sandbox and for ending it."""


def code_tool(
    tier: Tier | None = None, *, name: str = "run_code", limits: Limits | None = None
) -> CodeTool:
    """A tool that runs code in a sandbox, never in this process and never as a plain process beside it.

    Without a tier the setting `PARTSONG_CODE_TIER` is read at each call; where that is empty, it is monty.
    """
    bounds = limits or Limits()

    def run_code(code: Code) -> dict[str, JsonValue]:
        """Run Python code, and get what it printed and the value of its last line.

        Nothing is kept from one call to the next. There are no files, no network and no third-party packages.
        """
        done = _run(tier or _tier(), code, bounds)
        return {"value": done.value, "printed": done.printed}

    made = tool(name=name, side_effect="none", idempotent=True, timeout=bounds.seconds + _MARGIN)(
        run_code
    )
    if tier == "python":
        return made
    return replace(
        made, description=f"{made.description}\nIn the usual sandbox: {problems.LANGUAGE}."
    )


def _run(tier: Tier, code: str, limits: Limits) -> Finished:
    match tier:
        case "monty":
            if find_spec("pydantic_monty") is None:
                raise problems.missing("pydantic-monty", "code")
            from partsong.tools.code.monty import Sandbox

            outcome = Sandbox(limits).start(code)
            assert not isinstance(outcome, Paused)  # noqa: S101  # there is no function to pause at
            return outcome
        case "python":
            from partsong.tools.code.bubblewrap import run

            return run(code, limits)
        case _:
            assert_never(tier)


def _tier() -> Tier:
    match os.environ.get(TIER_SETTING, ""):
        case "" | "monty":
            return "monty"
        case "python":
            return "python"
        case other:
            raise InvalidInput(
                "code.bad_tier",
                f"{TIER_SETTING} is {other!r}",
                where=TIER_SETTING,
                fix="set it to monty or python",
                fault="platform",
            )


run_code = code_tool()
