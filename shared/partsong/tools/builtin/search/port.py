"""What a search engine must be able to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

__all__ = ["Freshness", "Hit", "Query", "SearchProvider"]

Freshness: TypeAlias = Literal["day", "week", "month", "year"]
"""How old what is found may be."""


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for."""

    text: str
    count: int = 5
    language: str = ""
    """Like `en` or `de-CH`; empty: any. An engine that cannot choose ignores it."""
    freshness: Freshness | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """One thing that was found, in the engine's words: nobody has checked them."""

    title: str
    url: str
    snippet: str
    published: str = ""
    """As the engine wrote it, or empty."""
    score: float | None = None
    """As the engine counts; comparable within one answer only."""


class SearchProvider(Protocol):
    """A search engine. One instance serves many calls at once."""

    async def search(self, query: Query) -> list[Hit]:
        """At most `query.count` hits with http or https addresses, the best first.

        Raises:
            InvalidInput: `search.refused`: the engine does not take this query, or not from us.
            Unavailable: `search.unavailable` if it may answer later, `search.malformed` if what it says is no answer,
                and what `SafeHttp` could not reach.
        """
        ...
