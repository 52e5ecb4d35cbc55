"""What an MCP server answered, as a tool's result."""

from __future__ import annotations

from typing import assert_never

from mcp.types import (
    AudioContent,
    CallToolResult,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
)
from pydantic import JsonValue, TypeAdapter

from partsong.contracts.errors import InvalidInput
from partsong.contracts.talk.media import left_out, size_of
from partsong.tools.untrusted import marked

__all__ = ["content_of"]

_JSON: TypeAdapter[JsonValue] = TypeAdapter(JsonValue)
_LONGEST = 2000


def content_of(result: CallToolResult, server: str, tool: str) -> JsonValue:
    """Structured content as it is, text marked as untrusted; of images and sounds only what they are.

    Raises:
        InvalidInput: `mcp.tool_error`, the tool says that it failed.
    """
    text = "\n".join(_text(block) for block in result.content)
    if result.is_error:
        raise InvalidInput(
            "mcp.tool_error",
            f"{server} said: {text[:_LONGEST] or 'nothing'}",
            where=tool,
            fault="tool",
        )
    match result.structured_content:
        case None:
            return marked(text, f"the MCP server {server}")
        case {"result": str() as said, **rest} if not rest:  # how the SDK wraps plain text
            return marked(said, f"the MCP server {server}")
        case structured:
            value = _JSON.validate_python(structured)
            beside: list[JsonValue] = [_text(block) for block in result.content if _is_media(block)]
            return {"result": value, "left_out": beside} if beside else value


def _is_media(block: ContentBlock) -> bool:
    """Whether a block has no words of its own, so that structured content beside it does not say it."""
    if isinstance(block, EmbeddedResource):
        return not isinstance(block.resource, TextResourceContents)
    return isinstance(block, ImageContent | AudioContent)


def _text(block: ContentBlock) -> str:
    match block:
        case TextContent():
            return block.text
        case ImageContent() | AudioContent():
            return left_out(block.mime_type, size_of(block.data))
        case ResourceLink():
            return f"[{block.name}: {block.uri}]"
        case EmbeddedResource():
            inner = block.resource
            if isinstance(inner, TextResourceContents):
                return inner.text
            return left_out(f"{inner.mime_type or 'bytes'} of {inner.uri}", size_of(inner.blob))
        case _:
            assert_never(block)
