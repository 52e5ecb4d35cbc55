"""What a user's functions meet: what they may return beside plain values, and `NodeContext`, which they may ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydantic import JsonValue

__all__ = [
    "Approved",
    "Edited",
    "Emit",
    "Goto",
    "NodeContext",
    "Overwrite",
    "Rejected",
    "Route",
]

Emit = Callable[[str | Mapping[str, JsonValue]], None]
"""Shows text or an object to whoever watches the run; safe in any thread, and never part of the state."""


@dataclass(frozen=True, slots=True)
class Route:
    """An outcome label that chooses the edge, and the update that goes with it: `Route("refund", {"amount": 5})`."""

    label: str
    update: Mapping[str, object] | None = None
    private: Mapping[str, object] | None = None
    """What the next nodes see beside the state, and nobody after them."""


@dataclass(frozen=True, slots=True, init=False)
class Goto:
    """Nodes to go on with, beside the plain edges: `Goto("fix", update={"tries": 2})`; they have to be declared."""

    targets: tuple[str, ...]
    update: Mapping[str, object] | None
    private: Mapping[str, object] | None

    def __init__(
        self,
        *targets: str,
        update: Mapping[str, object] | None = None,
        private: Mapping[str, object] | None = None,
    ) -> None:
        """Go to all `targets`."""
        object.__setattr__(self, "targets", targets)
        object.__setattr__(self, "update", update)
        object.__setattr__(self, "private", private)


@dataclass(frozen=True, slots=True)
class Overwrite:
    """A value that takes the place of a key's old one, whatever the key's reducer: `{"log": Overwrite([])}`."""

    value: object


@dataclass(frozen=True, slots=True)
class Approved:
    """An approver's yes, and perhaps why: `Approved("checked with Ann")`; plain `True` says the same without a reason."""

    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """An approver's no, and why: `Rejected("too risky")`; plain `False` says the same without a reason."""

    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Edited:
    """An approver's yes to another value than the one it was shown: `Edited({"tasks": []})`."""

    value: object
    """Takes the place of the approval's editable value, of a tool call's arguments; JSON, or what pydantic makes JSON of."""
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class NodeContext:
    """Which call this is. A function gets it by taking a second argument, a tool by annotating one with it."""

    run_id: str
    node: str
    attempt: int
    """1 for the first; a retry counts on."""
    idempotency_key: str
    """The same for every attempt of the call: hand it to systems that can tell a repeat by it."""
    emit: Emit
    """`emit("reading page 3")` or `emit({"page": 3})`: a chunk, live; after the call's end it does nothing."""
