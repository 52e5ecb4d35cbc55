"""Embeddings by a provider: OpenAI's, Google's, or those of any server that speaks like OpenAI's, Ollama and vLLM say.

The address and the key are those of the provider's models: an operator sets them, no model ever does.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import httpx2
from pydantic import BaseModel, ValidationError

from partsong.contracts.errors import InvalidInput, Unavailable
from partsong.tools.builtin.memory.port import Pin, Vector

__all__ = ["ProviderEmbedder"]

_TIMEOUT = 30.0
_AT_ONCE = 100
"""Texts in one request: the least that the providers' own limits allow."""
_AGAIN = frozenset({408, 409, 429})


@dataclass(frozen=True, slots=True)
class _Vendor:
    keys: tuple[str, ...]
    address: str
    """Environment variable of another address."""
    usual: str
    path: str = ""
    """What lies between the address of the vendor's own format and the one that speaks OpenAI's."""


_VENDORS = {
    "openai": _Vendor(("OPENAI_API_KEY",), "OPENAI_BASE_URL", "https://api.openai.com/v1"),
    "google": _Vendor(
        ("GOOGLE_API_KEY", "GEMINI_API_KEY"),
        "GOOGLE_BASE_URL",
        "https://generativelanguage.googleapis.com",
        "/v1beta/openai",
    ),
}


class _One(BaseModel):
    index: int
    embedding: list[float]


class _Answer(BaseModel):
    data: list[_One]


class ProviderEmbedder:
    """Asks for the vectors over HTTP; the length of its vectors is asked for once, with the first text."""

    def __init__(self, name: str, env: Mapping[str, str]) -> None:
        """`name` is `provider:model`; key and address come from `env`.

        Raises:
            InvalidInput: `memory.bad_embedder`.
            Unavailable: `memory.no_key`.
        """
        provider, _, self._model = name.partition(":")
        vendor = _VENDORS.get(provider)
        if vendor is None or not self._model:
            raise InvalidInput(
                "memory.bad_embedder",
                f"{name!r} names no provider of embeddings",
                where="PARTSONG_EMBEDDER",
                fix="one of " + ", ".join(f"{known}:<model>" for known in _VENDORS),
                fault="platform",
            )
        address = env.get(vendor.address, "")
        key = next((env[name] for name in vendor.keys if env.get(name)), "")
        if not key and not address:
            raise Unavailable(
                "memory.no_key",
                f"{name} needs a key",
                where=vendor.keys[0],
                fix=f"set {vendor.keys[0]}, or {vendor.address} to a server that needs none",
            )
        self._name = name
        self._url = f"{(address or vendor.usual).rstrip('/')}{vendor.path}/embeddings"
        self._headers = {"authorization": f"Bearer {key}"} if key else {}
        self._http = httpx2.Client(timeout=_TIMEOUT)
        self._lock = threading.Lock()
        self._dimension = 0

    @property
    def pin(self) -> Pin:
        """The model's full name. The length is not known before the first text, so this may ask for one vector."""
        with self._lock:
            if not self._dimension:
                self._dimension = len(self._asked(["length"])[0])
            return Pin(self._name, self._dimension)

    def embed(self, texts: Sequence[str]) -> list[Vector]:
        """One vector of length 1 for each text.

        Raises:
            Unavailable: `memory.provider`, with what the provider said.
        """
        vectors: list[Vector] = []
        for start in range(0, len(texts), _AT_ONCE):
            vectors += self._asked(texts[start : start + _AT_ONCE])
        return vectors

    def _asked(self, texts: Sequence[str]) -> list[Vector]:
        body = {"model": self._model, "input": list(texts), "encoding_format": "float"}
        try:
            answer = self._http.post(self._url, json=body, headers=self._headers)
        except httpx2.HTTPError as error:
            raise self._failed(f"{type(error).__name__}: {error}", again=True) from error
        if not answer.is_success:
            again = answer.status_code in _AGAIN or answer.status_code >= 500
            raise self._failed(f"status {answer.status_code}: {answer.text[:300]}", again=again)
        try:
            found = sorted(
                _Answer.model_validate_json(answer.content).data, key=lambda one: one.index
            )
        except ValidationError as error:
            raise self._failed(f"no embeddings in {answer.text[:100]!r}", again=False) from error
        if [one.index for one in found] != list(range(len(texts))):
            said = f"{len(found)} vectors came for {len(texts)} texts"
            raise self._failed(said, again=False)
        return [_unit(one.embedding) for one in found]

    def _failed(self, why: str, *, again: bool) -> Unavailable:
        return Unavailable(
            "memory.provider",
            f"{self._name} made no vectors: {why}",
            where=self._url,
            fix="check the key, the address and the model's name",
            retryable=again,
            fault="provider",
        )


def _unit(vector: list[float]) -> Vector:
    length = math.hypot(*vector)
    return [x / length for x in vector] if length else vector
