"""What OpenAI's two wire formats share: the client, the shape of errors, the form of JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import JsonValue

from partsong.contracts.talk.chunks import Failed
from partsong.models.core.schema import OPENAI, closed, is_strict, portable
from partsong.models.providers import transport

if TYPE_CHECKING:
    import openai

__all__ = ["compact", "connect", "dump", "explain", "is_own", "strict"]

_URL = "https://api.openai.com/v1"


def is_own(base_url: str) -> bool:
    """Whether OpenAI itself answers there, and not a server that is compatible with it, which may refuse what it does not know."""
    return not base_url or urlsplit(base_url).hostname == urlsplit(_URL).hostname


def connect(api_key: str, base_url: str) -> openai.AsyncOpenAI:
    """A client that makes each request once. A local server may want no key, but the SDK insists on some."""
    import openai

    client = openai.AsyncOpenAI(
        api_key=api_key or "none",
        base_url=base_url or _URL,
        max_retries=0,
        http_client=openai.DefaultAsyncHttpxClient(limits=transport.limits()),
    )
    _ = client.responses, client.chat.completions  # loads them
    return client


def explain(error: Exception, *, base_url: str = "", model: str = "") -> Failed:
    """What the SDK raised, as a chunk. An error in the stream is an `APIError` without a response."""
    failure = _explained(error)
    if is_own(base_url):
        return failure
    if failure.status == 404:
        return failure.model_copy(update={"fix": _not_found(failure.message, base_url, model)})
    if failure.error == "invalid_request" and "not support tools" in failure.message:
        fix = "choose a model whose template knows tools, or take the agent's tools away"
        return failure.model_copy(update={"fix": fix})
    return transport.at_address(failure, base_url)


def _not_found(said: str, base_url: str, model: str) -> str:
    """What a compatible server's 404 may mean: no such path, or no such model."""
    path = urlsplit(base_url).path.rstrip("/")
    if path.endswith("/chat/completions"):
        return f"leave /chat/completions out of the address {base_url}: it is added"
    if not path and "model" not in said.lower():
        return f"{base_url} has no /chat/completions: most servers answer under {base_url.rstrip('/')}/v1"
    return f"ask {base_url.rstrip('/')}/models which models are there; Ollama gets one by: ollama pull {model}"


def _explained(error: Exception) -> Failed:
    import openai

    match error:
        case openai.APIStatusError():
            body = error.body
            return transport.refused(
                _message(error),
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
            status, code = _said(error)
            return transport.refused(_message(error), status=status, code=code)
        case _:
            return transport.explain(error)


def _message(error: openai.APIError) -> str:
    """The provider's own words; vLLM, Ollama and others have less around them than OpenAI."""
    match error.body:
        case str() as said:
            return said
        case {"message": str() as said}:
            return said
        case _:
            return error.message


def _said(error: openai.APIError) -> tuple[int | None, str | None]:
    """Status and code of an error in the stream; compatible servers write the status as the code."""
    match error.body:
        case {"code": int() as status}:
            return status, error.type
        case _:
            return None, error.code or error.type


def strict(schema: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """`schema` and `strict` as the API wants them: strict if the model can be kept to it, else as it is."""
    kept = portable(schema, OPENAI)
    return (
        {"schema": kept, "strict": True}
        if is_strict(kept)
        else {"schema": closed(schema), "strict": False}
    )


def dump(value: Any) -> dict[str, JsonValue]:
    """An SDK object as JSON, with exactly the fields that came."""
    data: dict[str, JsonValue] = value.to_dict(mode="json", exclude_unset=True, warnings=False)
    return data


def compact(value: JsonValue) -> str:
    """Compact JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
