"""The bytes of a pause: one line about them, then the interpreter's state."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, ValidationError

from partsong.contracts.errors import Conflict, InvalidInput

__all__ = ["Snapshot"]

_MAGIC = b"partsong-code/1 "


class _Head(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    monty: str
    functions: dict[str, tuple[str, ...]]
    printed: str
    calls: int
    digest: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A pause, read or about to be written."""

    monty: str
    """The version of the sandbox whose state this is; no other can read it."""
    functions: dict[str, tuple[str, ...]]
    """What the code may call, and the parameters of each."""
    printed: str
    calls: int
    """How many calls the code has made, this one included."""
    state: bytes

    def dump(self) -> bytes:
        """As bytes."""
        head = _Head(
            monty=self.monty,
            functions=self.functions,
            printed=self.printed,
            calls=self.calls,
            digest=_digest(self.state),
        )
        return _MAGIC + head.model_dump_json().encode() + b"\n" + self.state

    @classmethod
    def load(cls, data: bytes, monty: str) -> Snapshot:
        """From bytes, for this version of the sandbox.

        Raises:
            InvalidInput: `code.bad_snapshot`, for what is none or has been damaged.
            Conflict: `code.snapshot_version`.
        """
        line, _, state = data.partition(b"\n")
        try:
            head = _Head.model_validate_json(line.removeprefix(_MAGIC))
        except ValidationError:
            raise _bad("it does not begin like one") from None
        if head.monty != monty:
            raise Conflict(
                "code.snapshot_version",
                f"the snapshot is of pydantic-monty {head.monty}, here is {monty}",
                where="snapshot",
                fix=f"install pydantic-monty=={head.monty}, or start the code again and answer its calls "
                "with the results that are recorded",
            )
        if head.digest != _digest(state):
            raise _bad("its state has been damaged")
        return cls(head.monty, head.functions, head.printed, head.calls, state)


def _digest(state: bytes) -> str:
    return hashlib.sha256(state).hexdigest()


def _bad(why: str) -> InvalidInput:
    return InvalidInput(
        "code.bad_snapshot",
        f"these bytes are no snapshot of paused code: {why}",
        where="snapshot",
        fix="hand over the bytes of Paused.snapshot as they are",
    )
