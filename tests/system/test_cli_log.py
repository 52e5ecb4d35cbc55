"""`partsong log` by the commands that an operator types: after each of them, services, readers and `verify` agree."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import sys
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from partsong.agents import Agent
from partsong.client import Client
from partsong.contracts.errors import PartsongError, Unavailable
from partsong.contracts.wire.damage import Sound
from partsong.contracts.wire.subjects import Subjects
from partsong.runtime.connect import connect, disconnect
from partsong.runtime.nats.server import EmbeddedNats, start_embedded
from partsong.runtime.settings import Settings
from partsong.runtime.streams import Names, log_config, provision
from partsong.testing.nats import Bus, a_bus
from partsong.workflow import WorkflowGraph
from tests.support.damage import a_monitor, damaged, flip, until
from tests.system.platform import a_platform

PATIENCE = 60.0
ECHO = WorkflowGraph("echo").add_agent("say", Agent(model="scripted:echo"), prompt="{{text}}")


TWICE = (
    WorkflowGraph("twice")
    .add_agent("say", Agent(model="scripted:echo"), prompt="{{text}}")
    .add_agent("again", Agent(model="scripted:echo"), prompt="{{text}}")
    .add_edge("say", "again")
)


@pytest.fixture
async def own(nats_server: EmbeddedNats, subjects: Subjects) -> AsyncIterator[Bus]:
    async with a_bus(nats_server.url, subjects) as bus:
        yield bus


async def partsong(
    bus: Bus, data: Path, *words: str, group: str = "log"
) -> tuple[int, dict[str, object]]:
    """The command line's exit code, and what it prints."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "partsong.cli.main", group, *words),
        *("--nats", bus.url, "--prefix", bus.subjects.prefix, "--data", str(data), "-o", "json"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, error = await process.communicate()
    assert process.returncode is not None
    try:
        said: dict[str, object] = json.loads(out or error)
    except ValueError:
        said = {"said": error.decode()}
    return process.returncode, said


async def restored(bus: Bus, data: Path, *words: str) -> dict[str, object]:
    code, said = await partsong(bus, data, "restore", *words)
    assert code == 0, said
    return said


async def accepted(bus: Bus, data: Path) -> dict[str, object]:
    """What `verify` says of a log that services, too, take as it is."""
    async with a_monitor(bus, data) as monitor:
        assert await monitor.check() == Sound()
        assert monitor.problem is None
    code, said = await partsong(bus, data, "verify")
    assert (code, said["log"]) == (0, "sound"), said
    return said


async def filled(bus: Bus, data: Path) -> int:
    """Five facts of a run and a last one of another, all marked; the log's head."""
    async with a_monitor(bus, data) as monitor:
        log = bus.log()
        for n in range(5):
            await log.append(bus.subjects.fact("r_other"), b"other %d;" % n, id=f"other{n}")
        head = (await log.append(bus.subjects.fact("r_last"), b"last;", id="last")).seq
        await monitor.check()

        async def marked() -> bool:
            await monitor.look()
            return any(mark.seq == head for mark in monitor.marks)

        await until(marked)
    return head


async def gone(bus: Bus) -> None:
    """Only the log's stream is deleted: all that lies beside it lives on."""
    await bus.nc.request(f"$JS.API.STREAM.DELETE.{bus.names.log}", timeout=5)


async def test_what_is_left_is_accepted_though_the_newest_record_cannot_be_read(
    own: Bus, nats_server: EmbeddedNats, tmp_path: Path
) -> None:
    head = await filled(own, tmp_path)
    async with damaged(nats_server, own.names.log, b"last;"):
        assert (await partsong(own, tmp_path, "verify"))[0] == 78
        said = await restored(own, tmp_path, "--as-is")
        assert (said["missing"], said["runs"], said["lost"]) == ([[head, head]], ["r_last"], None)
        after = await accepted(own, tmp_path)
        assert (after["accepted"], after["accepted_runs"]) == ([[head, head]], ["r_last"])
        assert "r_last" in str(after["says"])


async def test_what_is_left_is_accepted_though_a_hole_lies_behind_all_marks(
    own: Bus, tmp_path: Path
) -> None:
    head = await filled(own, tmp_path)
    for n in range(3):
        await own.log().append(own.subjects.fact("r_new"), b"new %d;" % n, id=f"new{n}")
    for most in (1, -1):  # somebody sets a limit by hand, and sets it back when it has taken some
        config = {**log_config(own.subjects), "max_msgs_per_subject": most}
        await own.nc.request(
            f"$JS.API.STREAM.UPDATE.{own.names.log}",
            json.dumps({"name": own.names.log, **config}).encode(),
            timeout=5,
        )
    holes = [[2, 5], [head + 1, head + 2]]
    code, said = await partsong(own, tmp_path, "verify")
    assert (code, said["holes"]) == (78, holes)
    assert (await restored(own, tmp_path, "--as-is"))["missing"] == holes
    await accepted(own, tmp_path)


async def test_a_record_of_somebody_elses_is_no_damage(own: Bus, tmp_path: Path) -> None:
    await filled(own, tmp_path)
    stem = f"{own.subjects.prefix}.log"
    for odd in (f"{stem}.3.odd", f"{stem}.~.x", f"{stem}.99.r_1.fact", f"{stem}.0.r_other.engine"):
        await own.nc.jetstream().publish(odd, b"odd")
    assert (await accepted(own, tmp_path))["foreign"] == 4


async def test_what_verify_finds_is_named_to_the_record_and_all_others_say_the_same(
    own: Bus, nats_server: EmbeddedNats, tmp_path: Path
) -> None:
    async with a_platform(own, Settings(data_dir=tmp_path)) as platform:
        for n in range(3):
            done = await platform.client.start(ECHO, {"text": f"hello{n}"}, run_id=f"r_{n}")
            await platform.client.result(done, timeout=PATIENCE)
    async with damaged(nats_server, own.names.log, b'"text":"hello1"'):
        code, said = await partsong(own, tmp_path, "verify")
        holes = said["holes"]
        assert isinstance(holes, list)
        assert (code, len(holes)) == (78, 1)
        hole: list[int] = holes[0]
        assert said["damaged_runs"] == ["r_1"]
        for finding in said["findings"]:  # type: ignore[attr-defined]
            assert "lost: records" not in finding["message"]
            if finding["code"] == "log.seal_broken":
                assert finding["message"].endswith(f"not readable: {hole[0]}")
        async with Client(own.url, prefix=own.subjects.prefix) as client:
            runs = {run.run_id: run.status for run in await client.runs()}
            assert runs == {"r_0": "completed", "r_1": "damaged", "r_2": "completed"}
            with pytest.raises(Unavailable, match=r"log\.unreadable"):
                await client.state("r_1")
        async with a_monitor(own, tmp_path) as monitor:
            assert monitor.problem is None, "one run is hit, the others go on"
            assert monitor.note is not None
            assert f"not readable: {hole[0]}; runs: r_1" in monitor.note
        await restored(own, tmp_path, "--as-is")
    for n in range(2):  # the second engine scrubs what the first one has sealed
        async with a_platform(own, Settings(data_dir=tmp_path)) as platform:
            run_id = await platform.client.start(ECHO, {"text": "on"}, run_id=f"r_on{n}")
            assert (await platform.client.result(run_id, timeout=PATIENCE)).status == "completed"
            with pytest.raises(PartsongError, match=r"log\.unreadable"):
                await platform.client.cancel("r_1")
    assert (await accepted(own, tmp_path))["accepted_runs"] == ["r_1"]


async def test_what_a_backup_of_a_damaged_log_lacks_is_said_and_its_run_stays_damaged(
    own: Bus, nats_server: EmbeddedNats, tmp_path: Path
) -> None:
    data, copy = tmp_path / "data", str(tmp_path / "copy")
    async with a_platform(own, Settings(data_dir=data)) as platform:
        for n in range(2):
            run_id = await platform.client.start(ECHO, {"text": f"hello{n}"}, run_id=f"r_{n}")
            await platform.client.result(run_id, timeout=PATIENCE)
        last = await own.log().last(own.subjects.engine("r_1"))
    assert last is not None
    newest, needle = last.seq, last.id.encode()
    async with damaged(nats_server, own.names.log, needle):
        code, said = await partsong(own, data, "backup", copy)
        assert (code, said["missing"], said["runs"]) == (78, [[newest, newest]], ["r_1"])
        done = await restored(own, data, "--from", copy, "--replace")
        assert (done["missing"], done["runs"]) == ([[newest, newest]], ["r_1"])
        assert list(data.glob("replaced-*/log.jsonl")), "what was there was copied first"
    assert (await accepted(own, data))["accepted_runs"] == ["r_1"]
    async with a_platform(own, Settings(data_dir=data)) as platform:
        client = platform.client
        runs = {run.run_id: run.status for run in await client.runs()}
        assert runs == {"r_0": "completed", "r_1": "damaged"}
        for ask in (client.state, client.replay, client.result, client.cancel, client.fork):
            with pytest.raises(PartsongError, match=r"log\.unreadable.*r_1.*restored"):
                await ask("r_1")
        for word in ("show",):
            code, said = await partsong(own, data, word, "r_1", group="run")
            assert (code, said.get("code")) == (1, "log.unreadable"), (word, said)
            assert "restored the log" in str(said["message"])
        run_id = await client.start(ECHO, {"text": "on"}, run_id="r_on")
        assert (await client.result(run_id, timeout=PATIENCE)).status == "completed"


async def test_runs_go_on_after_a_restore_to_before_what_was_kept_beside_the_log(
    own: Bus, tmp_path: Path
) -> None:
    data, copy = tmp_path / "data", str(tmp_path / "copy")
    async with a_platform(own, Settings(data_dir=data)) as platform:
        client = platform.client
        await client.result(await client.start(ECHO, {"text": "1"}, run_id="r_1"), timeout=PATIENCE)
        assert (await partsong(own, data, "backup", copy))[0] == 0
        for n in range(2, 12):
            run_id = await client.start(ECHO, {"text": str(n)}, run_id=f"r_{n}")
            await client.result(run_id, timeout=PATIENCE)
    await gone(own)
    await restored(own, data, "--from", copy)
    async with a_platform(own, Settings(data_dir=data)) as platform:
        client = platform.client
        assert [run.run_id for run in await client.runs()] == ["r_1"]
        for run_id in [f"r_{n}" for n in range(2, 12)]:
            await client.start(ECHO, {"text": "again"}, run_id=run_id)
            assert (await client.result(run_id, timeout=PATIENCE)).status == "completed"
    await accepted(own, data)


async def limited(bus: Bus, **limit: int) -> None:
    """Somebody sets a limit by hand, and sets it back when it has taken some."""
    await configured(bus, **limit)
    await configured(bus)


async def configured(bus: Bus, **otherwise: int) -> None:
    """The log's stream, as the table says it but for this."""
    config = log_config(bus.subjects) | otherwise
    await bus.nc.request(
        f"$JS.API.STREAM.UPDATE.{bus.names.log}",
        json.dumps({"name": bus.names.log, **config}).encode(),
        timeout=5,
    )


async def test_readers_say_what_the_log_has_lost_before_they_say_that_there_is_nothing(
    own: Bus, tmp_path: Path
) -> None:
    head = await filled(own, tmp_path)
    for hurt, lost in ((limited(own, max_msgs=3), f"1 to {head - 3}"), (gone(own), f"1 to {head}")):
        await hurt
        for words in (("list",), ("show", "r_1")):
            code, said = await asyncio.wait_for(
                partsong(own, tmp_path, *words, group="run"), timeout=PATIENCE
            )
            assert (code, said.get("code")) == (78, "log.damaged"), (words, said)
            assert f"lost: records {lost}" in str(said["message"])


async def test_whatever_is_asked_of_a_damaged_log_is_refused_with_what_it_has_lost(
    own: Bus, tmp_path: Path
) -> None:
    """Also of a run that is unknown now: it may be among what is lost."""
    async with a_platform(own, Settings(data_dir=tmp_path)) as platform:
        client = platform.client
        await client.result(await client.start(ECHO, {"text": "x"}), timeout=PATIENCE)
        await limited(own, max_msgs=1)

        async def code(ask: Awaitable[object]) -> str:
            with pytest.raises(PartsongError) as refused:
                await ask
            return refused.value.problem.code

        async with asyncio.timeout(PATIENCE):
            while await code(client.cancel("r_nobody")) == "run.unknown":
                pass
        asked = client.cancel("r_nobody"), client.signal("r_nobody", "go"), client.fork("r_nobody")
        assert {await code(ask) for ask in asked} == {"log.damaged"}


@asynccontextmanager
async def stopped(data: Path, subjects: Subjects) -> AsyncIterator[Bus]:
    """A bus on the embedded server of a data directory, which is stopped behind it."""
    async with start_embedded(data / "nats", fast=True) as server:
        nc = await connect(server.url, name="test")
        try:
            await provision(nc, subjects)
            yield Bus(nc, server.url, subjects, Names.of(subjects))
        finally:
            await disconnect(nc)


async def offline(
    bus: Bus, data: Path, command: str, *, code: int = 0, form: str = "json"
) -> tuple[str, str]:
    """What a command line prints while no server runs, word for word as it is typed, and says beside."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "partsong.cli.main", *shlex.split(command)[1:], "-o", form),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PARTSONG_PREFIX": bus.subjects.prefix},
        cwd=data,
    )
    out, error = await process.communicate()
    assert process.returncode == code, (command, out, error)
    return out.decode(), error.decode()


async def test_what_is_to_be_done_about_single_runs_is_a_command_that_works_where_no_server_runs(
    subjects: Subjects, tmp_path: Path
) -> None:
    async with stopped(tmp_path, subjects) as own:
        await filled(own, tmp_path)
    flip(EmbeddedNats(tmp_path / "nats"), own.names.log, b"other 3;")
    place = f"--data {shlex.quote(str(tmp_path))} --offline"
    shown, _ = await offline(own, tmp_path, f"partsong log verify {place}", code=78, form="table")
    assert "all others go on" in shown
    assert "log verify" not in shown, "it was just done"
    assert f"`partsong log restore {place} --from FOLDER --replace`" in shown
    (accept,) = re.findall(r"`(partsong log restore [^`]*--as-is)`", shown)
    assert accept == f"partsong log restore {place} --as-is"
    await offline(own, tmp_path, accept)
    told, _ = await offline(own, tmp_path, f"partsong log verify {place}")
    assert json.loads(told)["accepted_runs"] == ["r_other"]


async def test_records_that_were_of_no_run_are_said_to_hit_none_with_what_to_do(
    own: Bus, nats_server: EmbeddedNats, tmp_path: Path
) -> None:
    await filled(own, tmp_path)
    for id in ("nobody's", "later"):
        await own.log().append(own.subjects.owner(3), b"%s;" % id.encode(), id=id)
    async with damaged(nats_server, own.names.log, b"nobody's;"):
        code, said = await partsong(own, tmp_path, "verify")
        assert (code, said["damaged_runs"]) == (78, [])
        assert "no run is hit, and all go on" in str(said["says"])
        assert "--as-is`" in str(said["says"])
        async with a_monitor(own, tmp_path) as monitor:
            assert monitor.problem is None
        await restored(own, tmp_path, "--as-is")
        await accepted(own, tmp_path)


async def test_what_fails_offline_says_what_to_do_offline(
    subjects: Subjects, tmp_path: Path
) -> None:
    async with stopped(tmp_path, subjects) as own:
        await filled(own, tmp_path)
        await limited(own, max_msgs=3)
    place = f"--data {shlex.quote(str(tmp_path))} --offline"
    shown, _ = await offline(own, tmp_path, f"partsong log verify {place}", code=78)
    assert f"`partsong log adopt --new {place}`" in json.loads(shown)["says"]
    _, told = await offline(own, tmp_path, f"partsong log restore {place} --as-is", code=3)
    (adopt,) = re.findall(r"`(partsong log adopt [^`]*)`", json.loads(told)["fix"])
    assert adopt == f"partsong log adopt --new {place}"
    await offline(own, tmp_path, adopt)
    await offline(own, tmp_path, f"partsong log verify {place}")


async def listed(
    bus: Bus, data: Path, *words: str, code: int = 0
) -> tuple[list[dict[str, object]], str]:
    """What `run list`, or another command of `run`, prints as data, and what it says beside."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "partsong.cli.main", "run", *(words or ("list",)), "-o", "json"),
        *("--nats", bus.url, "--prefix", bus.subjects.prefix, "--data", str(data)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, error = await process.communicate()
    assert process.returncode == code, (out, error)
    return json.loads(out), error.decode()


async def test_a_list_of_runs_says_that_the_log_is_damaged_though_it_still_has_some(
    own: Bus, nats_server: EmbeddedNats, tmp_path: Path
) -> None:
    await filled(own, tmp_path)
    for run in ("r_1", "r_2"):
        headers = {"Partsong-Status": "completed", "Partsong-Graph": "echo"}
        await own.log().append(own.subjects.engine(run), run.encode(), id=run, headers=headers)
    assert [len(found) for found in await listed(own, tmp_path)] == [2, 0]
    async with damaged(nats_server, own.names.log, b"other 3;"):
        assert (await partsong(own, tmp_path, "verify"))[0] == 78
        runs, said = await listed(own, tmp_path)
        assert [run["run_id"] for run in runs] == ["r_2", "r_1"]
        assert said.startswith("log damaged: ")
        assert said.count("\n") == 1
        assert f"--data {shlex.quote(str(tmp_path))} --as-is`" in said
        await restored(own, tmp_path, "--as-is")
        assert (await listed(own, tmp_path))[1] == ""
    await limited(own, max_msgs=3)
    runs, said = await listed(own, tmp_path)
    assert [run["run_id"] for run in runs] == ["r_2", "r_1"]
    assert "the log begins at" in said
    assert "partsong log adopt --new" in said


@pytest.mark.parametrize("lost", [1, -1])
async def test_the_history_of_a_damaged_run_is_listed_up_to_where_it_ends(
    own: Bus, nats_server: EmbeddedNats, tmp_path: Path, lost: int
) -> None:
    async with a_platform(own, Settings(data_dir=tmp_path)) as platform:
        run_id = await platform.client.start(TWICE, {"text": "hello"}, run_id="r_1")
        await platform.client.result(run_id, timeout=PATIENCE)
        whole = await platform.client.history(run_id)
        commits = [record async for record in own.log().read(own.subjects.engine(run_id))]
    seqs = [checkpoint.seq for checkpoint in whole]
    hole = seqs[lost]
    (needle,) = [record.id.encode() for record in commits if record.seq == hole]
    readable = seqs[: seqs.index(hole)]
    async with damaged(nats_server, own.names.log, needle):
        rows, said = await listed(own, tmp_path, "history", run_id, code=1)
        assert [row["seq"] for row in rows] == readable
        problem = json.loads(said)
        assert problem["code"] == "log.unreadable"
        assert f"can be read up to {readable[-1]}" in problem["message"]
        async with Client(own.url, prefix=own.subjects.prefix, data=tmp_path) as client:
            with pytest.raises(Unavailable, match="can be read up to"):
                await client.history(run_id)
        await restored(own, tmp_path, "--as-is")
        rows, said = await listed(own, tmp_path, "history", run_id, code=1)
        assert [row["seq"] for row in rows] == readable
        assert "restored the log" in json.loads(said)["message"]


@pytest.mark.parametrize("lost", [0, 1, -1])
async def test_the_history_of_a_run_ends_where_a_restore_did_not_bring_it_back(
    own: Bus, nats_server: EmbeddedNats, tmp_path: Path, lost: int
) -> None:
    data, copy = tmp_path / "data", str(tmp_path / "copy")
    async with a_platform(own, Settings(data_dir=data)) as platform:
        run_id = await platform.client.start(TWICE, {"text": "hello"}, run_id="r_1")
        await platform.client.result(run_id, timeout=PATIENCE)
        seqs = [checkpoint.seq for checkpoint in await platform.client.history(run_id)]
        commits = [record async for record in own.log().read(own.subjects.engine(run_id))]
    (needle,) = [record.id.encode() for record in commits if record.seq == seqs[lost]]
    readable = seqs[:lost]
    async with damaged(nats_server, own.names.log, needle):
        assert (await partsong(own, data, "backup", copy))[0] == 78
        await restored(own, data, "--from", copy, "--replace")
        code, problem, rows = 1, dict[str, object](), list[dict[str, object]]()
        if readable:
            rows, said = await listed(own, data, "history", run_id, code=1)
            problem = json.loads(said)
            assert f"can be read up to {readable[-1]}" in str(problem["message"])
        else:
            code, problem = await partsong(own, data, "history", run_id, group="run")
        assert [row["seq"] for row in rows] == readable
        assert (code, problem["code"]) == (1, "log.unreadable")
        assert "restored the log" in str(problem["message"])
        async with Client(own.url, prefix=own.subjects.prefix, data=data) as client:
            for seq in readable:
                assert (await client.state(run_id, at=seq)).values["text"] == "hello"
            for read in (client.state(run_id, at=seqs[-1]), client.compare(run_id, run_id)):
                with pytest.raises(Unavailable, match=r"log\.unreadable.*restored the log"):
                    await read


def put_aside(data: Path) -> list[Path]:
    return list(data.glob("replaced-*"))


def kept_in(data: Path) -> bytes:
    """What was copied before a stream was deleted."""
    (kept,) = data.glob("replaced-*/log.jsonl")
    return kept.read_bytes()


async def test_a_log_without_its_beginning_gives_way_to_a_new_one_and_what_is_left_is_kept(
    own: Bus, tmp_path: Path
) -> None:
    head = await filled(own, tmp_path)
    await limited(own, max_msgs=3)
    code, said = await partsong(own, tmp_path, "restore", "--as-is")
    assert (code, said["code"]) == (3, "log.missing")
    assert f"begins at {head - 2}" in str(said["message"])
    assert "partsong log adopt --new" in str(said["fix"])
    code, said = await partsong(own, tmp_path, "adopt")
    assert (code, said["code"]) == (3, "log.missing")
    assert "partsong log adopt --new" in str(said["fix"])
    code, said = await partsong(own, tmp_path, "adopt", "--new")
    assert code == 0, said
    assert b"last;" in kept_in(tmp_path)
    await accepted(own, tmp_path)


async def test_without_a_stream_nothing_can_be_accepted_and_a_new_one_can_begin(
    own: Bus, tmp_path: Path
) -> None:
    await filled(own, tmp_path)
    await gone(own)
    code, said = await partsong(own, tmp_path, "restore", "--as-is")
    assert (code, said["code"]) == (3, "log.missing")
    assert "no stream" in str(said["message"])
    assert "partsong log adopt --new" in str(said["fix"])
    code, said = await partsong(own, tmp_path, "adopt", "--new")
    assert code == 0, said
    await accepted(own, tmp_path)


async def test_what_is_not_known_of_a_log_is_left_out(own: Bus, tmp_path: Path) -> None:
    await filled(own, tmp_path)
    known = {"log_id", "epoch", "marked"}
    code, said = await partsong(own, tmp_path, "verify")
    assert (code, known & {*said}) == (0, known)
    for hurt in (limited(own, max_msgs=3), gone(own)):
        await hurt
        code, said = await partsong(own, tmp_path, "verify")
        assert (code, known & {*said}) == (78, set()), said
        assert "was acknowledged" in str(said["says"]) or "begins at" in str(said["says"])


async def test_a_log_is_not_replaced_by_another_nor_while_services_run(
    own: Bus, bus: Bus, tmp_path: Path
) -> None:
    await filled(bus, tmp_path / "theirs")
    await filled(own, tmp_path / "ours")
    copies = {name: str(tmp_path / name) for name in ("ours~", "theirs~")}
    assert (await partsong(own, tmp_path / "ours", "backup", copies["ours~"]))[0] == 0
    assert (await partsong(bus, tmp_path / "theirs", "backup", copies["theirs~"]))[0] == 0
    words = ("restore", "--replace", "--from")
    code, said = await partsong(own, tmp_path / "ours", *words, copies["theirs~"])
    assert (code, said["code"]) == (1, "backup.another_log")
    async with a_platform(own, Settings(data_dir=tmp_path / "ours")):
        for how in (words, ("restore", "--from")):
            code, said = await partsong(own, tmp_path / "ours", *how, copies["ours~"])
            assert (code, said["code"]) == (1, "services.running")
        code, said = await partsong(own, tmp_path / "ours", "adopt", "--new")
        assert (code, said["code"]) == (1, "services.running")
    assert await own.log().head() > 0


async def test_a_backup_that_lacks_a_record_takes_no_logs_place_before_somebody_has_accepted_that(
    own: Bus, tmp_path: Path
) -> None:
    head = await filled(own, tmp_path)
    file = tmp_path / "copy" / "log.jsonl"
    assert (await partsong(own, tmp_path, "backup", str(file.parent)))[0] == 0
    lines = file.read_bytes().splitlines(keepends=True)
    words = ("restore", "--from", str(file.parent), "--replace")
    file.write_bytes(b"".join([*lines[:3], lines[4], lines[3], *lines[5:]]))
    code, said = await partsong(own, tmp_path, *words)
    assert (code, said["code"]) == (2, "backup.malformed"), said
    file.write_bytes(b"".join(lines[:3] + lines[4:]))
    code, said = await partsong(own, tmp_path, *words)
    assert (code, said["code"]) == (1, "backup.damaged"), said
    assert "record 3 is missing" in str(said["message"])
    assert await own.log().head() == head
    assert not put_aside(tmp_path), "nothing was touched"
    done = await restored(own, tmp_path, *words[1:], "--accept-damage")
    assert done["missing"] == [[3, 3]]
    await accepted(own, tmp_path)


async def test_a_restore_that_was_interrupted_is_made_again(own: Bus, tmp_path: Path) -> None:
    """Its stream is configured then as it is only while it is filled, and what it kept is copied once more."""
    await filled(own, tmp_path)
    copy = str(tmp_path / "copy")
    assert (await partsong(own, tmp_path, "backup", copy))[0] == 0
    await configured(own, duplicate_window=100_000_000)
    code, said = await partsong(own, tmp_path, "restore", "--as-is")
    assert (code, said["code"]) == (1, "streams.mismatch"), "what is kept must be as it should be"
    await restored(own, tmp_path, "--from", copy, "--replace")
    await accepted(own, tmp_path)


async def test_where_no_log_is_none_is_called_sound(own: Bus, tmp_path: Path) -> None:
    """With a wrong prefix or server, a check that is made every night would find nothing wrong for ever."""
    code, said = await partsong(own, tmp_path, "verify")
    assert (code, said["code"]) == (3, "log.missing"), "there is a stream, and nothing in it"
    await gone(own)
    code, said = await partsong(own, tmp_path, "verify")
    assert (code, said["code"]) == (3, "log.missing"), said
    assert own.names.log in str(said["message"])
    assert "the prefix" in str(said["fix"])
    code, said = await partsong(own, tmp_path, "backup", str(tmp_path / "copy"))
    assert (code, said["code"]) == (1, "log.empty"), said
    assert "the prefix" in str(said["fix"])
