"""The embedder that needs nothing: words and pieces of words, hashed into a vector.

It knows spelling, not meaning: `refunds` is near `refund`, but `car` is not near `automobile`.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence

from partsong.tools.builtin.memory.port import Pin, Vector

__all__ = ["HashEmbedder"]

_WORD = re.compile(r"\w+")
_PIECE = 3
_PIECE_WEIGHT = 0.5


class HashEmbedder:
    """Feature hashing with signs; the same on every machine."""

    def __init__(self, dimension: int = 512) -> None:
        self._pin = Pin("hash-1", dimension)

    @property
    def pin(self) -> Pin:
        """`hash-1`."""
        return self._pin

    def embed(self, texts: Sequence[str]) -> list[Vector]:
        """One vector of length 1 for each text; of zeros for a text without a word."""
        return [self._embed(text) for text in texts]

    def _embed(self, text: str) -> Vector:
        vector = [0.0] * self._pin.dimension
        for (feature, weight), count in Counter(_features(text)).items():
            digest = int.from_bytes(hashlib.blake2b(feature.encode(), digest_size=8).digest())
            sign = 1 if digest & 1 else -1
            vector[(digest >> 1) % self._pin.dimension] += sign * weight * (1 + math.log(count))
        length = math.hypot(*vector)
        return [value / length for value in vector] if length else vector


def _features(text: str) -> Iterator[tuple[str, float]]:
    for word in _WORD.findall(text.casefold()):
        yield word, 1.0
        padded = f"<{word}>"
        for start in range(len(padded) - _PIECE + 1):
            yield f"#{padded[start : start + _PIECE]}", _PIECE_WEIGHT
