"""A vault: values of redacted arguments, out of the log and of everybody's sight, until their call has been made."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Protocol

__all__ = ["MemoryVault", "Vault", "new_token"]


class Vault(Protocol):
    """Keeps values by token. Every method raises `Unavailable` if the store does not answer."""

    async def put(self, token: str, value: bytes) -> None:
        """Keep a value.

        Raises:
            InvalidInput: `tool.redacted_too_large`.
        """
        ...

    async def get(self, token: str) -> bytes | None:
        """The value; None if it is not kept any more."""
        ...

    async def drop(self, tokens: Iterable[str]) -> None:
        """Forget values; what is not kept is nobody's loss."""
        ...


class MemoryVault:
    """A vault for as long as the process lives, and for calls that are made in it."""

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}

    async def put(self, token: str, value: bytes) -> None:
        """See `Vault.put`; nothing is too large."""
        self._values[token] = value

    async def get(self, token: str) -> bytes | None:
        """See `Vault.get`."""
        return self._values.get(token)

    async def drop(self, tokens: Iterable[str]) -> None:
        """See `Vault.drop`."""
        for token in tokens:
            self._values.pop(token, None)


def new_token() -> str:
    """A token that nobody can guess: 128 bits."""
    return secrets.token_urlsafe(16)
