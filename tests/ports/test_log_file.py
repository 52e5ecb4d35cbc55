"""The log in a file keeps the promises of the port, across crashes and against corruption."""

# ruff: noqa: ASYNC220, ASYNC240 — the files and the process are what is tested here

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from partsong.contracts.errors import Conflict, InvalidInput, Unavailable
from partsong.log.file import FileLog
from partsong.log.journal import HEADER
from partsong.log.port import Appended, Log
from partsong.testing.durable_log_suite import DurableLogSuite, Reopen
from partsong.testing.log_suite import read_all, take

WRITER = """
import asyncio, sys
from pathlib import Path
from partsong.log.file import FileLog
from partsong.log.journal import HEADER

async def main() -> None:
    log = await FileLog.open(Path(sys.argv[1]))

    async def write(writer: int) -> None:
        for n in range(10**9):
            done = await log.append(f"a.{writer}", b"x" * 500, id=f"{writer}.{n}")
            print(done.seq, f"{writer}.{n}", flush=True)

    await asyncio.gather(*map(write, range(8)))

asyncio.run(main())
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.log"


class TestFileLog(DurableLogSuite):
    @pytest.fixture
    async def opened(self, path: Path) -> AsyncIterator[list[FileLog]]:
        logs = [await FileLog.open(path)]
        yield logs
        await logs[-1].close()

    @pytest.fixture
    def log(self, opened: list[FileLog]) -> Log:
        return opened[0]

    @pytest.fixture
    def reopen(self, opened: list[FileLog], path: Path) -> Reopen:
        async def close_and_open() -> Log:
            await opened[-1].close()
            opened.append(await FileLog.open(path))
            return opened[-1]

        return close_and_open


async def filled(path: Path, count: int) -> list[bytes]:
    """A log of so many records, closed; its lines without the first."""
    async with await FileLog.open(path) as log:
        for n in range(count):
            await log.append("a.b", b'{"n":%d}' % n, id=f"{n}")
    return path.read_bytes().splitlines(keepends=True)[1:]


@pytest.mark.parametrize("kept", [0, 1, 40, -1])
async def test_a_torn_last_line_is_cut_off(path: Path, kept: int) -> None:
    lines = await filled(path, 3)
    path.write_bytes(HEADER + b"".join(lines[:2]) + lines[2][:kept])
    async with await FileLog.open(path) as log:
        assert [record.id for record in await read_all(log, ">")] == ["0", "1"]
        assert await log.append("a.b", b"again", id="2") == Appended(3)
    async with await FileLog.open(path) as log:
        assert [record.body for record in await read_all(log, ">")][2] == b"again"


@pytest.mark.parametrize("kept", [0, 1, len(HEADER) - 1])
async def test_a_torn_first_line_is_written_again(path: Path, kept: int) -> None:
    path.write_bytes(HEADER[:kept])
    async with await FileLog.open(path) as log:
        assert await log.append("a.b", b"", id="1") == Appended(1)
    assert path.read_bytes().startswith(HEADER)


@pytest.mark.parametrize("line", [1, 2, 3])
async def test_a_flipped_bit_is_an_error_that_names_the_line(path: Path, line: int) -> None:
    lines = await filled(path, 3)
    whole = bytearray(b"".join([HEADER, *lines]))
    at = sum(map(len, [HEADER, *lines[: line - 1]])) + 20
    whole[at] ^= 1
    path.write_bytes(whole)
    with pytest.raises(Unavailable) as corrupt:
        await FileLog.open(path)
    assert corrupt.value.problem.code == "log.corrupt"
    assert f"line {line + 1} is corrupt" in corrupt.value.problem.message
    assert path.read_bytes() == whole, "nothing may be repaired silently"


async def test_a_missing_line_is_an_error_that_names_both_sequences(path: Path) -> None:
    lines = await filled(path, 3)
    path.write_bytes(HEADER + lines[0] + lines[2])
    with pytest.raises(Unavailable, match="its sequence is 3, should be 2"):
        await FileLog.open(path)


@pytest.mark.parametrize(
    "content", [b"hello", b"a\nb\n", b'{"format":"partsong-log","version":2}\n']
)
async def test_a_file_that_is_no_log_is_not_touched(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(InvalidInput) as refused:
        await FileLog.open(path)
    assert refused.value.problem.code == "log.not_a_log"
    assert path.read_bytes() == content


async def test_a_log_is_open_once(path: Path) -> None:
    async with await FileLog.open(path):
        with pytest.raises(Conflict) as refused:
            await FileLog.open(path)
    assert refused.value.problem.code == "log.locked"
    async with await FileLog.open(path) as log:
        assert await log.head() == 0


async def test_a_closed_log_refuses_and_ends_its_tails(path: Path) -> None:
    log = await FileLog.open(path)
    await log.append("a", b"", id="1")
    waiting = asyncio.create_task(take(log.tail(">", after=1), 1))
    await asyncio.sleep(0)
    await log.close()
    for refused in (waiting, log.append("a", b"", id="2"), log.last("a")):
        with pytest.raises(Unavailable) as closed:
            await refused
        assert closed.value.problem.code == "log.closed"
    await log.close()


async def test_closing_stores_what_waits(path: Path) -> None:
    log = await FileLog.open(path)
    waiting = [asyncio.create_task(log.append("a", b"", id=f"{n}")) for n in range(20)]
    await asyncio.sleep(0)
    await log.close()
    await asyncio.gather(*waiting)
    async with await FileLog.open(path) as again:
        assert await again.head() == 20


async def test_every_line_is_json_with_a_readable_body(path: Path) -> None:
    await filled(path, 2)
    first, *records = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert first == {"format": "partsong-log", "version": 1}
    assert [record["json"] for record in records] == [{"n": 0}, {"n": 1}]


async def test_lines_of_before_that_hold_the_body_as_text_are_read(path: Path) -> None:
    text = b'{"seq":1,"subject":"partsong.log.1.r_1.fact","id":"a","body":"{\\"n\\":0}"'
    path.write_bytes(HEADER + text + b',"crc":%d}\n' % zlib.crc32(text))
    async with await FileLog.open(path) as log:
        assert [record.body async for record in log.read("partsong.log.>")] == [b'{"n":0}']


async def test_nothing_acknowledged_is_lost_when_the_writer_is_killed(path: Path) -> None:
    acknowledged: dict[str, int] = {}
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            for _, line in zip(range(60), writer.stdout, strict=False):
                seq, id = line.split()
                acknowledged.setdefault(id, int(seq))
            writer.send_signal(signal.SIGKILL)
            for line in writer.stdout:
                if line.endswith("\n"):
                    seq, id = line.split()
                    acknowledged.setdefault(id, int(seq))
    async with await FileLog.open(path) as log:
        stored = {record.id: record.seq for record in await read_all(log, ">")}
        assert len(stored) == await log.head()
    assert len(acknowledged) >= 60
    assert acknowledged.items() <= stored.items()


async def test_a_full_disk_fails_the_append_and_what_was_stored_can_be_read(path: Path) -> None:
    """`RLIMIT_FSIZE` is the disk: the write that passes it fails with EFBIG."""
    script = """
import asyncio, resource, signal, sys
from pathlib import Path
from partsong.contracts.errors import Unavailable
from partsong.log.file import FileLog
from partsong.log.journal import HEADER

async def main() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    log = await FileLog.open(Path(sys.argv[1]))
    stored = 0
    try:
        while True:
            stored = (await log.append("a", b"x" * 300, id=str(stored))).seq
    except Unavailable as error:
        print(stored, error.problem.code, len([r async for r in log.read(">")]))
    await log.close()

asyncio.run(main())
"""
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", script, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    stored, code, readable = done.stdout.split()
    assert (code, readable) == ("log.write_failed", stored)
    async with await FileLog.open(path) as log:
        assert await log.head() == int(stored) > 0
