"""Snapshots in Redis: one hash for each run, so that it expires, is evicted and is deleted as one.

    <prefix>:<run>   <seq>        the label
                     <seq>:body   the body

The fields of one snapshot are written by one command. A run has so few that nothing else needs to index them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Sequence
from typing import TypeVar

from redis.asyncio import Redis
from redis.exceptions import RedisError

from partsong.contracts.errors import Unavailable
from partsong.log.snapshots.label import (
    check,
    check_run,
    descending,
    label_of,
    opened,
    version_of,
)
from partsong.log.snapshots.port import Snapshot
from partsong.log.snapshots.retention import DEFAULT, Retention

__all__ = ["RedisSnapshots", "connected"]

T = TypeVar("T")

_WITHIN = 5.0
"""Seconds to wait for an answer; whoever gets none can fold the log instead."""


def connected(url: str) -> Redis:
    """A client for `redis://`, `rediss://` or `unix://`; it connects when it is first used.

    Raises:
        ValueError: the URL is not one.
    """
    client: Redis = Redis.from_url(url, socket_timeout=_WITHIN, socket_connect_timeout=_WITHIN)
    return client


class RedisSnapshots:
    """Snapshots under `prefix`, in a Redis whose client is not closed here.

    With `ttl` those of a run are gone so many seconds after the last one was put. The server may evict them: a run is
    one key.
    """

    def __init__(
        self,
        client: Redis,
        *,
        prefix: str = "partsong_snapshots",
        retention: Retention = DEFAULT,
        ttl: int | None = None,
    ) -> None:
        self._client, self._prefix = client, prefix
        self._retention, self._ttl = retention, ttl

    async def put(self, snapshot: Snapshot) -> None:
        """See `Snapshots.put`."""
        check(snapshot)
        key, seq = self._key(snapshot.run_id), str(snapshot.seq)
        async with self._client.pipeline(transaction=True) as pipe:
            pipe.hset(key, mapping={seq: label_of(snapshot), _body(snapshot.seq): snapshot.body})
            if self._ttl:
                pipe.expire(key, self._ttl)
            pipe.hkeys(key)
            *_, fields = await self._answer(pipe.execute())
        surplus = self._retention.surplus(_seqs(fields))
        if surplus:
            gone = [field for one in surplus for field in (str(one), _body(one))]
            await self._answer(self._client.hdel(key, *gone))

    async def newest(
        self, run_id: str, *, up_to: int | None = None, version: str | None = None
    ) -> Snapshot | None:
        """See `Snapshots.newest`."""
        for seq in descending(await self.list(run_id), up_to):
            (label,) = await self._get(run_id, str(seq))
            if version in {None, version_of(label)}:
                label, body = await self._get(run_id, str(seq), _body(seq))
                if found := opened(label, body, run_id, seq):
                    return found
        return None

    async def list(self, run_id: str) -> Sequence[int]:
        """See `Snapshots.list`."""
        check_run(run_id)
        return _seqs(await self._answer(self._client.hkeys(self._key(run_id))))

    async def delete(self, run_id: str) -> None:
        """See `Snapshots.delete`."""
        check_run(run_id)
        await self._answer(self._client.unlink(self._key(run_id)))

    def _key(self, run_id: str) -> str:
        return f"{self._prefix}:{run_id}"

    async def _get(self, run_id: str, *fields: str) -> tuple[bytes, ...]:
        """The values of fields; what is not there is empty."""
        values = await self._answer(self._client.hmget(self._key(run_id), fields))
        return tuple(value if isinstance(value, bytes) else b"" for value in values)

    async def _answer(self, request: Awaitable[T]) -> T:
        try:
            return await request
        except (RedisError, OSError) as error:
            raise Unavailable(
                "snapshots.redis",
                f"Redis did not do it: {error}",
                where=self._prefix,
                fix="check that Redis runs, has room, and that this user may use keys of this prefix",
                retryable=True,
            ) from error


def _body(seq: int) -> str:
    return f"{seq}:body"


def _seqs(fields: Iterable[bytes | str]) -> list[int]:
    """The sequences among the names of fields, ascending."""
    names = (field.decode() if isinstance(field, bytes) else field for field in fields)
    return sorted(int(name) for name in names if name.isdecimal())
