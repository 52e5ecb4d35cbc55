"""What engines answer, read: hits of the wire as hits of ours."""

from __future__ import annotations

from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from partsong.contracts.errors import Unavailable
from partsong.tools.builtin.search.port import Hit
from partsong.tools.net.html_text import readable

__all__ = ["JSON", "Answer", "hits", "read"]

JSON = frozenset({"application/json", "+json"})
T = TypeVar("T", bound=BaseModel)

_LONGEST_TITLE = 200  # twenty hits must fit into what a tool may return
_LONGEST_SNIPPET = 700
_LONGEST_URL = 500


class Answer(BaseModel, Generic[T]):
    """The part that all engines have in common; what else they say is not read."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    results: list[T]


def read(model: type[T], body: bytes, engine: str) -> T:
    """The answer as a value.

    Raises:
        Unavailable: `search.malformed`.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise Unavailable(
            "search.malformed",
            f"{engine} answered what cannot be read: {where}: {first['msg']}",
            where=engine,
            retryable=True,
            fault="provider",
        ) from None


def hits(found: list[Hit], count: int) -> list[Hit]:
    """The first ones that lead somewhere, as plain text and not too long."""
    return [
        Hit(
            _plain(hit.title)[:_LONGEST_TITLE] or hit.url,
            hit.url,
            _plain(hit.snippet)[:_LONGEST_SNIPPET],
            hit.published[:40],
            hit.score,
        )
        for hit in found
        if hit.url.startswith(("http://", "https://")) and len(hit.url) <= _LONGEST_URL
    ][:count]


def _plain(text: str) -> str:
    """Without the tags that engines put around what matched."""
    return " ".join(readable(text[: 10 * _LONGEST_SNIPPET], "").text.split())
