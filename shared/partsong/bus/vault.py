"""A vault on the bus: a bucket that the gateway fills, tool-runners read, and that empties itself."""

from __future__ import annotations

from collections.abc import Iterable

from partsong.bus.bucket import Bucket
from partsong.contracts.errors import InvalidInput

__all__ = ["LARGEST", "BucketVault"]

LARGEST = 512 * 1024
"""Bytes of a value, as JSON: a message on the bus holds no more than 1 MiB."""


class BucketVault:
    """Values of redacted arguments in a bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def put(self, token: str, value: bytes) -> None:
        """See `Vault.put`."""
        if len(value) > LARGEST:
            raise InvalidInput(
                "tool.redacted_too_large",
                f"the value of a redacted argument has {len(value):,} bytes, kept are up to {LARGEST:,}",
                fix="have the tool take a reference instead, or do not redact the argument",
            )
        await self._bucket.put(token, value)

    async def get(self, token: str) -> bytes | None:
        """See `Vault.get`."""
        return (await self._bucket.get(token)).value

    async def drop(self, tokens: Iterable[str]) -> None:
        """See `Vault.drop`."""
        for token in tokens:
            await self._bucket.remove(token)
