"""CEL expressions over a run's state or a call's arguments: conditions, and transforms.

CEL has no clock and no I/O (https://cel.dev), and what one may cost is bounded, see `partsong.contracts.foreign`.
Numbers follow CEL: an integer and a double do not mix in arithmetic, `double(state.n) * 1.5` says what is meant.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue

from partsong.contracts.errors import InvalidInput, Unavailable
from partsong.contracts.foreign import cel
from partsong.contracts.foreign.question import Evaluate, Expression, at_once

__all__ = ["check_expression", "compute", "holds"]


def check_expression(expression: str, where: str, name: str = "state") -> None:
    """Refuse what is not CEL; without the engine's packages nothing is checked here, see `lacking`.

    Raises:
        InvalidInput: `cel.syntax`, `cel.too_long`.
    """
    try:
        cel.check(expression, name)
    except Unavailable:
        return
    except InvalidInput as error:
        raise InvalidInput.of(error.problem.model_copy(update={"where": where})) from None


def holds(
    expression: str,
    values: Mapping[str, JsonValue],
    name: str = "state",
    evaluate: Evaluate = at_once,
) -> bool:
    """Whether a condition is true; the expression knows the values as `name`.

    Raises:
        InvalidInput: `cel.failed`, `cel.budget`, or `cel.not_bool` for a value that is neither true nor false.
    """
    value = compute(expression, values, name, evaluate)
    if not isinstance(value, bool):
        raise InvalidInput(
            "cel.not_bool",
            f"{expression!r} gives {value!r:.60}, a condition gives true or false",
            fix="compare it with something",
        )
    return value


def compute(
    expression: str,
    values: Mapping[str, JsonValue],
    name: str = "state",
    evaluate: Evaluate = at_once,
) -> JsonValue:
    """The value of an expression; times become RFC 3339 text, durations seconds.

    Raises:
        InvalidInput: `cel.failed`, saying what there is; `cel.budget`.
    """
    try:
        return evaluate(Expression(expression, cel.named(expression, values, name), name))
    except InvalidInput as error:
        if error.problem.code != "cel.failed":
            raise
        keys = ", ".join(sorted(values)) or "none"
        there = f"(keys of {'the state' if name == 'state' else name}: {keys[:200]})"
        said = f"{error.problem.message} {there}"
        raise InvalidInput.of(error.problem.model_copy(update={"message": said})) from None
