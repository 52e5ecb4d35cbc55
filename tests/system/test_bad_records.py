"""One record that nobody can read, of whatever kind and wherever it stands, harms at most its run, which says why."""

from __future__ import annotations

import asyncio
import json
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from partsong.approval import database
from partsong.approval.app import ApprovalService
from partsong.approval.store import Store
from partsong.contracts.errors import PartsongError
from partsong.contracts.wire.subjects import partition_of
from partsong.runtime.serve import Running, open_context
from partsong.runtime.settings import Settings
from partsong.testing.nats import Bus
from tests.support.strange import HEADERS, PAYLOADS, TAILS, put
from tests.system.engines import replace_engine, until
from tests.system.platform import Platform, a_platform

GATE = {"name": "gate", "entry": "w", "nodes": {"w": {"type": "wait", "signal": "go"}}}
ASK = {
    "name": "ask",
    "entry": "ask",
    "nodes": {
        "ask": {"type": "approval", "title": "Pay?"},
        "then": {"type": "function", "function": "tests.system.nodes:path_a"},
    },
    "edges": [{"from": "ask", "to": "then", "on": "approved"}],
}
LOGS_OWN = ("~.~.genesis", "~.~.restored", "~.~.lost")
PLACES = ("engine", "fact", "command.q_bad", "call.ask:1", "call.nobodys:1", "rubbish.a.b")
"""Below a run's subject: every kind that there is, a call that is open, and none."""
BAD: dict[str, tuple[bytes, bytes | None]] = {
    **{f"a body: {name}": (body, None) for name, body in PAYLOADS.items() if name != "a newer one"},
    "another run's": (b'{"run":"r_other","events":[]}', None),
    "a body elsewhere that is not there": (b"{}", HEADERS["missing body"]),
    "a body elsewhere without a name": (b"{}", HEADERS["a body without a name"]),
    "a body elsewhere whose name is long": (b"{}", HEADERS["a body whose name is long"]),
    "no block of headers": (b"{}", HEADERS["no line"]),
    "an ended run, it says": (b"garbage", b"NATS/1.0\r\nPartsong-Status: completed\r\n\r\n"),
}


class Offices:
    """Approval services on one database, one after the other."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._settings, self._store = settings, Store(database.connect("", folder))
        self._running: Running | None = None

    async def replace(self, platform: Platform) -> None:
        """The one that is there goes, and another one comes."""
        await self.close()
        service = ApprovalService(self._store, "127.0.0.1", 0)
        self._running = await open_context(self._settings, service)
        platform.services["approval"] = self._running

    async def close(self) -> None:
        """None is there any more."""
        if self._running is not None:
            await self._running.stop()
        await self._store.close()


@pytest.fixture
def offices(bus: Bus, tmp_path: Path) -> Offices:
    settings = replace(Settings(), nats_url=bus.url, prefix=bus.subjects.prefix, data_dir=tmp_path)
    return Offices(settings, tmp_path)


@pytest.fixture
async def platform(bus: Bus, offices: Offices) -> AsyncIterator[Platform]:
    async with a_platform(bus) as running:
        await offices.replace(running)
        try:
            yield running
        finally:
            await offices.close()
            del running.services["approval"]


async def hurt(bus: Bus, run_id: str, place: str, body: bytes, headers: bytes | None) -> int:
    """Put a record into a run's log; its sequence."""
    subject = f"{bus.subjects.prefix}.log.{partition_of(run_id)}.{run_id}.{place}"
    await put(bus.url, subject.encode(), body, headers)
    log = bus.log()
    *_, bad = [record.seq async for record in log.read(bus.subjects.run(run_id))]
    await log.close()
    return bad


async def eventually(true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await true():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def refused(platform: Platform, run_id: str) -> str:
    """Why nothing can be asked of a run."""
    with pytest.raises(PartsongError) as caught:
        async with asyncio.timeout(60):
            await platform.client.cancel(run_id)
    return caught.value.problem.code


async def others_go_on(bus: Bus, platform: Platform, beside: list[str], name: str) -> None:
    """A run in each of the partitions that have a bad record, from its beginning to its end."""
    taken = {partition_of(run) for run in beside}
    fresh = {partition_of(f"{name}{n}"): f"{name}{n}" for n in range(2000)}
    for run_id in (fresh[partition] for partition in sorted(taken)):
        await platform.client.start(GATE, run_id=run_id)
        await platform.client.signal(run_id, "go")
        assert (await platform.client.result(run_id, timeout=60)).status == "completed"


async def the_inbox_shows(platform: Platform, run_id: str) -> None:
    """The approval service is ready, and has a question that was asked behind all that is bad."""
    await platform.client.start(ASK, run_id=run_id)
    office = platform.services["approval"]
    url = office.context.heart.url

    async def shown() -> bool:
        ready, _ = await asyncio.to_thread(got, f"{url}/readyz")
        status, page = await asyncio.to_thread(got, f"{url}/api/approvals?run_id={run_id}")
        items = json.loads(page)["items"] if status == 200 else []
        return ready == 200 and [item["status"] for item in items] == ["pending"]

    await eventually(shown)


def got(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


async def said(bus: Bus, platform: Platform, *words: str) -> tuple[int, str, str]:
    """The command line's exit code, what it prints, and what it says beside that."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "partsong.cli.main", *words, "-o", "json"),
        *("--nats", bus.url, "--prefix", bus.subjects.prefix),
        *("--data", str(platform.settings.data_dir)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(120):
        out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


@pytest.mark.parametrize("place", PLACES)
async def test_whatever_stands_there_the_run_is_set_aside_by_name_and_all_others_go_on(
    bus: Bus, platform: Platform, offices: Offices, place: str
) -> None:
    runs = {f"r_{n}": name for n, name in enumerate(BAD)}
    for run_id in runs:
        await platform.client.start(ASK, run_id=run_id)
    await asyncio.gather(*(until(platform, run_id, "waiting") for run_id in runs))
    bad = {run_id: await hurt(bus, run_id, place, *BAD[name]) for run_id, name in runs.items()}
    for again in ("live", "anew"):
        codes = {name: await refused(platform, run_id) for run_id, name in runs.items()}
        fine = {"envelope.malformed", "log.misplaced", "log.blob_missing", "subject.invalid"}
        assert set(codes.values()) <= {*fine, "log.history_changed", "event.malformed"}, codes
        await others_go_on(bus, platform, list(runs), again)
        await the_inbox_shows(platform, f"{again}_asks")
        await replace_engine(platform)
        await offices.replace(platform)
    if place == "engine":
        status = {run.run_id: run.status for run in await platform.client.runs()}
        says = {run_id for run_id, name in runs.items() if name == "an ended run, it says"}
        assert {status[run_id] for run_id in runs.keys() - says} == {"damaged"}
    for run_id, name in runs.items():
        await named_by_every_reader(platform, run_id, bad[run_id], name)


async def named_by_every_reader(platform: Platform, run_id: str, bad: int, name: str) -> None:
    client = platform.client
    replayed = await client.replay(run_id)
    assert not replayed.ok, name
    assert replayed.findings[0].where == f"seq {bad}", (name, replayed.findings)
    state, error = await client.readable_state(run_id)
    assert error is not None, name
    assert state.phase == "waiting"
    assert str(bad) in f"{error.problem.message} {error.problem.where}", (name, error)
    for ask in (client.state, client.history, client.fork):
        with pytest.raises(PartsongError):
            await ask(run_id)
    async with asyncio.timeout(60):
        with pytest.raises(PartsongError, match=str(bad)):
            await client.result(run_id)
        with pytest.raises(PartsongError, match=str(bad)):
            _ = [one async for one in client.events(run_id, follow=True)]
        with pytest.raises(PartsongError, match=str(bad)):
            _ = [chunk async for chunk in client.stream(run_id)]
    before = [c.seq for c in (await client.readable_history(run_id))[0]][-1]
    await client.fork(run_id, before, new_run_id=f"{run_id}_fork_of_{before}")
    await until(platform, f"{run_id}_fork_of_{before}", "waiting")


async def test_the_command_line_says_in_one_sentence_why_a_run_is_set_aside(
    bus: Bus, platform: Platform
) -> None:
    await platform.client.start(ASK, run_id="r_1")
    await until(platform, "r_1", "waiting")
    await hurt(bus, "r_1", "fact", b"\xff garbage", None)
    await refused(platform, "r_1")
    code, out, err = await said(bus, platform, "run", "show", "r_1")
    shown = json.loads(out)
    assert (code, shown["status"]) == (1, "damaged")
    assert shown["why"].startswith("set aside, and nothing is decided on it any more: ")
    assert "not JSON" in shown["why"]
    assert json.loads(err)["code"] == "envelope.malformed"
    for words in (("history",), ("events", "--follow"), ("watch",), ("state",), ("replay",)):
        code, out, err = await said(bus, platform, "run", words[0], "r_1", *words[1:])
        assert code == 1, (words, out, err)
        assert "not JSON" in out + err, (words, out, err)
    code, out, err = await said(bus, platform, "run", "list")
    assert (code, len(json.loads(out))) == (0, 1)
    code, out, err = await said(bus, platform, "log", "verify")
    (bad,) = json.loads(out)["unreadable"]
    assert (code, bad["code"]) == (0, "log.unreadable"), "nothing is lost"
    assert bad["where"].startswith("r_1 at ")
    assert "not JSON" in bad["message"]


@pytest.mark.parametrize("tail", ["~.owner", "~.seal", *LOGS_OWN, *TAILS])
async def test_a_bad_record_of_no_run_harms_nobody(
    bus: Bus, platform: Platform, offices: Offices, tail: str
) -> None:
    """Of a partition's own records only the place counts for the next one."""
    root = f"{bus.subjects.prefix}.log.".encode()
    for headers in (None, HEADERS["missing body"], HEADERS["a body whose name is long"]):
        if tail in {*TAILS, *LOGS_OWN}:
            subject = root + TAILS.get(tail, tail.encode())
            await put(bus.url, subject, b"garbage", headers)
            continue
        for partition in range(32):
            await put(bus.url, root + f"{partition}.{tail}".encode(), b"garbage", headers)
    beside = [f"r_{n}" for n in range(3)]
    await others_go_on(bus, platform, beside, "live")
    await the_inbox_shows(platform, "live_asks")
    await replace_engine(platform)
    await offices.replace(platform)
    await others_go_on(bus, platform, beside, "anew")
    await the_inbox_shows(platform, "anew_asks")
    assert (await platform.client.runs())[0].status
