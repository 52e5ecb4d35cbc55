"""`replace` for frozen dataclasses, at a tenth of the standard one's cost.

A fold makes a few copies per event, and `dataclasses.replace` asks for every field by name each time (11 µs for
`RunState`, this one 1 µs). It works on dataclasses without slots and without `__post_init__`.
Type checkers see the standard function, so names and types of fields are checked as ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

__all__ = ["replace"]

T = TypeVar("T")

if TYPE_CHECKING:
    from dataclasses import replace
else:

    def replace(value: T, /, **changes: Any) -> T:
        """A copy of `value` with some fields changed."""
        copy = object.__new__(value.__class__)
        copy.__dict__.update(value.__dict__)
        copy.__dict__.update(changes)
        return copy
