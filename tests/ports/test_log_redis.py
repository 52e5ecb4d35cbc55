"""The log in Redis keeps the promises of the port, and says what its server does not keep."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from partsong.contracts.errors import InvalidInput, Unavailable
from partsong.log.port import Log, WrongSequence
from partsong.log.redis import RedisLog, read
from partsong.testing.durable_log_suite import DurableLogSuite, Reopen
from partsong.testing.log_suite import read_all


class TestRedisLog(DurableLogSuite):
    @pytest.fixture
    async def opened(self, redis: Redis, redis_url: str) -> AsyncIterator[list[RedisLog]]:
        logs = [await RedisLog.open(redis_url)]
        yield logs
        await logs[-1].close()

    @pytest.fixture
    def log(self, opened: list[RedisLog]) -> Log:
        return opened[0]

    @pytest.fixture
    def reopen(self, opened: list[RedisLog], redis_url: str) -> Reopen:
        async def close_and_open() -> Log:
            await opened[-1].close()
            opened.append(await RedisLog.open(redis_url))
            return opened[-1]

        return close_and_open


async def test_one_of_racing_processes_wins(redis: Redis, redis_url: str) -> None:
    async with await RedisLog.open(redis_url) as one, await RedisLog.open(redis_url) as other:
        for turn in range(50):
            last = (await one.last("a.b")) or None
            expect = last.seq if last else 0
            outcomes = await asyncio.gather(
                one.append("a.b", b"", id=f"{turn}.one", expect=expect),
                other.append("a.b", b"", id=f"{turn}.other", expect=expect),
                return_exceptions=True,
            )
            assert sum(isinstance(outcome, WrongSequence) for outcome in outcomes) == 1


async def test_what_was_appended_can_be_read_without_a_loop(redis: Redis, redis_url: str) -> None:
    assert list(read(redis_url)) == []
    async with await RedisLog.open(redis_url) as log:
        for n in range(600):
            await log.append(f"a.{n % 2}", b"%d" % n, id=f"{n}", headers={"n": f"{n}"})
        assert list(read(redis_url)) == await read_all(log, ">")


async def test_logs_of_several_prefixes_are_apart(redis: Redis, redis_url: str) -> None:
    async with (
        await RedisLog.open(redis_url, prefix="one") as one,
        await RedisLog.open(redis_url, prefix="other") as other,
    ):
        await one.append("a.b", b"", id="x")
        assert (await other.head(), (await other.append("a.b", b"", id="x")).seq) == (0, 1)


async def test_a_server_that_may_throw_records_away_is_refused(
    redis: Redis, redis_url: str
) -> None:
    await redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(InvalidInput) as refused:
            await RedisLog.open(redis_url)
    finally:
        await redis.config_set("maxmemory-policy", "noeviction")
    assert refused.value.problem.code == "log.evicting"


async def test_a_server_that_is_full_refuses_an_append_and_keeps_the_log_whole(
    redis: Redis, redis_url: str
) -> None:
    async with await RedisLog.open(redis_url) as log:
        await log.append("a.b", b"1", id="1")
        await redis.config_set("maxmemory", "1mb")
        try:
            with pytest.raises(Unavailable) as full:
                await log.append("a.b", b"2", id="2")
        finally:
            await redis.config_set("maxmemory", "0")
        assert full.value.problem.code == "log.redis"
        assert (await log.append("a.b", b"2", id="2", expect=1)).seq == 2
        assert [record.id for record in await read_all(log, ">")] == ["1", "2"]


@pytest.mark.parametrize(("appendonly", "warned"), [("no", True), ("yes", False)])
async def test_a_server_that_keeps_nothing_over_its_end_is_named(
    redis: Redis,
    redis_url: str,
    caplog: pytest.LogCaptureFixture,
    appendonly: str,
    warned: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("partsong.log.redis._told", set())
    await redis.config_set("appendonly", appendonly)
    try:
        with caplog.at_level(logging.WARNING):
            await (await RedisLog.open(redis_url)).close()
            await (await RedisLog.open(redis_url)).close()
    finally:
        await redis.config_set("appendonly", "no")
    said = [line for line in caplog.messages if line.startswith("log.volatile: redis://127")]
    assert len(said) == warned  # once in a process


@pytest.mark.parametrize("url", ["redis://:secret@127.0.0.1:port/0", "redis://h/0?nothing=such"])
async def test_a_url_that_is_none_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        await RedisLog.open(url)
    assert refused.value.problem.code == "log.bad_url"
    assert "secret" not in str(refused.value)


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(Unavailable) as away:
        await RedisLog.open("redis://:secret@127.0.0.1:1/0")
    assert away.value.problem.code == "log.redis"
    assert "secret" not in str(away.value)
