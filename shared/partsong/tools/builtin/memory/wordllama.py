"""The embedder that knows some meaning: WordLlama's word vectors, from the weights inside its own package."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from partsong.contracts.errors import Unavailable
from partsong.tools.builtin.memory.port import Pin, Vector

__all__ = ["WordLlamaEmbedder"]

_DIMENSION = 256


class WordLlamaEmbedder:
    """Loads its weights at the first text, and never asks the network for them."""

    def __init__(self) -> None:
        """Look whether it is installed.

        Raises:
            Unavailable: `memory.not_installed`.
        """
        found = find_spec("wordllama")
        if found is None or found.origin is None:
            raise Unavailable(
                "memory.not_installed",
                "wordllama is not installed",
                where="PARTSONG_EMBEDDER",
                fix="pip install 'partsong[memory]', or PARTSONG_EMBEDDER=hash",
            )
        self._weights = Path(found.origin).parent
        self._pin = Pin(f"wordllama-{'.'.join(version('wordllama').split('.')[:2])}", _DIMENSION)
        self._lock = threading.Lock()
        self._model: object = None

    @property
    def pin(self) -> Pin:
        """Its minor version: a patch does not change the weights."""
        return self._pin

    def embed(self, texts: Sequence[str]) -> list[Vector]:
        """One vector of length 1 for each text."""
        from wordllama import WordLlama, WordLlamaInference  # type: ignore[import-untyped]

        with self._lock:
            if self._model is None:
                # its own folder as the cache: any other is looked up on a hub first
                self._model = WordLlama.load(
                    cache_dir=self._weights, dim=_DIMENSION, disable_download=True
                )
            assert isinstance(self._model, WordLlamaInference)  # noqa: S101
            return [[float(x) for x in row] for row in self._model.embed(list(texts), norm=True)]
