"""Hooks: what plugins decide at ten points of a run, recorded before anything follows from it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    model_serializer,
)

__all__ = [
    "Continue",
    "HookOutcome",
    "HookPoint",
    "HookReport",
    "PluginRef",
    "Replace",
    "RequireApproval",
    "Retry",
    "Veto",
    "hook_id",
]

HookPoint = Literal[
    "before_run",
    "after_run",
    "before_node",
    "after_node",
    "before_agent_call",
    "after_agent_call",
    "before_tool_call",
    "after_tool_call",
    "on_approval",
    "on_error",
]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow")


class PluginRef(_Value):
    """A plugin as a run knows it from its start."""

    name: str
    """Name of its entry point, or `module:Class`."""
    points: tuple[HookPoint, ...]
    kind: Literal["guard", "observer"] = "observer"
    """A guard that fails, is late or is not there vetoes; an observer never stops anything."""
    order: int = 0
    """Those with lower numbers come first; then by name."""
    timeout: float = Field(default=5.0, gt=0)
    """Seconds for one hook."""


class _Outcome(_Value):
    """Always written with the tag that tells it apart."""

    @model_serializer(mode="wrap")
    def _with_kind(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = dump(self)
        return {"kind": getattr(self, "kind"), **fields}  # noqa: B009  # its subclasses have it


class Continue(_Outcome):
    """Go on as if nobody had looked."""

    kind: Literal["continue"] = "continue"


class Replace(_Outcome):
    """Go on with another value: arguments, a result, messages, an answer's text, an update, an error."""

    kind: Literal["replace"] = "replace"
    value: JsonValue


class Veto(_Outcome):
    """Do not do it."""

    kind: Literal["veto"] = "veto"
    reason: str


class RequireApproval(_Outcome):
    """Do it if a person agrees."""

    kind: Literal["require_approval"] = "require_approval"
    reason: str
    then: Replace | None = None
    """What plugins have put in the place of the value that the person is asked about."""


class Retry(_Outcome):
    """Have it done once more."""

    kind: Literal["retry"] = "retry"
    reason: str


HookOutcome: TypeAlias = Annotated[
    Continue | Replace | Veto | RequireApproval | Retry, Field(discriminator="kind")
]


class HookReport(_Value):
    """What one plugin said."""

    plugin: str
    outcome: str
    """The kind of its outcome; `error` if it failed, was late or was not there."""
    reason: str = ""
    ms: float = 0.0


def hook_id(subject: str, point: HookPoint, attempt: int = 1) -> str:
    """The id of the call by which plugins are asked about a call, an execution or, with an empty subject, the run."""
    again = f".{attempt}" if attempt > 1 else ""
    return f"{subject}/h.{point}{again}" if subject else f"h.{point}{again}"
