"""`partsong bus status` against a real server: what it shows of queues, of who is blocked, and of a damaged bus."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from partsong.cli.main import main
from partsong.contracts.events import OwnerChanged
from partsong.contracts.events.envelope import encode_report
from partsong.contracts.wire.marks import Mark
from partsong.contracts.wire.subjects import LANES, OURS
from partsong.log.marks import FileMarks
from partsong.runtime import clock
from partsong.testing.nats import Bus

Terminal = Callable[..., tuple[int, str, str]]


@pytest.fixture
def partsong(bus: Bus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("PARTSONG_NATS_URL", bus.url)
    monkeypatch.setenv("PARTSONG_PREFIX", bus.subjects.prefix)
    monkeypatch.setenv("PARTSONG_DATA", str(tmp_path))

    def run(*words: str) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        monkeypatch.setattr(sys, "argv", ["partsong", *words])
        with redirect_stdout(out), redirect_stderr(err):
            try:
                code = main()
            except SystemExit as end:
                code = int(end.code or 0)
        return code, out.getvalue(), err.getvalue()

    return run


@contextmanager
def beating(bus: Bus, *beats: dict[str, object]) -> Iterator[None]:
    """Heartbeats of workers, ten times a second."""

    async def beat() -> None:
        while True:
            for one in beats:
                subject = bus.subjects.alive(str(one["service"]), str(one["name"]))
                await bus.nc.publish(subject, json.dumps(one).encode())
            await asyncio.sleep(0.1)

    task = asyncio.get_running_loop().create_task(beat())
    try:
        yield
    finally:
        task.cancel()


def worker(name: str, **more: object) -> dict[str, object]:
    base = {"service": "tool-runner", "name": name, "incarnation": "1"}
    return {**base, "started": clock.now_text(), **more}


async def test_lanes_in_which_nothing_waits_are_one_row(bus: Bus, partsong: Terminal) -> None:
    code, shown, _ = await asyncio.to_thread(partsong, "bus", "status")
    assert code == 0
    assert f"{LANES} empty lanes" in shown
    assert "starts-" not in shown
    _, data, _ = await asyncio.to_thread(partsong, "bus", "status", "-o", "json")
    lanes = [q for q in json.loads(data)["streams"] if str(q["consumer"]).startswith("starts-")]
    assert len(lanes) == LANES, "data is whole"
    await bus.nc.jetstream().publish(f"{bus.subjects.prefix}.request.run.ann.r_1", b"{}")
    _, shown, said = await asyncio.to_thread(partsong, "bus", "status")
    assert f"{LANES - 1} empty lanes" in shown
    assert shown.count("starts-") == 1
    assert "1 message waits for graph-engine, and none is alive" in said


async def test_a_blocked_function_is_named_with_its_run_and_call(
    bus: Bus, partsong: Terminal
) -> None:
    since = clock.now_text()
    loop = {"since": since, "functions": ["m:f"], "run_id": "r_1", "call_id": "a:1"}
    whole = {"since": since, "functions": ["m:g", "m:h"], "process": True}
    held = [
        {"run_id": "r_2", "call_id": "b:1", "function": "m:g"},
        {"run_id": "r_3", "call_id": "c:1", "function": "m:h"},
    ]
    with beating(bus, worker("one", blocked=loop), worker("two", blocked=whole, held=held)):
        _, _, said = await asyncio.to_thread(partsong, "bus", "status")
    assert f"one~1: m:f (run r_1, call a:1) has blocked its event loop since {since}" in said
    assert (
        "two~1: m:g (run r_2, call b:1) or m:h (run r_3, call c:1) has blocked the whole process"
        in said
    )


async def test_a_worker_that_starts_is_alive_and_not_ready(bus: Bus, partsong: Terminal) -> None:
    with beating(bus, worker("one", ready=False), worker("two", ready=True), worker("old")):
        code, _, said = await asyncio.to_thread(partsong, "worker", "health", "--name", "one")
        assert (code, said) == (1, "one~1 is alive, and not ready: it starts\n")
        code, _, said = await asyncio.to_thread(
            partsong, "worker", "health", "--name", "one", "--alive"
        )
        assert (code, said) == (0, "one~1 is alive\n")
        for name in ("two", "old"):
            code, _, said = await asyncio.to_thread(partsong, "worker", "health", "--name", name)
            assert (code, said) == (0, f"{name}~1 is ready\n")
    code, _, said = await asyncio.to_thread(partsong, "worker", "health", "--name", "gone")
    assert (code, said) == (1, "no heartbeat of gone\n")


async def owns(bus: Bus, engine: str, *partitions: int) -> None:
    """An engine has taken partitions, as it announces itself in their logs."""
    for partition in partitions:
        id_ = f"{OURS}.owner.{partition}.1.{engine}"
        event = OwnerChanged(id=id_, time="2026-01-01T00:00:00.000Z", owner=engine)
        await bus.log().append(bus.subjects.owner(partition), encode_report(OURS, event), id=id_)


async def test_an_engine_that_died_has_a_row_and_its_partitions_are_named(
    bus: Bus, partsong: Terminal
) -> None:
    await owns(bus, "first~1", 0, 1)
    await owns(bus, "second~1", 2, 3, 7)
    js = bus.nc.jetstream()
    kept = await js.publish(f"$KV.{bus.names.partitions}.3", b"a checkpoint")
    when = (await js.get_msg(kept.stream, kept.seq)).time
    assert when is not None
    since = clock.to_text(when)
    with beating(bus, worker("first", service="graph-engine")):
        _, shown, said = await asyncio.to_thread(partsong, "bus", "status")
        assert f"second~1: not heard; the last sign of it is of {since}" in said
        assert "partitions 2 to 3, 7 wait for an owner, and the engines that are alive take" in said
        (row,) = [line for line in shown.splitlines() if line.startswith("second~1")]
        assert row.split()[1:] == ["graph-engine", since]
        _, data, _ = await asyncio.to_thread(partsong, "bus", "status", "-o", "json")
    silent = {"worker": "second~1", "partitions": [2, 3, 7], "last_sign": since}
    assert json.loads(data)["silent"] == [silent]
    _, _, said = await asyncio.to_thread(partsong, "bus", "status")
    assert "first~1: not heard; the last sign of it is of 2026-01-01T00:00:00.000Z" in said
    assert "nobody owns partitions 0 to 3, 7: no graph-engine is alive; start one" in said


async def test_engines_that_are_alive_have_nothing_to_be_said_of(
    bus: Bus, partsong: Terminal
) -> None:
    await owns(bus, "first~1", *range(4))
    with beating(bus, worker("first", service="graph-engine")):
        _, _, said = await asyncio.to_thread(partsong, "bus", "status")
    assert said == ""


async def test_damage_is_said_also_where_streams_are_missing(
    bus: Bus, partsong: Terminal, tmp_path: Path
) -> None:
    mark = Mark(log_id="a" * 64, epoch=1, seq=50, digest="d", at=clock.now_text())
    await FileMarks(tmp_path / "marks.json", bus.subjects.prefix).save(mark)
    await bus.nc.jetstream().delete_stream(bus.names.log)
    await bus.nc.jetstream().delete_stream(bus.names.dead)
    code, shown, said = await asyncio.to_thread(partsong, "bus", "status")
    assert code == 1
    assert "log damaged" in said
    assert "bus.incomplete" in said
    assert f"{bus.names.dead} is not there" in said
    assert "makes at its start what is missing" in said
    assert bus.names.requests in shown, "what is there is shown"
