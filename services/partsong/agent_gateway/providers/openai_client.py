"""What OpenAI's two wire formats share: the client, the shape of errors, the form of JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from partsong.agent_gateway.providers import transport
from partsong.contracts.chunks import Failed

if TYPE_CHECKING:
    import openai

__all__ = ["compact", "connect", "dump", "explain"]

_URL = "https://api.openai.com/v1"


def connect(api_key: str, base_url: str) -> openai.AsyncOpenAI:
    """A client that makes each request once. A local server may want no key, but the SDK insists on some."""
    import openai

    return openai.AsyncOpenAI(
        api_key=api_key or "none",
        base_url=base_url or _URL,
        max_retries=0,
        http_client=openai.DefaultAsyncHttpxClient(limits=transport.limits()),
    )


def explain(error: Exception) -> Failed:
    """What the SDK raised, as a chunk. An error in the stream is an `APIError` without a response."""
    import openai

    match error:
        case openai.APIStatusError():
            body = error.body
            return transport.refused(
                str(body["message"])
                if isinstance(body, dict) and "message" in body
                else error.message,
                status=error.status_code,
                code=error.code,
                headers=error.response.headers,
                body=body,
            )
        case openai.APITimeoutError():
            return transport.late(error)
        case openai.APIConnectionError():
            return transport.lost(error)
        case openai.APIError():
            return transport.refused(error.message, status=None, code=error.code or error.type)
        case _:
            return transport.explain(error)


def dump(value: Any) -> dict[str, JsonValue]:
    """An SDK object as JSON, with exactly the fields that came."""
    data: dict[str, JsonValue] = value.to_dict(mode="json", exclude_unset=True)
    return data


def compact(value: JsonValue) -> str:
    """Compact JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
