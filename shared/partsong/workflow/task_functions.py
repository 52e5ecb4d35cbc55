"""Functions that do tasks, as functions of nodes."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable

from pydantic import JsonValue

from partsong.contracts.graph.function_results import NodeContext
from partsong.workflow.task_graph import INPUTS, OUTPUT, PROMPT

__all__ = ["answering", "name_of"]

_State = dict[str, JsonValue]


def answering(function: Callable[..., object]) -> Callable[..., object]:
    """A node's function that calls `function` with the task's inputs, its prompt among them, and keeps the output.

    Raises:
        InvalidInput: `function.bad_signature`.
    """
    from partsong.execution.core.signature import callee

    found = callee(function)

    def call(state: _State, context: NodeContext) -> _State:
        return {OUTPUT: found.call(_inputs(state), context)}  # type: ignore[dict-item]  # the executor checks it

    async def call_async(state: _State, context: NodeContext) -> _State:
        output = found.call(_inputs(state), context)
        assert inspect.isawaitable(output)  # noqa: S101
        return {OUTPUT: await output}

    made: Callable[..., object] = call_async if found.is_async else call
    signature = inspect.signature(made)
    functools.update_wrapper(made, function, ("__module__", "__name__", "__qualname__"), ())
    made.__signature__ = signature  # type: ignore[attr-defined]  # not the one of what it wraps
    return made


def _inputs(state: _State) -> _State:
    inputs = state[INPUTS]
    assert isinstance(inputs, dict)  # noqa: S101
    return {PROMPT: state[PROMPT], **inputs}


def name_of(function: Callable[..., object]) -> str:
    """What the node of a task's function is called."""
    name = getattr(function, "__name__", "")
    return name if name.isidentifier() else "function"
