"""A key-value bucket with compare-and-set: for what several engines change at once.

The server's own buckets are `NatsBucket`; tests and simulations bring another one.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Protocol

import nats.errors
from nats.aio.client import Client
from nats.js.errors import APIError, NotFoundError

from partsong.contracts.errors import Unavailable
from partsong.contracts.wire.headers import EXPECTED_ON_SUBJECT, ROLLUP, TTL
from partsong.runtime.room import holds_all, too_large

__all__ = ["Bucket", "Entry", "NatsBucket", "Overtaken"]

_NO_MESSAGE = 10037
_WRONG_SEQUENCE = frozenset({10071, 10164})
_OPERATION = "KV-Operation"
_GONE_FOR = "3600"
"""Seconds for which a removed key leaves a marker behind."""


class Overtaken(Exception):
    """Somebody else changed the key meanwhile: read it again."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A key's value, None if it has none, and the revision to expect when changing it."""

    value: bytes | None
    revision: int


class Bucket(Protocol):
    """One bucket. Every method raises `Unavailable` if the store does not answer."""

    async def get(self, key: str) -> Entry:
        """What the key holds."""
        ...

    async def keys(self) -> list[str]:
        """All keys, sorted; those removed lately may be among them."""
        ...

    async def put(self, key: str, value: bytes, expect: int | None = None) -> int:
        """Set the key; its new revision.

        Raises:
            Overtaken: its revision is not the expected one.
        """
        ...

    async def remove(self, key: str, expect: int | None = None) -> None:
        """Remove the key.

        Raises:
            Overtaken: its revision is not the expected one.
        """
        ...


class NatsBucket:
    """A bucket in JetStream, which is not created here."""

    def __init__(self, nc: Client, name: str, *, within: float = 5.0) -> None:
        self._nc, self._name, self._within = nc, name, within
        self._stream, self._root = f"KV_{name}", f"$KV.{name}."

    async def get(self, key: str) -> Entry:
        """See `Bucket.get`."""
        try:
            async with asyncio.timeout(self._within):
                msg = await self._nc.jetstream().get_last_msg(self._stream, self._root + key)
        except NotFoundError as error:
            if error.err_code != _NO_MESSAGE:
                raise self._unavailable(error) from error
            return Entry(None, 0)
        except (nats.errors.Error, APIError, TimeoutError) as error:
            raise self._unavailable(error) from error
        gone = _OPERATION in (msg.headers or {})
        return Entry(None if gone else msg.data or b"", msg.seq or 0)

    async def keys(self) -> list[str]:
        """See `Bucket.keys`."""
        body = json.dumps({"subjects_filter": f"{self._root}>"}).encode()
        try:
            reply = await self._nc.request(
                f"$JS.API.STREAM.INFO.{self._stream}", body, timeout=self._within
            )
        except (nats.errors.Error, TimeoutError) as error:
            raise self._unavailable(error) from error
        answer = json.loads(reply.data)
        if "error" in answer:
            raise self._unavailable(answer["error"].get("description"))
        return sorted(name.removeprefix(self._root) for name in answer["state"].get("subjects", ()))

    async def put(self, key: str, value: bytes, expect: int | None = None) -> int:
        """See `Bucket.put`."""
        return await self._publish(key, value, {}, expect)

    async def remove(self, key: str, expect: int | None = None) -> None:
        """See `Bucket.remove`; after an hour no trace of the key is left."""
        headers = {_OPERATION: "PURGE", ROLLUP: "sub", TTL: _GONE_FOR}
        await self._publish(key, b"", headers, expect)

    async def _publish(
        self, key: str, value: bytes, headers: dict[str, str], expect: int | None
    ) -> int:
        if expect is not None:
            headers = {**headers, EXPECTED_ON_SUBJECT: str(expect)}
        try:
            done = await self._nc.jetstream().publish(
                self._root + key, value, timeout=self._within, headers=headers
            )
        except APIError as error:
            if error.err_code in _WRONG_SEQUENCE:
                raise Overtaken from error
            if holds_all(error) or too_large(error):
                raise self._refused(error) from error
            raise self._unavailable(error) from error
        except (nats.errors.Error, TimeoutError) as error:
            raise self._unavailable(error) from error
        return done.seq

    def _refused(self, error: APIError) -> Unavailable:
        return Unavailable(
            "bucket.full",
            f"bucket {self._name} takes nothing more: {error.description} ({error.err_code})",
            where=self._name,
            fix="remove from it what is not needed any more; `partsong doctor` says which bucket is full",
        )

    def _unavailable(self, why: object) -> Unavailable:
        return Unavailable(
            "bucket.no_answer", f"bucket {self._name} did not answer: {why!r}", retryable=True
        )
