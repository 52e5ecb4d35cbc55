"""What an MCP server answers that is no text is said to have been left out, also beside structured content."""

from __future__ import annotations

import base64

from mcp.types import (
    AudioContent,
    BlobResourceContents,
    CallToolResult,
    EmbeddedResource,
    ImageContent,
    TextContent,
)

from partsong.tools.mcp.results import content_of

DATA = base64.b64encode(b"\x89PNG" + bytes(300)).decode()
IMAGE = ImageContent(type="image", data=DATA, mime_type="image/png")
SAID = "[image left out: image/png, 304 bytes; media are not supported yet]"


def test_images_sounds_and_files_are_said() -> None:
    blob = BlobResourceContents(uri="file:///a.pdf", mime_type="application/pdf", blob=DATA)
    result = CallToolResult(
        content=[
            TextContent(type="text", text="Here:"),
            IMAGE,
            AudioContent(type="audio", data=DATA, mime_type="audio/wav"),
            EmbeddedResource(type="resource", resource=blob),
        ]
    )
    said = str(content_of(result, "shop", "look"))
    assert "Here:" in said
    assert SAID in said
    assert "[audio left out: audio/wav" in said
    assert "[file left out: application/pdf of file:///a.pdf" in said
    assert DATA not in said


def test_an_image_beside_structured_content_is_said_beside_it() -> None:
    plain = CallToolResult(content=[], structured_content={"sum": 3})
    assert content_of(plain, "shop", "add") == {"sum": 3}
    drawn = CallToolResult(content=[IMAGE], structured_content={"sum": 3})
    assert content_of(drawn, "shop", "add") == {"result": {"sum": 3}, "left_out": [SAID]}
