"""Messages: a conversation with a model, in no provider's dialect.

user       what a person or a node said
assistant  what a model answered: parts, in the order in which it said them
tool       what one tool call gave back; every call an assistant message makes is answered by exactly one

A provider's adapter translates messages on their way out; what a model answers becomes a message only when its stream
has properly ended (`models/core/assemble.py`).
"""

from __future__ import annotations

import json
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    ValidationError,
    model_serializer,
)

from partsong.contracts.errors import InvalidInput

__all__ = [
    "MESSAGE",
    "MESSAGES",
    "AssistantMessage",
    "Message",
    "Part",
    "ReasoningStatePart",
    "RefusalPart",
    "ServerToolPart",
    "TextPart",
    "ToolCallPart",
    "ToolMessage",
    "ToolSpec",
    "UserMessage",
    "messages_of",
]


class _Value(BaseModel):
    """Frozen, keeps fields nobody knows, and is always written with the tag that tells it apart."""

    model_config = ConfigDict(frozen=True, extra="allow")
    _tag: ClassVar[str] = "kind"

    @model_serializer(mode="wrap")
    def _with_tag(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = dump(self)
        return {self._tag: getattr(self, self._tag), **fields}


class TextPart(_Value):
    """Text for people."""

    kind: Literal["text"] = "text"
    text: str


class RefusalPart(_Value):
    """The model's words for declining."""

    kind: Literal["refusal"] = "refusal"
    text: str


class ToolCallPart(_Value):
    """A tool call with complete, valid arguments, or one that is not made because they are not."""

    kind: Literal["tool_call"] = "tool_call"
    id: str
    """Ours, unique in the conversation, and the provider's where that is; the tool message names it. Old logs may repeat one."""
    name: str
    args: dict[str, JsonValue] = Field(default_factory=dict)
    malformed: str | None = None
    """What the model sent in the place of one JSON object, if it did."""

    @model_serializer(mode="wrap")
    def _with_tag(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = {"kind": self.kind, **dump(self)}
        if self.malformed is None:
            fields.pop("malformed", None)
        return fields


class ReasoningStatePart(_Value):
    """What a provider wants back verbatim on the next turn. It goes to that provider and to no other."""

    kind: Literal["reasoning_state"] = "reasoning_state"
    provider: str
    form: Literal["signature", "redacted", "reasoning_item", "thought_signature"]
    opaque: JsonValue


class ServerToolPart(_Value):
    """A tool the provider ran itself. It goes back to that provider and to no other."""

    kind: Literal["server_tool"] = "server_tool"
    provider: str
    data: JsonValue


Part: TypeAlias = Annotated[
    TextPart | RefusalPart | ToolCallPart | ReasoningStatePart | ServerToolPart,
    Field(discriminator="kind"),
]


class UserMessage(_Value):
    """What a person or a node said."""

    _tag = "role"
    role: Literal["user"] = "user"
    text: str


class AssistantMessage(_Value):
    """What a model answered."""

    _tag = "role"
    role: Literal["assistant"] = "assistant"
    parts: tuple[Part, ...] = ()

    @property
    def text(self) -> str:
        """All text parts, joined."""
        return "".join(part.text for part in self.parts if isinstance(part, TextPart))

    @property
    def tool_calls(self) -> tuple[ToolCallPart, ...]:
        """The calls it asks for, in order."""
        return tuple(part for part in self.parts if isinstance(part, ToolCallPart))


class ToolMessage(_Value):
    """What one tool call gave back."""

    _tag = "role"
    role: Literal["tool"] = "tool"
    call_id: str
    """`ToolCallPart.id` of the call it answers."""
    name: str
    content: JsonValue = None
    is_error: bool = False

    @property
    def text(self) -> str:
        """The content as a model reads it: text as it is, anything else as compact JSON."""
        if isinstance(self.content, str):
            return self.content
        return json.dumps(self.content, ensure_ascii=False, separators=(",", ":"))


Message: TypeAlias = Annotated[
    UserMessage | AssistantMessage | ToolMessage, Field(discriminator="role")
]

MESSAGE: TypeAdapter[Message] = TypeAdapter(Message)
MESSAGES: TypeAdapter[tuple[Message, ...]] = TypeAdapter(tuple[Message, ...])


def messages_of(value: object, where: str) -> tuple[Message, ...]:
    """A conversation that somebody gave.

    Raises:
        InvalidInput: `agent.bad_history`, with the place.
    """
    try:
        return MESSAGES.validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InvalidInput(
            "agent.bad_history",
            f"{where}.{place}: {first['msg']}",
            where=where,
            fix="a conversation is a list of user, assistant and tool messages as agents write them; "
            "images and files are not supported in one yet",
        ) from None


class ToolSpec(BaseModel):
    """A tool as a model sees it."""

    model_config = ConfigDict(frozen=True, extra="allow")
    name: str
    description: str = ""
    parameters: dict[str, JsonValue] = {"type": "object", "properties": {}}
    """JSON Schema of an object."""
    approval: str = "never"
    """Whether a person must agree to a call: `never`, `always`, or CEL over `args`."""
    redact: tuple[str, ...] = ()
    """Arguments whose values nobody is shown, and no log keeps."""
