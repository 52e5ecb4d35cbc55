"""What many hints of one run ask of its log is read once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator

import pytest

from partsong.bus.run_reader import RunReader
from partsong.contracts.errors import Unavailable
from partsong.log.memory import MemoryLog
from partsong.log.port import Record


class Counted(MemoryLog):
    """A log that counts what it gives, and may be away."""

    def __init__(self) -> None:
        super().__init__()
        self.given = self.said = 0
        self.away = False

    async def say(self, subject: str, body: bytes) -> None:
        self.said += 1
        await self.append(subject, body, id=f"m{self.said}")

    async def read(
        self, filter: str, *, after: int = 0, upto: int | None = None
    ) -> AsyncGenerator[Record, None]:
        async for record in super().read(filter, after=after, upto=upto):
            await asyncio.sleep(0)
            if self.away:
                raise Unavailable("log.unreachable", "nobody answers")
            self.given += 1
            yield record


def said(record: Record) -> Iterator[tuple[str, str]]:
    name, _, text = record.body.decode().partition("=")
    yield name, text


@pytest.fixture
def log() -> Counted:
    return Counted()


@pytest.fixture
def reader(log: Counted) -> RunReader[str]:
    return RunReader(log, lambda run_id: f"log.{run_id}", said)


async def test_a_thousand_questions_read_a_record_once(
    log: Counted, reader: RunReader[str]
) -> None:
    for n in range(100):
        await log.say("log.r_1", f"c{n}={n}".encode())
    await log.say("log.r_2", b"c1=other")
    found = await asyncio.gather(*(reader.behind("r_1", 0, f"c{n % 100}") for n in range(1_000)))
    assert found == [[f"{n % 100}"] for n in range(1_000)]
    assert log.given == 100
    await log.say("log.r_1", b"c1=more")
    assert await reader.behind("r_1", 0, "c1") == ["1", "more"]
    assert log.given == 101


async def test_only_what_is_behind_the_record_counts(log: Counted, reader: RunReader[str]) -> None:
    for text in ("one", "two", "three"):
        await log.say("log.r_1", f"c={text}".encode())
    assert await reader.behind("r_1", 2, "c") == ["three"]
    assert await reader.behind("r_1", 1, "c") == ["two", "three"]
    assert await reader.behind("r_1", 3, "c") == []


async def test_what_was_said_before_the_question_is_never_missed(
    log: Counted, reader: RunReader[str]
) -> None:
    """A reading that another question has begun before may have passed the place."""
    await log.say("log.r_1", b"a=1")
    first = asyncio.ensure_future(reader.behind("r_1", 0, "b"))
    for _ in range(3):
        await asyncio.sleep(0)
    await log.say("log.r_1", b"b=2")
    assert await reader.behind("r_1", 0, "b") == ["2"]
    await first


async def test_a_reading_that_broke_off_is_made_again(log: Counted, reader: RunReader[str]) -> None:
    await log.say("log.r_1", b"a=1")
    log.away = True
    with pytest.raises(Unavailable):
        await reader.behind("r_1", 0, "a")
    log.away = False
    assert await reader.behind("r_1", 0, "a") == ["1"]


async def test_of_many_runs_the_last_are_remembered(log: Counted, reader: RunReader[str]) -> None:
    for n in range(200):
        await log.say(f"log.r_{n}", b"a=1")
        assert await reader.behind(f"r_{n}", 0, "a") == ["1"]
    assert len(reader._runs) < 50
