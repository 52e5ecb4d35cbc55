"""The log in Redis, for many processes: one stream of records, and what finds them in it.

    <prefix>:records      the stream; the entry `7-0` is the record with sequence 7
    <prefix>:head         the newest sequence
    <prefix>:last         subject → its newest sequence: what guards are compared with
    <prefix>:ids          id → its sequence, for ever
    <prefix>:run:<run>    the sequences of one run's records, by themselves: of the first four tokens of a subject

An append is one script, so all of it happens or nothing, and whoever is second finds what the first one has stored.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

import redis as client
from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import RedisError

from partsong.contracts.errors import InvalidInput, Unavailable
from partsong.log.port import Appended, Record, WrongSequence
from partsong.log.subject import check_append, check_literal, compile_filter

__all__ = ["RedisLog", "read"]

_log = logging.getLogger("partsong.log")

_WITHIN = 10.0
"""Seconds to wait for an answer."""
_BLOCKED = 2000
"""Milliseconds that a tail waits in the server at a time."""
_PAGE = 250
_MOST = 16
"""Connections for appends and reads."""
_TOKENS = 4
_PREFIX = "partsong_log"
_APPEND = """
local first = redis.call('HGET', KEYS[4], ARGV[3])
if first then return {'same', tonumber(first)} end
if ARGV[5] ~= '' then
  local found = tonumber(redis.call('HGET', KEYS[3], ARGV[1]) or '0')
  if found ~= tonumber(ARGV[5]) then return {'other', found} end
end
local seq = redis.call('INCR', KEYS[2])
redis.call('XADD', KEYS[1], seq .. '-0', 's', ARGV[1], 'b', ARGV[2], 'i', ARGV[3], 'h', ARGV[4])
redis.call('HSET', KEYS[3], ARGV[1], seq)
redis.call('HSET', KEYS[4], ARGV[3], seq)
redis.call('ZADD', KEYS[5], seq, seq)
return {'new', seq}
"""


class RedisLog:
    """A log that processes on several machines may share; open it with `RedisLog.open`.

    It remembers every id for ever. How long an append survives is the server's setting: with `appendonly yes` and
    `appendfsync always` a power cut, with `everysec` one that loses a second, without `appendonly` no end of the server.
    """

    def __init__(self, redis: Redis, tails: Redis, where: str, prefix: str = _PREFIX) -> None:
        self._redis, self._tails = redis, tails
        self._where, self._keys = where, _Keys(prefix)
        self._append = redis.register_script(_APPEND)

    @classmethod
    async def open(cls, url: str, *, prefix: str = _PREFIX) -> Self:
        """Open the log, or start one.

        Raises:
            InvalidInput: `log.bad_url`; `log.evicting`, the server may throw records away.
            Unavailable: `log.redis`, it does not answer.
        """
        try:
            log = cls(*_connected(url), _shown(url), prefix)
        except ValueError as error:  # it repeats what is wrong, which may be a password
            raise _bad_url(url) from error
        try:
            await log._look()
        except TypeError as error:  # an option that its client does not know shows when it connects
            await log.close()
            raise _bad_url(url) from error
        except BaseException:
            await log.close()
            raise
        return log

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()
        await self._tails.aclose()

    async def append(
        self,
        subject: str,
        body: bytes,
        *,
        id: str,
        expect: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Appended:
        """See `Log.append`."""
        check_append(subject, id, headers)
        guard = "" if expect is None else str(expect)
        text = json.dumps(dict(headers), ensure_ascii=False) if headers else ""
        outcome, seq = await self._answer(
            self._append(keys=self._keys.of(subject), args=[subject, bytes(body), id, text, guard])
        )
        if outcome == b"other":
            raise WrongSequence(subject, expect or 0, seq)
        return Appended(seq, duplicate=outcome == b"same")

    async def read(
        self, filter: str, *, after: int = 0, upto: int | None = None
    ) -> AsyncGenerator[Record, None]:
        """See `Log.read`."""
        pattern, index = compile_filter(filter), self._keys.index_of(filter)
        head = await self.head()
        upto = head if upto is None else min(upto, head)
        while after < upto:
            if index is None:
                found = await self._range(after + 1, upto, _PAGE)
                seqs = [record.seq for record in found]
            else:
                seqs = await self._seqs(index, after, upto)
                found = await self._each(seqs)
            for record in found:
                if pattern.fullmatch(record.subject):
                    yield record
            if len(seqs) < _PAGE:
                return
            after = seqs[-1]

    async def tail(self, filter: str, *, after: int = 0) -> AsyncGenerator[Record, None]:
        """See `Log.tail`."""
        pattern = compile_filter(filter)
        head = await self.head()
        async for record in self.read(filter, after=after, upto=head):
            yield record
        after = max(after, head)
        while True:
            waiting = self._tails.xread(
                {self._keys.records: f"{after}-0"}, count=_PAGE, block=_BLOCKED
            )
            for _, entries in await self._answer(waiting) or ():
                for record in map(_record, entries):
                    after = record.seq
                    if pattern.fullmatch(record.subject):
                        yield record

    async def last(self, subject: str, *, sure: bool = False) -> Record | None:  # noqa: ARG002  # it reads what it holds
        """See `Log.last`."""
        check_literal(subject)
        seq = await self._answer(self._redis.hget(self._keys.last, subject))
        return (await self._range(int(seq), int(seq), 1))[0] if seq else None

    async def head(self) -> int:
        """See `Log.head`."""
        return int(await self._answer(self._redis.get(self._keys.head)) or 0)

    async def _look(self) -> None:
        """Refuse a server that throws keys away when it is full; say if it keeps nothing over its own end."""
        info = await self._answer(self._redis.info())
        policy = str(info.get("maxmemory_policy", "noeviction"))
        if policy.startswith("allkeys"):
            raise InvalidInput(
                "log.evicting",
                f"the server throws away any key when it is full (maxmemory-policy {policy}), so records would be lost",
                where=self._where,
                fix="set maxmemory-policy noeviction, or use a Redis of its own",
            )
        if not info.get("aof_enabled") and self._where not in _told:
            _told.add(self._where)
            _log.warning("log.volatile: %s has appendonly no: %s", self._where, _LOSES)

    async def _seqs(self, index: str, after: int, upto: int) -> list[int]:
        asked = self._redis.zrangebyscore(index, after + 1, upto, start=0, num=_PAGE)
        return [int(seq) for seq in await self._answer(asked)]

    async def _each(self, seqs: list[int]) -> list[Record]:
        async with self._redis.pipeline(transaction=False) as pipe:
            for seq in seqs:
                pipe.xrange(self._keys.records, f"{seq}-0", f"{seq}-0")
            answers = await self._answer(pipe.execute())
        return [_record(entry) for entries in answers for entry in entries]

    async def _range(self, first: int, last: int, count: int) -> list[Record]:
        asked = self._redis.xrange(self._keys.records, f"{first}-0", f"{last}-0", count=count)
        return [_record(entry) for entry in await self._answer(asked)]

    async def _answer(self, request: Any) -> Any:
        """What the server answers; the client's types know neither the command nor that it is awaited."""
        try:
            return await request
        except (RedisError, OSError) as error:
            raise _unavailable(error, self._where) from error


_told: set[str] = set()
"""The servers of which it was said that they keep nothing over their end."""
_LOSES = "records are lost when the server ends; set appendonly yes, and appendfsync always against power cuts"


def _connected(url: str) -> tuple[Redis, Redis]:
    """A client for what is answered at once, whose callers wait for a connection; and one for tails, which keep theirs."""
    timeouts: dict[str, Any] = {"socket_timeout": _WITHIN, "socket_connect_timeout": _WITHIN}
    pool = BlockingConnectionPool.from_url(url, max_connections=_MOST, timeout=None, **timeouts)
    return Redis.from_pool(pool), Redis.from_url(url, max_connections=10_000, **timeouts)


class _Keys:
    """The names of what is stored, all in one slot of a cluster."""

    def __init__(self, prefix: str) -> None:
        self._prefix = f"{{{prefix}}}"
        self.records, self.head = f"{self._prefix}:records", f"{self._prefix}:head"
        self.last, self.ids = f"{self._prefix}:last", f"{self._prefix}:ids"

    def of(self, subject: str) -> list[str]:
        """Those that the append of a record touches."""
        return [self.records, self.head, self.last, self.ids, self._index(subject.split("."))]

    def index_of(self, filter: str) -> str | None:
        """The index that holds all records which a filter selects, if one does."""
        tokens = filter.split(".")
        named = tokens[:_TOKENS]
        return None if "*" in named or ">" in named else self._index(tokens)

    def _index(self, tokens: list[str]) -> str:
        return f"{self._prefix}:run:{'.'.join(tokens[:_TOKENS])}"


def read(url: str, *, prefix: str = _PREFIX) -> Iterator[Record]:
    """All records, read without an event loop.

    Raises:
        InvalidInput: `log.bad_url`.
        Unavailable: `log.redis`.
    """
    try:
        server: Any = client.Redis.from_url(
            url, socket_timeout=_WITHIN, socket_connect_timeout=_WITHIN
        )
    except ValueError as error:
        raise _bad_url(url) from error
    with server:
        after, entries = "(0-0", [None]
        while entries:
            try:
                entries = server.xrange(_Keys(prefix).records, after, "+", count=_PAGE)
            except (RedisError, OSError) as error:
                raise _unavailable(error, _shown(url)) from error
            except TypeError as error:
                raise _bad_url(url) from error
            for entry in entries:
                yield _record(entry)
                after = f"({entry[0].decode()}"


def _record(entry: Any) -> Record:
    at, fields = entry
    headers = json.loads(fields[b"h"]) if fields[b"h"] else {}
    return Record(
        int(at.partition(b"-")[0]),
        fields[b"s"].decode(),
        fields[b"b"],
        fields[b"i"].decode(),
        headers,
    )


def _shown(url: str) -> str:
    """A URL without who one is: it may stand in an error."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"


def _bad_url(url: str) -> InvalidInput:
    return InvalidInput(
        "log.bad_url",
        f"{_shown(url)} is no URL of a Redis: its port or one of its options is wrong",
        where="log",
        fix="write redis://host:6379/0",
    )


def _unavailable(error: Exception, where: str) -> Unavailable:
    return Unavailable(
        "log.redis",
        f"Redis did not do it: {error}",
        where=where,
        fix="check that Redis runs, has room, and that this user may use keys of the log and scripts",
        retryable=True,
    )
