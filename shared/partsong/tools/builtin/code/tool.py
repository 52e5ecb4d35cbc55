"""The tool: which sandbox runs the code."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from keyword import iskeyword
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias, assert_never

from pydantic import Field, JsonValue

from partsong.contracts.errors import InvalidInput
from partsong.tools.builtin.code import problems
from partsong.tools.builtin.code.limits import Limits
from partsong.tools.builtin.code.outcome import Finished, Outcome, Paused
from partsong.tools.pausing import Answer, Stopped
from partsong.tools.tool import Tool, tool

if TYPE_CHECKING:
    from partsong.tools.builtin.code.monty import Sandbox

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
        return _shown(_run(tier or _tier(), code, bounds))

    made = tool(name=name, side_effect="none", idempotent=True, timeout=bounds.seconds + _MARGIN)(
        run_code
    )
    if tier == "python":
        return made
    return replace(
        made,
        description=f"{made.description}\nIn the usual sandbox: {problems.LANGUAGE}. "
        "There, code may call your other tools as functions, by their names and with their parameters.",
        pausing=_Pausing(tier, bounds),
    )


@dataclass(frozen=True, slots=True)
class _Pausing:
    """Code that stops at the call of a tool; the python tier cannot, and knows no tools."""

    tier: Tier | None
    limits: Limits

    def begin(
        self, args: Mapping[str, object], tools: Mapping[str, Sequence[str]]
    ) -> object | Stopped:
        code = str(args["code"])
        if (self.tier or _tier()) == "python":
            return _shown(_run("python", code, self.limits))
        names = _functions(tools)
        functions = {name: tools[tool] for name, tool in names.items()}
        return _stopped(_sandbox(self.limits, functions).start(code), names)

    def go_on(
        self, snapshot: bytes, answer: Answer, tools: Mapping[str, Sequence[str]]
    ) -> object | Stopped:
        sandbox, names = _sandbox(self.limits, {}), _functions(tools)
        if answer.error is not None:
            return _stopped(sandbox.refuse(snapshot, answer.error), names)
        return _stopped(sandbox.resume(snapshot, answer.result), names)


def _functions(tools: Iterable[str]) -> dict[str, str]:
    """Tools by the names that code has for them; one whose name is none in Python is left out."""
    names = {name.replace("-", "_"): name for name in tools}
    return {
        name: tool
        for name, tool in names.items()
        if name.isidentifier() and not iskeyword(name) and not name.startswith("_")
    }


def _stopped(outcome: Outcome, names: Mapping[str, str]) -> object | Stopped:
    match outcome:
        case Finished():
            return _shown(outcome)
        case Paused(function, args, snapshot):
            return Stopped(names.get(function, function), args, snapshot)
        case _:
            assert_never(outcome)


def _shown(done: Finished) -> dict[str, JsonValue]:
    return {"value": done.value, "printed": done.printed}


def _sandbox(limits: Limits, functions: Mapping[str, Sequence[str]]) -> Sandbox:
    if find_spec("pydantic_monty") is None:
        raise problems.missing("pydantic-monty", "code")
    from partsong.tools.builtin.code.monty import Sandbox

    return Sandbox(limits, functions)


def _run(tier: Tier, code: str, limits: Limits) -> Finished:
    match tier:
        case "monty":
            outcome = _sandbox(limits, {}).start(code)
            assert not isinstance(outcome, Paused)  # noqa: S101  # there is no function to pause at
            return outcome
        case "python":
            from partsong.tools.builtin.code.bubblewrap import run

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
