"""The monitor: what alarms, what does not, and that nothing is written to a log that is damaged or not looked at."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from partsong.contracts.errors import NotFound, Unavailable
from partsong.contracts.wire.damage import Damaged, Sound, Unknown
from partsong.contracts.wire.subjects import Subjects
from partsong.log.jetstream import JetStreamLog
from partsong.log.link import Lost
from partsong.log.marks import FileMarks
from partsong.log.port import Appended
from partsong.runtime.log_adoption import adopt
from partsong.runtime.log_answers import LogSaid, ask_services, log_answers
from partsong.runtime.log_monitor import LogMonitor
from partsong.runtime.log_standing import log_standing
from partsong.runtime.nats.server import EmbeddedNats
from partsong.runtime.streams import provision
from partsong.testing.nats import Bus, a_bus
from tests.support.damage import a_monitor, flip, until

PATIENCE = 60.0


@pytest.fixture
async def own(nats_server: EmbeddedNats, subjects: Subjects) -> AsyncIterator[Bus]:
    """A bus on a server that the test may hurt."""
    async with a_bus(nats_server.url, subjects) as bus:
        yield bus


def log_of(bus: Bus, monitor: LogMonitor) -> JetStreamLog:
    return JetStreamLog(
        bus.nc, stream=bus.names.log, blobs=bus.names.blobs, keeper=monitor, attempt=1, deadline=3
    )


async def append(log: JetStreamLog, bus: Bus, count: int, first: int = 1) -> int:
    """So many facts; the sequence of the last one."""
    seq = 0
    for n in range(first, first + count):
        seq = (await log.append(bus.subjects.fact("r_1"), b"record %d;" % n, id=f"id{n}")).seq
    return seq


async def marked(folder: Path, bus: Bus, seq: int) -> None:
    """Wait until the record of a sequence is marked."""
    file = FileMarks(folder / "marks.json", bus.subjects.prefix)

    async def there() -> bool:
        return any(mark.seq >= seq for mark in await file.load())

    await until(there)


async def api(bus: Bus, call: str, **body: object) -> dict[str, object]:
    reply = await bus.nc.request(
        f"$JS.API.{call}.{bus.names.log}", json.dumps(body).encode() if body else b"", timeout=5
    )
    answer: dict[str, object] = json.loads(reply.data)
    return answer


async def config_of(bus: Bus) -> dict[str, object]:
    """How the log's stream is configured now."""
    config = (await api(bus, "STREAM.INFO"))["config"]
    assert isinstance(config, dict)
    return config


async def _is(so: bool) -> bool:
    return so


async def written(bus: Bus, folder: Path, count: int = 20) -> int:
    """A log of some records, the last of them marked; the sequence of that one."""
    async with a_monitor(bus, folder) as monitor:
        seq = await append(log_of(bus, monitor), bus, count)
        await marked(folder, bus, seq)
    return seq


async def test_a_new_log_begins_with_its_genesis_and_several_services_agree_on_it(
    bus: Bus, tmp_path: Path
) -> None:
    async with a_monitor(bus, tmp_path) as one, a_monitor(bus, tmp_path / "other") as other:
        assert one.identity == other.identity is not None
        first = await bus.nc.jetstream().get_msg(bus.names.log, 1)
        assert first.subject == bus.subjects.genesis()
        assert json.loads(first.data or b"")["log_id"] == one.identity.log_id  # type: ignore[union-attr]
        assert (await bus.log().head()) == 1


async def test_a_log_of_before_is_taken_as_it_is(bus: Bus, tmp_path: Path) -> None:
    await append(bus.log(), bus, 3)
    async with a_monitor(bus, tmp_path) as monitor:
        assert monitor.problem is None
        assert await bus.log().head() == 3
        assert monitor.identity is not None
        assert len(monitor.identity.log_id) == 64


async def test_what_is_acknowledged_is_marked_in_a_file_that_only_its_owner_reads(
    bus: Bus, tmp_path: Path
) -> None:
    seq = await written(bus, tmp_path)
    mode = (tmp_path / "marks.json").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600
    async with a_monitor(bus, tmp_path) as monitor:
        assert await monitor.check() == Sound()
        assert monitor.problem is None
    kept = await bus.nc.jetstream().get_last_msg(
        f"KV_{bus.names.marks}", f"$KV.{bus.names.marks}.test"
    )
    assert json.loads(kept.data or b"")["seq"] == seq


async def test_the_marks_of_two_services_in_one_file_do_not_undo_each_other(tmp_path: Path) -> None:
    from partsong.contracts.wire.marks import Mark

    def mark(seq: int) -> Mark:
        return Mark(log_id="a", epoch=1, seq=seq, digest="d", at="t")

    one, two, other = (FileMarks(tmp_path / "marks.json", prefix) for prefix in ("p", "p", "q"))
    await asyncio.gather(
        *(store.save(mark(seq)) for seq, store in enumerate([one, two, other] * 7, 1))
    )
    assert max(m.seq for m in await one.load()) == 20
    assert max(m.seq for m in await other.load()) == 21
    (tmp_path / "marks.json").write_text("{broken")
    assert await one.load() == ()
    assert (tmp_path / "marks.unreadable").exists()


async def test_a_server_that_was_killed_and_started_again_is_no_alarm(
    own: Bus, nats_server: EmbeddedNats, tmp_path: Path
) -> None:
    async with a_monitor(own, tmp_path) as monitor:
        log = log_of(own, monitor)
        seq = await append(log, own, 20)
        await marked(tmp_path, own, seq)
        nats_server.kill()
        await nats_server.restart()
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    await append(log, own, 1, 21)
                    break
                except Unavailable:
                    assert monitor.damage is None
        assert monitor.problem is None


async def test_without_a_server_nothing_can_be_said_and_nothing_is_alarmed(
    own: Bus, nats_server: EmbeddedNats, tmp_path: Path
) -> None:
    async with a_monitor(own, tmp_path) as monitor:
        nats_server.kill()
        assert isinstance(await monitor.check(), Unknown)
        assert monitor.damage is None
        assert monitor.problem is not None
        assert (monitor.problem.code, monitor.problem.retryable) == ("log.unknown", True)
        await nats_server.restart()


async def test_an_append_does_not_pass_on_a_connection_on_which_nobody_has_looked(
    bus: Bus, tmp_path: Path
) -> None:
    async with a_monitor(bus, tmp_path) as monitor:
        monitor.admit(bus.nc.stats["reconnects"])
        with pytest.raises(Lost):
            monitor.admit(bus.nc.stats["reconnects"] + 1)


async def test_a_lost_tail_is_damage_with_its_exact_range_and_nothing_is_written(
    own: Bus, nats_server: EmbeddedNats, tmp_path: Path
) -> None:
    seq = await written(own, tmp_path)
    nats_server.kill()
    flip(nats_server, own.names.log, b"record 11;")
    await nats_server.restart()

    async def connected() -> bool:
        return own.nc.is_connected

    await until(connected)
    head = await own.log().head()
    assert head < seq
    async with a_monitor(own, tmp_path, started=False) as monitor:
        with pytest.raises(Unavailable, match=rf"log\.damaged.*records {head + 1} to {seq}"):
            await monitor.begin()
        with pytest.raises(Unavailable, match=r"log\.damaged"):
            await append(log_of(own, monitor), own, 1, 99)
    await append(own.log(), own, 40, 200)  # somebody writes all the same: sequences are used again
    async with a_monitor(own, tmp_path, started=False) as monitor:
        with pytest.raises(Unavailable, match=r"not the one that was acknowledged"):
            await monitor.begin()


@pytest.mark.parametrize("hung", [False, True], ids=["dead", "hung"])
async def test_what_waited_for_the_server_is_not_written_to_a_log_that_has_lost_its_tail(
    own: Bus, nats_server: EmbeddedNats, tmp_path: Path, hung: bool
) -> None:
    """Appends that were asked for while no server answered would take the places of lost records."""
    async with a_monitor(own, tmp_path, every=0.5) as monitor:
        log = JetStreamLog(
            own.nc, stream=own.names.log, blobs=own.names.blobs, keeper=monitor, deadline=30
        )
        seq = await append(log, own, 20)
        await marked(tmp_path, own, seq)
        if hung:
            os.kill(nats_server.pid, signal.SIGSTOP)
        else:
            nats_server.kill()
            await until(lambda: _is(not own.nc.is_connected))
        body = b"x" * 200_000
        late: list[asyncio.Future[Appended]] = []
        for wave in range(2):  # the first is more than the sockets take, so the second stays here
            facts = [(own.subjects.fact(f"r_{wave}_{n}"), f"late{wave}.{n}") for n in range(40)]
            late += [asyncio.ensure_future(log.append(s, body, id=i)) for s, i in facts]
            await asyncio.sleep(0.2)
        nats_server.kill()
        flip(nats_server, own.names.log, b"record 11;")
        await nats_server.restart()
        await until(lambda: _is(monitor.read_only))
        outcomes = await asyncio.gather(*late, return_exceptions=True)
        codes = {o.problem.code if isinstance(o, Unavailable) else repr(o) for o in outcomes}
        assert codes == {"log.damaged"}
        head = await own.log().head()
        assert head < seq
        # The first look may know no more than that something is: what is lost is said when all marks are read.
        lost = ((head + 1, seq),)
        await until(lambda: _is(monitor.damage is not None and monitor.damage.lost == lost))


async def test_what_is_lost_is_said_in_full_once_the_last_mark_is_there(
    own: Bus, nats_server: EmbeddedNats, tmp_path: Path
) -> None:
    """Services keep their marks each in its own time: one may look before another has kept its newest."""
    async with a_monitor(own, tmp_path, every=0.5) as monitor:
        seq = await append(log_of(own, monitor), own, 20)
        await marked(tmp_path, own, seq)
        nats_server.kill()
        flip(nats_server, own.names.log, b"record 11;")
        await nats_server.restart()
        await until(lambda: _is(monitor.read_only))
        lost = ((12, seq),)  # at first it may know no more than that something is
        await until(lambda: _is(monitor.damage is not None and monitor.damage.lost == lost))
        mark = monitor.marks[0].model_copy(update={"seq": seq + 3, "digest": "0" * 64})
        await FileMarks(tmp_path / "marks.json", own.subjects.prefix).save(mark)

        async def wider() -> bool:
            return monitor.damage is not None and monitor.damage.lost == ((12, seq + 3),)

        await until(wider)
        assert monitor.problem is not None
        assert f"records 12 to {seq + 3}" in monitor.problem.message


async def test_a_log_that_is_gone_is_not_begun_anew(own: Bus, tmp_path: Path) -> None:
    seq = await written(own, tmp_path)
    assert (await api(own, "STREAM.DELETE")).get("success")
    async with a_monitor(own, tmp_path, started=False) as monitor:
        with pytest.raises(Unavailable, match=rf"no stream.*records 1 to {seq}"):
            await monitor.begin()
    with pytest.raises(NotFound, match=r"streams\.missing"):
        await provision(own.nc, own.subjects, create_log=False)


async def test_a_log_that_was_deleted_and_made_again_while_a_service_runs_is_another_one(
    own: Bus, tmp_path: Path
) -> None:
    async with a_monitor(own, tmp_path) as monitor:
        log = log_of(own, monitor)
        seq = await append(log, own, 5)
        await marked(tmp_path, own, seq)
        await api(own, "STREAM.DELETE")
        await provision(own.nc, own.subjects)
        await append(own.log(), own, 30, 100)
        answer = await monitor.check()
        assert isinstance(answer, Damaged)
        assert (answer.code, answer.lost) == ("log.another", ((1, seq),))
        with pytest.raises(Unavailable):
            await append(log, own, 1, 200)


async def test_a_limit_set_by_hand_shows_before_it_takes_anything_and_passes_when_it_is_set_back(
    own: Bus, tmp_path: Path
) -> None:
    async with a_monitor(own, tmp_path) as monitor:
        log = log_of(own, monitor)
        await append(log, own, 5)
        config = await config_of(own)
        await api(own, "STREAM.UPDATE", **(config | {"max_msgs": 1000}))
        answer = await monitor.check()
        assert isinstance(answer, Damaged)
        assert answer.passes
        assert f"`nats stream edit {own.names.log} --max-msgs=-1`" in str(answer.problem.fix)
        with pytest.raises(Unavailable, match="max_msgs should be -1, is 1000"):
            await append(log, own, 1, 50)
        await api(own, "STREAM.UPDATE", **config)
        assert await monitor.check() == Sound()
        await append(log, own, 1, 50)


async def test_a_limit_that_has_taken_records_is_damage_that_stays(
    own: Bus, tmp_path: Path
) -> None:
    async with a_monitor(own, tmp_path) as monitor:
        await append(log_of(own, monitor), own, 20)
        config = await config_of(own)
        await api(own, "STREAM.UPDATE", **(config | {"max_msgs": 10}))
        answer = await monitor.check()
        assert isinstance(answer, Damaged)
        assert answer.lost == ((1, 11),)
        await api(own, "STREAM.UPDATE", **config)
        await monitor.check()
        assert monitor.read_only


async def test_a_limit_that_takes_records_after_all_is_said_as_damage(
    own: Bus, tmp_path: Path
) -> None:
    """To set it back is no way out any more."""
    async with a_monitor(own, tmp_path) as monitor:
        await append(log_of(own, monitor), own, 20)
        config = await config_of(own)
        for most, code in ((1000, "log.config_changed"), (10, "log.damaged")):
            await api(own, "STREAM.UPDATE", **(config | {"max_msgs": most}))
            await monitor.check()
            assert monitor.problem is not None
            assert monitor.problem.code == code
        await api(own, "STREAM.UPDATE", **config)
        await monitor.check()
        assert monitor.problem
        assert monitor.problem.code == "log.damaged"


async def test_another_server_is_refused_with_the_command_that_accepts_it(
    bus: Bus, own: Bus, tmp_path: Path
) -> None:
    """The same prefix on another server, with the same data directory."""
    await written(bus, tmp_path)
    same = Bus(own.nc, own.url, bus.subjects, bus.names)
    await provision(same.nc, same.subjects)
    await append(same.log(), same, 1)
    async with a_monitor(same, tmp_path, started=False) as monitor:
        with pytest.raises(Unavailable, match=r"partsong log adopt") as caught:
            await monitor.begin()
        assert caught.value.problem.code == "log.another"
    here = FileMarks(tmp_path / "marks.json", same.subjects.prefix)
    async with a_monitor(same, tmp_path / "elsewhere") as other:
        assert other.identity is not None
        await here.adopt(other.identity.log_id)
    async with a_monitor(same, tmp_path) as monitor:
        assert monitor.problem is None, "it is refused once"


async def test_another_log_that_brings_its_own_marks_is_refused_until_it_is_adopted(
    bus: Bus, own: Bus, tmp_path: Path
) -> None:
    """A server's data that was exchanged as a whole: the bucket speaks for the log that came with it."""
    moved, here = Bus(own.nc, own.url, bus.subjects, bus.names), tmp_path / "here"
    await written(bus, here)
    await provision(moved.nc, moved.subjects)
    await written(moved, tmp_path / "there")
    async with a_monitor(moved, here, started=False) as monitor:
        with pytest.raises(Unavailable, match=r"(?s)log\.another.*partsong log adopt"):
            await monitor.begin()
    async with a_monitor(moved, tmp_path / "there") as monitor:
        assert monitor.problem is None, "the service that was there before goes on"
    found = await adopt(moved.nc, moved.subjects, here)
    for folder in (here, tmp_path / "there"):
        async with a_monitor(moved, folder) as monitor:
            assert (monitor.identity, monitor.problem) == (found, None)
    async with a_monitor(bus, here, started=False) as monitor:
        with pytest.raises(Unavailable, match=r"log\.another"):
            await monitor.begin()


async def test_data_and_marks_that_are_both_gone_are_no_alarm(own: Bus, tmp_path: Path) -> None:
    await written(own, tmp_path)
    for stream in (own.names.log, f"KV_{own.names.marks}"):
        await own.nc.request(f"$JS.API.STREAM.DELETE.{stream}", timeout=5)
    (tmp_path / "marks.json").unlink()
    async with a_monitor(own, tmp_path, started=False) as monitor:
        assert await monitor.begin(), "a new log may be made"


async def test_the_bucket_alone_knows_of_a_lost_log(own: Bus, tmp_path: Path) -> None:
    await written(own, tmp_path)
    (tmp_path / "marks.json").unlink()
    await api(own, "STREAM.DELETE")
    async with a_monitor(own, tmp_path, started=False) as monitor:
        with pytest.raises(Unavailable, match=r"log\.damaged"):
            await monitor.begin()


async def test_an_unsynced_append_is_marked_only_when_a_power_cut_could_not_take_it(
    bus: Bus, tmp_path: Path
) -> None:
    async with a_monitor(bus, tmp_path, sync_interval=3600) as monitor:
        await append(log_of(bus, monitor), bus, 5)
        await monitor.check()
    assert not (tmp_path / "marks.json").exists()


async def test_a_server_that_stores_nothing_shows_until_it_does_again(
    own: Bus, nats_server: EmbeddedNats, tmp_path: Path
) -> None:
    """As with a disk that is full: the server answers every question, and no append."""
    async with a_monitor(own, tmp_path) as monitor:
        log = log_of(own, monitor)
        await append(log, own, 5)
        _, most = resource.prlimit(nats_server.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(nats_server.pid, resource.RLIMIT_FSIZE, (1, most))
        with pytest.raises(Unavailable, match=r"nats\.no_answer"):
            await append(log, own, 1, first=6)
        assert isinstance(await monitor.check(), Sound), "nothing is lost"
        assert monitor.problem is not None
        assert monitor.problem.code == "log.mute"
        said = log_answers(own.nc, own.subjects, "tool-runner", "w~1", lambda: monitor.problem)
        await said.start()
        services = ("graph-engine", "tool-runner")
        assert await ask_services(own.nc, own.subjects, services) == [
            LogSaid(worker="w~1", problem=monitor.problem)
        ]
        await said.stop()
        await nats_server.restart()

        async def over() -> bool:
            await monitor.check()
            return monitor.problem is None

        await until(over)
        await append(log, own, 1, first=6)


async def test_what_one_service_finds_all_of_them_know(bus: Bus, tmp_path: Path) -> None:
    found = Damaged("seal 3 does not agree", ((4, 9),), runs=("r_1",), contained=True)
    async with a_monitor(bus, tmp_path) as one, a_monitor(bus, tmp_path / "other") as other:
        await one.report(found)
        assert await other.check() == found
        assert other.problem is None
        assert "r_1" in str(other.note)
        assert not other.read_only, "one run is hit, the others go on"
        more = Damaged("seal 7 does not agree", ((14, 15),), runs=("r_2",), contained=True)
        await one.report(more)
        await one.report(found)
        assert one.damage is not None
        assert (one.damage.runs, one.damage.lost) == (("r_1", "r_2"), ((4, 9), (14, 15)))
        assert await other.check() == one.damage, "nobody forgets the first one"
        await append(log_of(bus, other), bus, 1)
        await one.report(Damaged("seal 4 does not agree", ((10, 12),)))
        await other.check()
        assert other.read_only


async def test_one_damage_is_told_once_in_whatever_words(
    bus: Bus, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def found(why: str, *holes: tuple[int, int], runs: tuple[str, ...] = ("r_1",)) -> Damaged:
        return Damaged(why, holes=holes, runs=runs, contained=True, missing=len(holes))

    async with a_monitor(bus, tmp_path) as monitor:
        news = [
            await monitor.report(found(why, *holes))
            for why, *holes in (
                ("seal 1 covers 5 records, 4 are there", (4, 4)),
                ("its owner at record 60 covers 9 records, 8 are there", (4, 4)),
                ("seal 7 does not agree", (4, 4), (9, 9)),
                ("seal 1 covers 5 records, 4 are there", (4, 4)),
            )
        ]
        assert news == [True, False, True, False]
        assert monitor.damage == found("seal 7 does not agree", (4, 4), (9, 9))
    assert [r.message for r in caplog.records if r.message == "log damaged"] == ["log damaged"] * 2


async def test_marks_go_on_while_only_single_runs_are_damaged(bus: Bus, tmp_path: Path) -> None:
    """Else what is lost later would seem to begin where the marks stood still."""
    async with a_monitor(bus, tmp_path) as monitor:
        log = log_of(bus, monitor)
        hole = await append(log, bus, 3)
        hurt = Damaged("seal 1", holes=((hole, hole),), runs=("r_1",), contained=True, missing=1)
        await monitor.report(hurt)
        assert await monitor.check() == hurt
        await marked(tmp_path, bus, await append(log, bus, 3, first=4))
        assert monitor.problem is None


async def test_where_no_run_is_hit_none_is_said_to_be() -> None:
    hole = Damaged("an owner's record", holes=((4, 4),), contained=True, missing=1)
    assert "no run is hit" in str(hole.problem.fix)
    assert "these runs" in str(Damaged("a", runs=("r_1",), contained=True).problem.fix)


async def test_a_place_for_marks_that_fails_does_not_stop_a_service(
    bus: Bus, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no directory")
    async with a_monitor(bus, tmp_path / "file") as monitor:
        seq = await append(log_of(bus, monitor), bus, 1)
        subject = f"$KV.{bus.names.marks}.test"

        async def kept() -> bool:
            stream = await bus.nc.jetstream().stream_info(
                f"KV_{bus.names.marks}", subjects_filter=">"
            )
            return subject in (stream.state.subjects or {})

        await until(kept)
        found = await bus.nc.jetstream().get_last_msg(f"KV_{bus.names.marks}", subject)
        assert json.loads(found.data or b"")["seq"] == seq


async def test_a_bucket_that_somebody_deleted_is_no_server_that_stores_nothing(
    own: Bus, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with a_monitor(own, tmp_path) as monitor:
        log = log_of(own, monitor)
        await append(log, own, 1)
        stream = f"KV_{own.names.marks}"
        assert await own.nc.jetstream().delete_stream(stream)
        await append(log, own, 1, first=2)
        said = "a place for marks fails"

        async def told() -> bool:
            return monitor.problem is not None or said in caplog.messages

        await until(told)
        assert monitor.problem is None
        assert [r.__dict__["why"] for r in caplog.records if r.message == said] == [
            f"the bucket of marks is not there: no stream {stream}"
        ]
        await marked(tmp_path, own, 2)
        with pytest.raises(Unavailable, match=r"marks\.missing"):
            await log_standing(own.nc, own.subjects, tmp_path, room=True)
