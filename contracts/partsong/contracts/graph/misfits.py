"""What pydantic finds, as problems that name the field and the value; and models that raise them themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

from partsong.contracts.durations import ASKED
from partsong.contracts.errors import InvalidInput, Problem

__all__ = ["problem_of", "problems_of", "refusing"]


def problem_of(error: ValidationError, code: str, where: str = "") -> Problem:
    """The first of pydantic's findings as a problem that names the field and the value."""
    first = next(problems_of(error, code, where))
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return first.model_copy(update={"message": first.message + more})


def problems_of(error: ValidationError, code: str, where: str = "") -> Iterator[Problem]:
    """All of pydantic's findings."""
    for found in error.errors(include_url=False):
        path = where
        for part in found["loc"]:
            path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
        if "." in found["type"]:  # a code of ours, and its words
            fix = found.get("ctx", {}).get("fix")
            yield Problem(code=found["type"], message=found["msg"], where=path or None, fix=fix)
            continue
        given = repr(found.get("input"))
        given = given if len(given) <= 80 else given[:77] + "..."
        yield Problem(code=code, message=f"{found['msg']}; got {given}", where=path or None)


def refusing(code: str) -> Callable[..., None]:
    """The `__init__` of a model that users make themselves: what does not fit is `InvalidInput`, as everywhere.

    Models within models are made by pydantic, which does not call it, so that findings keep their whole path.
    """

    def init(self: BaseModel, /, **fields: Any) -> None:
        try:
            self.__pydantic_validator__.validate_python(fields, self_instance=self, context=ASKED)
        except ValidationError as error:
            problem = problem_of(error, code)
            said = f"{type(self).__name__}: {problem.message}"
            raise InvalidInput.of(problem.model_copy(update={"message": said})) from None

    vars(init)["__pydantic_base_init__"] = True  # as pydantic's own: it is not for its validation
    return init
