"""The kinds of nodes that hold no other graph, and what all nodes share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    TypeAdapter,
    WithJsonSchema,
    model_validator,
)
from pydantic.errors import PydanticUserError

from partsong.contracts.durations import Duration, Seconds, SecondsFromZero
from partsong.contracts.errors import Problem
from partsong.contracts.exception_names import class_name, means
from partsong.contracts.graph.misfits import refusing

__all__ = [
    "ANSWER",
    "HANDOFF",
    "AgentSpec",
    "ApprovalNode",
    "AtLeast",
    "CacheMode",
    "Effort",
    "FunctionNode",
    "Join",
    "Label",
    "ModelName",
    "NodeBase",
    "NodeName",
    "OutputMode",
    "Retry",
    "SideEffect",
    "Source",
    "SpecBase",
    "ToolNode",
    "TransformNode",
    "WaitNode",
]

Label = Annotated[str, Field(pattern=r"^[A-Za-z0-9_\-]{1,48}$")]

NodeName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_\-]*$", max_length=64)]


class SpecBase(BaseModel):
    """What every part of a graph is: frozen, and nothing in it is unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    if not TYPE_CHECKING:  # which see the fields
        __init__ = refusing("graph.malformed")


class AtLeast(SpecBase):
    """A join that fires as soon as `n` branches have arrived; later ones are ignored."""

    n: int = Field(ge=1)


Join = Literal["all", "any", "first"] | AtLeast
"""When a node with several inbound edges fires: `all` when nothing more can arrive, `any` with the first branch to
arrive, `first` likewise and the others are cancelled, `{n: k}` with the k-th."""


def _names(value: object) -> object:
    """Exceptions by their names; one alone is a list of one."""
    if isinstance(value, str | type):
        value = (value,)
    if not isinstance(value, list | tuple):
        return value
    return tuple(_name(found) for found in value)


def _name(value: object) -> object:
    if not isinstance(value, type):
        return value
    if not issubclass(value, BaseException):
        raise ValueError(f"{class_name(value)} is no exception")  # noqa: TRY004  # pydantic reads it
    return class_name(value)


_Errors = Annotated[
    tuple[str | type[BaseException], ...],
    BeforeValidator(_names),
    WithJsonSchema({"type": "array", "items": {"type": "string"}}),
]
"""_Errors as a graph names them; classes become their names."""


class Retry(SpecBase):
    """When and how often a failed call is made again."""

    attempts: int = Field(default=3, ge=1, le=1000)
    """How often in all, the first one included."""
    initial: SecondsFromZero = 1.0
    """Seconds before the second attempt."""
    factor: float = Field(default=2.0, ge=1)
    max: SecondsFromZero = 60.0
    """No wait is longer than this many seconds, unless a provider asks for more."""
    jitter: float = Field(default=0.1, ge=0, le=1)
    """Share of the wait that varies, derived from the call's id: recorded, so a replay waits the same."""
    retry_on: _Errors = ()
    """_Errors worth another attempt: exceptions, by their class or its name or a base's, or codes and how they begin.

    Empty: whatever says that it is retryable, as all exceptions do.
    """
    not_on: _Errors = ()
    """Errors, named in the same way, that are never worth another attempt."""

    if TYPE_CHECKING:  # what may be given is more than what is kept

        def __init__(
            self,
            *,
            attempts: int = 3,
            initial: Duration = 1.0,
            factor: float = 2.0,
            max: Duration = 60.0,  # noqa: A002  # its name on the wire
            jitter: float = 0.1,
            retry_on: str | type[BaseException] | Sequence[str | type[BaseException]] = (),
            not_on: str | type[BaseException] | Sequence[str | type[BaseException]] = (),
        ) -> None: ...

    def worth(self, problem: Problem) -> bool:
        """Whether an error is worth another attempt, if there is one left."""
        if any(means(str(name), problem) for name in self.not_on):
            return False
        if not self.retry_on:
            return problem.retryable
        return any(means(str(name), problem) for name in self.retry_on)


class NodeBase(SpecBase):
    """What every node may say."""

    retry: Retry | None = None
    timeout: Seconds | None = None
    """Seconds from start to close of one attempt; without it, a function has a day and a turn ten minutes."""
    idle_timeout: Seconds | None = None
    """Seconds an attempt may be silent: no chunk, no `emit`."""
    max_visits: int | None = Field(default=None, ge=1)
    """How often a run may enter the node; one more ends the run with `limit_exceeded`."""
    join: Join = "all"
    compensate: str | None = None
    """`package.module:qualname` of a function that undoes the node when the run fails or is cancelled."""


class FunctionNode(NodeBase):
    """A user's Python function, called in a tool-runner process that has loaded its module."""

    type: Literal["function"] = "function"
    function: str
    """`package.module:qualname`."""


Source = Annotated[str, Field(pattern=r"^[^:\s]+:[^:\s]+$", max_length=500)]
"""`package.module:name` of a tool, of a list of tools, or of a graph or agent that has them.

`?:name` is whichever tool-runners have by that name, but no built-in one."""

Effort = Literal["minimal", "low", "medium", "high", "max"]
CacheMode = Literal["auto", "off", "1h"]
"""Whether the vendor keeps what it has read of a conversation: `auto` for minutes, `1h` for an hour, or `off`."""
"""How much a reasoning model should think."""

ModelName = Annotated[str, Field(pattern=r"^(auto|[a-z][a-z0-9_-]*:.+)$")]
"""`provider:model`, or `auto` and `auto:<policy>` for what the router chooses, turn by turn."""

HANDOFF = "transfer_to_"
"""With a label behind it, the name of the tool by which a model hands over."""

ANSWER = "final_answer"
"""The tool by which a model gives a structured answer where its provider keeps it to no schema."""

OutputMode = Literal["native", "tool"]
"""native: the provider keeps the model to the schema. tool: the model answers by calling a tool with that schema."""


SideEffect = Literal["none", "read", "write", "destructive"]
"""What a tool's call does to the world: nothing, look at it, change it, change it beyond repair."""


def _schema_of(given: object) -> object:
    """The JSON Schema of a type; of `str` none, for that is plain text."""
    if given is None or given is str:
        return None
    if isinstance(given, Mapping):
        return given
    try:
        return TypeAdapter(given).json_schema()  # type: ignore[arg-type]  # whatever a type is
    except (PydanticUserError, NameError, TypeError) as error:
        said = str(error).splitlines()[0]
        raise ValueError(f"no JSON Schema can be made of {given!r:.80}: {said}") from None


class AgentSpec(SpecBase):
    """An agent as data."""

    if not TYPE_CHECKING:  # which see the fields
        __init__ = refusing("agent.malformed")

    model: ModelName
    """For example `anthropic:claude-sonnet-5-5`, `openai:gpt-5.4`, `scripted:summary`, `auto:complexity`."""
    fallbacks: tuple[ModelName, ...] = ()
    """Models that stand in, in this order, when the one before has failed as often as it may."""
    patience: SecondsFromZero = 120.0
    """A provider that asks for a longer wait is not waited for if another model can stand in."""
    instructions: str = ""
    tools: tuple[str, ...] = ()
    """Code that one of them runs may call the others."""
    sources: dict[str, Source] = Field(default_factory=dict)
    """Where tools stand, by name: a tool-runner that has loaded the module calls that one. A tool that is not in here is
    whichever tool-runners have by its name."""
    may: SideEffect | None = None
    """The strongest side effect of a tool's call; one beyond it is refused, whoever agrees. None leaves that to `tools`."""
    asks: SideEffect | None = None
    """From this side effect on, a person must agree to a tool's call; None leaves that to the tools."""
    approval_deadline: Seconds | None = None
    """Seconds a person has to agree to a tool's call, unless the tool says; after that it is refused."""
    handoffs: dict[Label, str] = Field(default_factory=dict)
    """Outcome label: when to hand over. The model is offered a tool `transfer_to_<label>`; calling it ends the node
    with that label."""
    effort: Effort | None = None
    """None leaves it to the router or the provider."""
    provider_options: dict[str, dict[str, JsonValue]] = Field(default_factory=dict)
    """Fields of a vendor's own request, by provider: `{"openai": {"service_tier": "flex"}}`."""
    temperature: float | None = None
    output_schema: Annotated[dict[str, JsonValue] | None, BeforeValidator(_schema_of)] = None
    """JSON Schema of the answer, or a type to make it of; the node then writes the parsed value instead of text."""
    output_mode: OutputMode | None = None
    """How an answer with a schema is asked for; None is `native` wherever that holds."""
    repairs: int = Field(default=2, ge=0)
    """How often an answer that does not fit the schema is sent back."""
    max_tokens: int = Field(default=4096, ge=1)
    """Output tokens of one turn."""
    max_turns: int = Field(default=20, ge=0)
    max_tool_calls: int | None = Field(default=100, ge=0)
    """Of one visit, those that code makes among them."""
    max_total_tokens: int | None = Field(default=None, ge=0)
    """Input and output tokens of all turns of one visit; a stream that goes beyond is cut off."""
    max_cost: float | None = Field(default=None, ge=0)
    """US dollars for all turns of one visit; a stream that goes beyond is cut off."""
    cache: CacheMode = "auto"
    """How long the vendor keeps what it has read, so that the next turn pays a tenth for it; `1h` costs more to write."""
    repeats: int = Field(default=3, ge=1)
    """How often the same tool call may give the same result; one more is a loop."""
    compact_at: int | None = Field(default=None, ge=1000)
    """Input tokens of a turn beyond which the older part of the conversation is summarised before the next one."""


class ToolNode(NodeBase):
    """One tool call with arguments from the state."""

    type: Literal["tool"] = "tool"
    tool: str
    args: dict[str, JsonValue] = Field(default_factory=dict)
    """Values may hold `{{path}}`; a value that is only `{{path}}` keeps its type."""
    output: str | None = None
    tools: tuple[str, ...] = ()
    """Tools that code may call which this one runs."""
    approval_deadline: Seconds | None = None
    """Seconds a person has to agree to the call, unless the tool says; after that it is refused."""
    sources: dict[str, Source] = Field(default_factory=dict)
    """Where these tools stand, by name, as in an agent's."""


class ApprovalNode(NodeBase):
    """A human decision. Outcomes: `approved`, `rejected`."""

    type: Literal["approval"] = "approval"
    title: str
    detail: str = ""
    show: tuple[str, ...] = ()
    """State keys the approver sees."""
    editable: str | None = Field(default=None, min_length=1)
    """State key the approver sees and may give another value; it need not be there before."""
    edit_schema: dict[str, JsonValue] | None = None
    """JSON Schema of that value; what does not fit is refused."""
    deadline: Seconds | None = None
    """Seconds until `otherwise` is taken."""
    otherwise: Literal["approve", "reject"] = "reject"

    @model_validator(mode="after")
    def _edits(self) -> ApprovalNode:
        if self.edit_schema is not None and self.editable is None:
            raise ValueError("edit_schema belongs to editable, the key it is for")
        return self


class WaitNode(NodeBase):
    """Waits for a time or for a signal. Outcomes: `success`, and `timeout` when a signal's deadline passes."""

    type: Literal["wait"] = "wait"
    seconds: Seconds | None = None
    until: str | None = None
    """RFC 3339; may hold `{{path}}`."""
    signal: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_\-]{1,64}$")
    """Name of the signal to wait for. One that came before is taken at once; each is taken once."""
    key: str | None = Field(default=None, min_length=1, max_length=4096)
    """Of several waits for one signal, which is meant: CEL over `state`, or text with `{{path}}`. A signal with a key is
    taken only by a wait whose key has that value, and such a wait takes no other."""
    signal_schema: dict[str, JsonValue] | None = None
    """JSON Schema of the signal's payload; what does not fit is refused at the door."""
    deadline: Seconds | None = None
    """Seconds to wait for the signal."""
    output: str | None = None
    """State key of the signal's payload; default: the node's name."""

    @model_validator(mode="after")
    def _one_of(self) -> WaitNode:
        given = [name for name in ("seconds", "until", "signal") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"a wait is for one of seconds, until, signal; got {given or 'none'}")
        if self.signal is None and (self.deadline or self.signal_schema or self.key):
            raise ValueError("key, deadline and signal_schema belong to a signal")
        return self


class TransformNode(NodeBase):
    """Computes keys of the state with CEL over `state`, in the engine itself."""

    type: Literal["transform"] = "transform"
    set: dict[str, str] = Field(min_length=1)
    """Key: CEL expression."""
