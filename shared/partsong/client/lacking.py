"""Lacking: what a graph calls and no worker has, found out before anybody waits for it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator
from contextlib import aclosing
from typing import TypeAlias

import nats.errors
from nats.aio.client import Client
from pydantic import ValidationError

from partsong.contracts.errors import Problem
from partsong.contracts.graph import Graph
from partsong.contracts.graph.needs import asks_models, tools_of
from partsong.contracts.graph.validate import functions_of
from partsong.contracts.services import AGENT_GATEWAY, TOOL_RUNNER
from partsong.contracts.wire.offers import Offer, OfferQuestion, ToolPlace
from partsong.contracts.wire.subjects import Subjects
from partsong.runtime.answers import all_answers, answers

__all__ = ["lacking", "offers", "say"]

_log = logging.getLogger("partsong.client")

_WITHIN = 1.0
_OTHERS = 0.25
"""Seconds without a further answer after which all tool-runners have answered."""
_SHOWN = 8
"""Problems that are told; the last one counts those that are left."""

_Tool: TypeAlias = tuple[str, str]
"""Its name and where it stands."""


async def lacking(nc: Client, subjects: Subjects, graph: Graph) -> tuple[Problem, ...]:
    """What the services that run now have not got of what a graph calls; nothing if they cannot be asked.

    A run of it waits where it needs that, until somebody comes who has it.
    """
    functions = set(functions_of(graph))
    tools = set(tools_of(graph))
    found: list[Problem] = []
    if functions or tools:
        left = await _left(nc, subjects, functions, tools)
        found += [_nobody(TOOL_RUNNER, functions, tools)] if left is None else _said(*left)
    if asks_models(graph) and not await _there(nc, subjects, AGENT_GATEWAY):
        found.append(_nobody(AGENT_GATEWAY, (), ()))
    return tuple(found)


async def offers(nc: Client, subjects: Subjects) -> tuple[Offer, ...]:
    """What each tool-runner says of the modules that it has loaded."""
    found: list[Offer] = []
    try:
        bodies = await all_answers(
            nc, subjects.query(TOOL_RUNNER, "offers"), within=_WITHIN, quiet=_OTHERS
        )
    except nats.errors.Error:
        return ()
    for body in bodies:
        with contextlib.suppress(ValidationError):
            found.append(Offer.model_validate_json(body))
    return tuple(sorted(found, key=lambda offer: offer.worker))


def say(problems: Iterable[Problem]) -> None:
    """Log them as warnings, in a line each."""
    for problem in problems:
        _log.warning("warning: %s; %s", problem.message, problem.fix)


async def _left(
    nc: Client, subjects: Subjects, functions: set[str], tools: set[_Tool]
) -> tuple[set[str], set[_Tool]] | None:
    """What no tool-runner has; None if there is none."""
    places = tuple(ToolPlace(name=name, source=source) for name, source in sorted(tools))
    question = OfferQuestion(functions=tuple(sorted(functions)), tools=places)
    body = question.model_dump_json().encode()
    functions, tools, answered = set(functions), set(tools), False
    subject = subjects.query(TOOL_RUNNER, "offers")
    try:
        async with aclosing(answers(nc, subject, body, within=_WITHIN, quiet=_OTHERS)) as said:
            async for answer in said:
                try:
                    offer = Offer.model_validate_json(answer)
                except ValidationError:
                    return set(), set()  # who knows what it has
                answered = True
                functions -= set(offer.functions)
                tools -= {(one.name, one.source) for one in offer.tools}
                if not functions and not tools:
                    break
    except nats.errors.NoRespondersError:
        # A tool-runner of before answers no such question.
        return (set(), set()) if await _there(nc, subjects, TOOL_RUNNER) else None
    except nats.errors.Error:
        return set(), set()
    return (functions, tools) if answered else (set(), set())


async def _there(nc: Client, subjects: Subjects, service: str) -> bool:
    """Whether a service listens, as far as can be told."""
    try:
        async with aclosing(answers(nc, subjects.query(service, "ping"), within=_WITHIN)) as said:
            async for _ in said:
                break
    except nats.errors.NoRespondersError:
        return False
    except nats.errors.Error:
        return True
    return True


def _nobody(service: str, functions: Iterable[str], tools: Iterable[_Tool]) -> Problem:
    what = [
        *(f"function {name}" for name in sorted(functions)),
        *(f"tool {name}" for name in sorted({name for name, _ in tools})),
    ]
    more = f" and {len(what) - _SHOWN} more" if len(what) > _SHOWN else ""
    calls = f"calls {', '.join(what[:_SHOWN])}{more}" if what else "asks a model"
    modules = sorted(
        {_module(name) for name in [*functions, *(source for _, source in tools)]} - {""}
    )
    load = "".join(f" --load {module}" for module in modules[:_SHOWN])
    return Problem(
        code="worker.none",
        message=f"no {service} is running, and the graph {calls}: the run waits for one",
        fix=f"start one: `partsong worker start {service}{load}`",
    )


def _said(functions: set[str], tools: set[_Tool]) -> list[Problem]:
    found = [*_functions(functions), *_tools(tools)]
    if len(found) <= _SHOWN:
        return found
    last = found[_SHOWN - 1]
    more = f"{last.message}, nor {len(found) - _SHOWN} other functions and tools"
    return [*found[: _SHOWN - 1], last.model_copy(update={"message": more})]


def _functions(names: set[str]) -> Iterator[Problem]:
    for name in sorted(names):
        module = _module(name)
        yield Problem(
            code="worker.lacks_function",
            message=f"no worker has function {name}",
            where=name,
            fix=f"load it: `partsong up --load {module}` or `partsong worker start tool-runner --load {module}`; "
            "if that module is loaded, correct the name"
            if module
            else "name it `module:function`, and load that module: `partsong up --load module`",
        )


def _tools(places: set[_Tool]) -> Iterator[Problem]:
    for name, source in sorted(places):
        module = _module(source)
        yield Problem(
            code="worker.lacks_tool",
            message=f"no worker has tool {name}" + (f" ({source})" if module else ""),
            where=source or name,
            fix=f"load it: `partsong up --load {module or 'MODULE'}` or "
            f"`partsong worker start tool-runner --load {module or 'MODULE'}`"
            + ("" if module else ", or by PARTSONG_TOOLS; or correct the name"),
        )


def _module(name: str) -> str:
    module, colon, _ = name.partition(":")
    return module if colon and module != "?" else ""
