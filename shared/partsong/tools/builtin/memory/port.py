"""The ports of memory: what makes vectors of texts, and what keeps and finds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

__all__ = ["Embedder", "Item", "Match", "Pin", "Vector", "VectorStore"]

Vector: TypeAlias = Sequence[float]


@dataclass(frozen=True, slots=True)
class Pin:
    """Whose vectors these are; only vectors of one maker can be compared."""

    embedder: str
    dimension: int


@dataclass(frozen=True, slots=True)
class Item:
    """One text and its vector."""

    id: str
    text: str
    vector: Vector


@dataclass(frozen=True, slots=True)
class Match:
    """A text that was found."""

    id: str
    text: str
    score: float
    """Cosine: 1 is the same direction, 0 is unrelated."""


class Embedder(Protocol):
    """Makes vectors of texts: the same vector for the same text, in any process, as long as `pin` is the same.

    Thread-safe. May take its time: call it in a thread.
    """

    @property
    def pin(self) -> Pin:
        """The name, with its version, and the length of the vectors."""
        ...

    def embed(self, texts: Sequence[str]) -> list[Vector]:
        """One vector for each text, in order."""
        ...


class VectorStore(Protocol):
    """Keeps items in namespaces, of one embedder only.

    Thread-safe. A write is there for every later query, and for ever once the call has returned. An implementation
    refuses to open vectors of another embedder: `Conflict` with the code `memory.embedder`.
    """

    def upsert(self, namespace: str, items: Sequence[Item]) -> None:
        """Write all items or none; one with an id that is there replaces it.

        Raises:
            InvalidInput: `memory.bad_vector` for a vector of another length, or with something that is no number.
        """
        ...

    def query(self, namespace: str, vector: Vector, k: int) -> list[Match]:
        """The `k` items nearest in direction, nearest first, and by id where two are as near.

        Raises:
            InvalidInput: `memory.bad_vector`.
        """
        ...

    def delete(self, namespace: str, ids: Sequence[str]) -> int:
        """Take items out; how many were there."""
        ...

    def namespaces(self) -> Mapping[str, int]:
        """How many items each namespace has; one that has none is not listed."""
        ...

    def close(self) -> None:
        """Let go of everything; a second time does nothing."""
        ...
