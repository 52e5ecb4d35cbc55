"""A log verified, backed up, restored and adopted: nothing is invented, and what was lost is said to the sequence."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from partsong.contracts.errors import Conflict, NotFound, Unavailable
from partsong.contracts.wire.damage import Damaged
from partsong.contracts.wire.seals import Place, Sealer
from partsong.contracts.wire.subjects import PARTITIONS, Subjects, partition_of
from partsong.log.backup import Backup, Copied, backup
from partsong.log.jetstream import JetStreamLog
from partsong.log.restore import Restoring
from partsong.log.scrub import Target, scrub
from partsong.log.verify import Verified, verify
from partsong.log.walk import Raw, walk
from partsong.runtime import clock
from partsong.runtime.log_adoption import adopt
from partsong.runtime.log_standing import log_standing
from partsong.runtime.nats.server import EmbeddedNats
from partsong.runtime.streams import log_config, provision, provision_mirror
from partsong.testing.nats import Bus, a_bus
from tests.support.damage import a_monitor, damaged, until
from tests.unit.contracts.state.test_verify import RUN, a_run

BIG = b"big " * 100_000
WHOLE = a_run()
"""A run with sequences from 1; made here, because it takes an event loop of its own."""


@pytest.fixture
async def own(nats_server: EmbeddedNats, subjects: Subjects) -> AsyncIterator[Bus]:
    async with a_bus(nats_server.url, subjects) as bus:
        yield bus


def log_of(bus: Bus) -> JetStreamLog:
    return JetStreamLog(bus.nc, stream=bus.names.log, blobs=bus.names.blobs)


async def filled(bus: Bus, folder: Path) -> int:
    """A log with its genesis, a whole run's commits, facts of others and one big body; its head, which is marked."""
    async with a_monitor(bus, folder) as monitor:
        log = JetStreamLog(bus.nc, stream=bus.names.log, blobs=bus.names.blobs, keeper=monitor)
        for n in range(5):
            await log.append(bus.subjects.fact("r_other"), b"other %d;" % n, id=f"other{n}")
        await log.append(bus.subjects.fact("r_big"), BIG, id="big")
        head = (await log.append(bus.subjects.fact("r_last"), b"last;", id="last")).seq

        async def marked() -> bool:
            await monitor.look()
            return any(mark.seq == head for mark in monitor.marks)

        await until(marked)
    return head


async def raws(bus: Bus) -> list[Raw]:
    head = await log_of(bus).head()
    return [raw async for raw in walk(bus.nc, bus.names.log, bus.subjects.log(), upto=head)]


async def verified(bus: Bus) -> Verified:
    names, head = bus.names, await log_of(bus).head()
    return await verify(bus.nc, bus.subjects, stream=names.log, blobs=names.blobs, head=head)


async def copied(bus: Bus, folder: Path) -> Copied:
    names = bus.names
    return await backup(bus.nc, bus.subjects, folder, stream=names.log, blobs=names.blobs)


async def restoring(bus: Bus, data: Path) -> Restoring:
    async with a_monitor(bus, data, started=False) as monitor:
        await monitor.look()
        marks = monitor.marks
    names, config = bus.names, log_config(bus.subjects)
    return Restoring(bus.nc, bus.subjects, names.log, names.blobs, config, "ann", marks=marks)


async def delete(bus: Bus, *streams: str) -> None:
    for stream in streams or (bus.names.log,):
        await bus.nc.request(f"$JS.API.STREAM.DELETE.{stream}", timeout=5)


async def test_a_sound_log_verifies_with_all_its_runs(bus: Bus, tmp_path: Path) -> None:
    log = log_of(bus)
    shift = 0
    for seq, body in WHOLE:
        done = await log.append(
            bus.subjects.engine(RUN) if seq % 2 else bus.subjects.fact(RUN), body, id=f"{seq}"
        )
        shift = done.seq - seq
    assert shift == 0, "the run was written with sequences from 1"
    await log.append(bus.subjects.fact("r_big"), BIG, id="big")
    told: list[tuple[int, int]] = []
    names, head = bus.names, await log.head()
    found = await verify(
        bus.nc, bus.subjects, stream=names.log, blobs=names.blobs, head=head,
        progress=lambda done, of: told.append((done, of)),
    )  # fmt: skip
    assert found.ok
    assert (found.records, found.runs, found.damage) == (head, 2, None)
    assert told[-1] == (head, head)


async def test_a_hole_is_found_with_its_place_and_its_run(
    own: Bus, nats_server: EmbeddedNats, tmp_path: Path
) -> None:
    await filled(own, tmp_path)
    async with damaged(nats_server, own.names.log, b"other 2;"):
        found = await verified(own)
    assert not found.ok
    assert (found.holes, found.lost_of) == (((4, 4),), {"r_other": 1})
    assert found.damage is not None
    assert (found.damage.runs, found.damage.contained) == (("r_other",), True)


async def test_a_body_that_is_missing_beside_the_log_is_a_finding_of_its_run(
    bus: Bus, tmp_path: Path
) -> None:
    await filled(bus, tmp_path)
    await bus.nc.jetstream().purge_stream(f"OBJ_{bus.names.blobs}")
    found = await verified(bus)
    assert [(f.code, f.where) for f in found.findings] == [("log.unreadable", "r_big at 7")]


async def sealed(bus: Bus, count: int, every: int) -> tuple[int, Sealer]:
    """A partition of facts of one run, sealed by its owner after so many."""
    run, log = "r_1", log_of(bus)
    partition = partition_of(run)
    sealer = Sealer(epoch=1)
    for n in range(count):
        body = b"record %d;" % n
        done = await log.append(bus.subjects.fact(run), body, id=f"{n}")
        sealer = sealer.after(done.seq, body, 0.0)
        if (n + 1) % every == 0:
            body = sealer.seal().model_dump_json().encode()
            done = await log.append(bus.subjects.seal(partition), body, id=f"seal{n}")
            sealer = sealer.sealed(done.seq, body)
    return partition, sealer


async def scrubbed(bus: Bus, *targets: Target, accepted: int = 0) -> dict[int, Damaged]:
    return await scrub(bus.nc, bus.subjects, targets, stream=bus.names.log, accepted=accepted)


async def test_a_scrub_finds_a_flipped_bit_after_a_clean_stop_and_whose_record_it_was(
    own: Bus, nats_server: EmbeddedNats
) -> None:
    partition, sealer = await sealed(own, 25, every=10)
    head = await log_of(own).head()
    whole = Target(partition, head, known=sealer.place)
    assert await scrubbed(own, whole) == {}
    async with damaged(nats_server, own.names.log, b"record 13;", b"record 24;"):
        found = (await scrubbed(own, whole))[partition]
        assert (found.runs, found.contained, found.missing) == (("r_1",), True, 2)
        bad = [n + 1 + n // 10 for n in (13, 24)]
        assert found.holes == tuple((seq, seq) for seq in bad), "the very records"
        assert found.lost == ()
        trusted = Place(sealer.last.upto, sealer.last.count, bytes.fromhex(sealer.last.root))  # type: ignore[union-attr]
        late = await scrubbed(own, replace(whole, base=trusted))
        assert late[partition].missing == 1
        old = await scrubbed(own, whole, accepted=head)
        assert old == {}, "what a restore has accepted is not told again"
        assert [f.code for f in (await verified(own)).findings] == ["log.seal_broken"]


async def test_partitions_are_scrubbed_together_each_between_its_own_ends(
    own: Bus, nats_server: EmbeddedNats
) -> None:
    partition, sealer = await sealed(own, 25, every=10)
    other = (partition + 1) % PARTITIONS
    log, rest = log_of(own), Sealer(epoch=1)
    for n in range(5):
        body = b"other %d;" % n
        subject = f"{own.subjects.prefix}.log.{other}.r_o.fact"
        done = await log.append(subject, body, id=f"other{n}")
        rest = rest.after(done.seq, body, 0.0)
    beyond = await log.append(own.subjects.fact("r_1"), b"beyond;", id="beyond")
    targets = (
        Target(partition, sealer.place.seq, known=sealer.place),
        Target(other, beyond.seq, known=rest.place),
        Target((partition + 2) % PARTITIONS, beyond.seq),
    )
    assert await scrubbed(own, *targets) == {}
    async with damaged(nats_server, own.names.log, b"other 2;"):
        assert (await scrubbed(own, *targets)).keys() == {other}
    async with damaged(nats_server, own.names.log, b"record 3;"):
        assert (await scrubbed(own, *targets)).keys() == {partition, other}


async def test_a_scrub_reads_past_a_record_whose_subject_nobody_knows(
    own: Bus, nats_server: EmbeddedNats
) -> None:
    partition, sealer = await sealed(own, 5, every=10)
    odd = f"{own.subjects.prefix}.log.{partition}.odd"
    stored = await own.nc.jetstream().publish(odd, b"odd")
    sealer = sealer.after(stored.seq, b"odd", 0.0)
    target = Target(partition, stored.seq, known=sealer.place)
    assert await scrubbed(own, target) == {}
    seal = sealer.seal().model_dump_json().encode()
    await log_of(own).append(own.subjects.seal(partition), seal, id="seal")
    sound = await verified(own)
    assert (sound.ok, sound.foreign) == (True, 1), "nobody reads it, and its seal covers it"
    async with damaged(nats_server, own.names.log, b"record 3;"):
        assert (await scrubbed(own, target)).keys() == {partition}


async def test_a_backup_holds_every_record_in_its_place_and_goes_on_where_it_ended(
    bus: Bus, tmp_path: Path
) -> None:
    await filled(bus, tmp_path / "data")
    first = await copied(bus, tmp_path / "copy")
    assert (first.records, first.missing) == (first.upto, ())
    await log_of(bus).append(
        bus.subjects.fact("r_new"), b"\xff\x00 no text", id="new", headers={"A": "b"}
    )
    with (tmp_path / "copy" / "log.jsonl").open("ab") as file:
        file.write(b'{"seq": 99')  # a copy that was cut short
    again = await copied(bus, tmp_path / "copy")
    assert (again.records, again.upto) == (1, first.upto + 1)
    held = list(Backup(tmp_path / "copy").records())
    assert held == await raws(bus)
    assert Backup(tmp_path / "copy").blob(next(raw.blob for raw in held if raw.blob)) == BIG


async def test_a_backup_of_another_log_or_another_past_is_not_written_to(
    bus: Bus, own: Bus, tmp_path: Path
) -> None:
    await filled(bus, tmp_path / "data")
    await copied(bus, tmp_path / "copy")
    await delete(bus)
    await provision(bus.nc, bus.subjects)
    before = (tmp_path / "copy" / "log.jsonl").read_bytes()
    async with a_monitor(bus, tmp_path / "fresh", started=False) as monitor:
        await monitor.begun()
    with pytest.raises(Conflict, match=r"backup\.another_log"):
        await copied(bus, tmp_path / "copy")
    assert (tmp_path / "copy" / "log.jsonl").read_bytes() == before


async def test_a_restore_brings_back_every_record_in_its_place_and_says_what_is_lost(
    own: Bus, tmp_path: Path
) -> None:
    data, folder = tmp_path / "data", tmp_path / "copy"
    await filled(own, data)
    copy = await copied(own, folder)
    before = await raws(own)
    async with a_monitor(own, data) as monitor:  # these are lost: they came after the backup
        log = JetStreamLog(own.nc, stream=own.names.log, keeper=monitor)
        for n in range(4):
            await log.append(own.subjects.fact("r_lost"), b"lost", id=f"lost{n}")
    await delete(own, own.names.log, f"OBJ_{own.names.blobs}")
    with pytest.raises(NotFound):
        await provision(own.nc, own.subjects, create_log=False)
    work = await restoring(own, data)
    restored = await work.from_backup(Backup(folder))
    await work.close()
    assert (restored.kept, restored.lost) == (copy.upto, (copy.upto + 1, copy.upto + 4))
    assert (restored.epoch, restored.by, restored.source) == (2, "ann", "backup copy")
    after = await raws(own)
    assert [(r.seq, r.subject, r.id, r.body, r.headers) for r in after[:-1]] == [
        (r.seq, r.subject, r.id, r.body, r.headers) for r in before
    ]
    assert after[-1].subject == own.subjects.restored()
    assert json.loads(after[-1].body)["lost"] == list(restored.lost or ())
    await provision(own.nc, own.subjects)
    async with a_monitor(own, data) as monitor:
        assert monitor.problem is None, "the services accept it in its new epoch"
        assert monitor.identity is not None
        assert monitor.identity.epoch == 2
        log = JetStreamLog(own.nc, stream=own.names.log, blobs=own.names.blobs, keeper=monitor)
        await log.append(own.subjects.fact("r_other"), b"on", id="on", expect=6)
    assert [r.body async for r in log_of(own).read(own.subjects.run("r_big"))] == [BIG]


async def worked_on(bus: Bus, data: Path, what: str) -> None:
    """Four more records, the last of which is marked."""
    async with a_monitor(bus, data) as monitor:
        log = JetStreamLog(bus.nc, stream=bus.names.log, keeper=monitor)
        for n in range(4):
            await log.append(bus.subjects.fact("r_more"), what.encode(), id=f"{what}{n}")


async def test_no_epoch_is_given_twice_and_what_was_given_up_binds_no_more(
    own: Bus, tmp_path: Path
) -> None:
    """The older copy is restored and worked on, and then the newer one: that work has marks in the same places."""
    data = tmp_path / "data"
    await filled(own, data)
    await copied(own, tmp_path / "older")
    await worked_on(own, data, "lost")
    await copied(own, tmp_path / "newer")
    epochs = []
    for folder in ("older", "newer"):
        await delete(own, own.names.log)
        work = await restoring(own, data)
        epochs.append((await work.from_backup(Backup(tmp_path / folder))).epoch)
        await work.close()
        await provision(own.nc, own.subjects)
        if folder == "older":
            await worked_on(own, data, "given up")
    assert epochs == [2, 3]
    assert (await log_standing(own.nc, own.subjects, data)).log == "sound"
    work = await restoring(own, data)
    again = await work.as_it_is()
    await work.close()
    assert (again.epoch, again.lost) == (4, None), "what was told once is not lost again"


async def test_a_restore_goes_by_the_servers_clock(
    own: Bus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The services do; a machine that is an hour behind would call all open calls later ones."""
    await filled(own, tmp_path)
    before = clock.now()
    monkeypatch.setattr(clock, "now_text", lambda: "2020-01-01T00:00:00.000Z")
    work = await restoring(own, tmp_path)
    restored = await work.as_it_is()
    await work.close()
    assert abs(datetime.fromisoformat(restored.at) - before) < timedelta(minutes=5)


async def test_a_service_that_runs_does_not_go_on_in_another_epoch(
    own: Bus, tmp_path: Path
) -> None:
    await filled(own, tmp_path)
    async with a_monitor(own, tmp_path) as monitor:
        work = await restoring(own, tmp_path)
        await work.as_it_is()
        await work.close()
        answer = await monitor.check()
        assert isinstance(answer, Damaged)
        assert (answer.code, answer.fix) == ("log.restored", "restart this service")
        assert monitor.read_only


async def test_a_restore_never_overwrites_a_record(bus: Bus, tmp_path: Path) -> None:
    await filled(bus, tmp_path)
    await copied(bus, tmp_path / "copy")
    work = await restoring(bus, tmp_path)
    for way in (work.from_backup(Backup(tmp_path / "copy")), work.from_mirror("ANY")):
        with pytest.raises(Conflict, match=r"log\.not_empty"):
            await way
    await work.close()


async def test_a_record_that_a_backup_lacks_leaves_its_place_to_one_that_says_so(
    own: Bus, nats_server: EmbeddedNats, tmp_path: Path
) -> None:
    head = await filled(own, tmp_path)
    async with damaged(nats_server, own.names.log, b"other 2;"):
        copy = await copied(own, tmp_path / "copy")
        assert (copy.missing, copy.runs, copy.upto) == (((4, 4),), ("r_other",), head)
    await delete(own)
    work = await restoring(own, tmp_path)
    await work.from_backup(Backup(tmp_path / "copy"))
    await work.close()
    after = await raws(own)
    assert [r.seq for r in after] == list(range(1, head + 2))
    assert after[3].subject == own.subjects.lost()


async def test_a_promoted_mirror_takes_the_logs_place_with_every_position(
    own: Bus, tmp_path: Path
) -> None:
    head = await filled(own, tmp_path)
    js, name = own.nc.jetstream(), await provision_mirror(own.nc, own.subjects)
    assert await provision_mirror(own.nc, own.subjects) == name, "making it twice does no harm"

    async def caught_up() -> bool:
        return (await js.stream_info(name)).state.last_seq == head

    await until(caught_up)
    before = await raws(own)
    await delete(own)
    work = await restoring(own, tmp_path)
    restored = await work.from_mirror(name)
    await work.close()
    assert (restored.kept, restored.lost) == (head, None)
    after = await raws(own)
    assert [(r.seq, r.id, r.body) for r in after[:-1]] == [(r.seq, r.id, r.body) for r in before]
    await delete(own, name)
    await provision(own.nc, own.subjects)  # its configuration is that of the table
    async with a_monitor(own, tmp_path) as monitor:
        assert monitor.problem is None
        log = JetStreamLog(own.nc, stream=own.names.log, keeper=monitor)
        await log.append(own.subjects.fact("r_last"), b"on", id="on", expect=head)


async def test_what_is_left_can_be_accepted_and_the_marks_of_what_is_lost_bind_no_more(
    own: Bus, nats_server: EmbeddedNats, tmp_path: Path
) -> None:
    head = await filled(own, tmp_path)
    nats_server.kill()
    from tests.support.damage import flip

    flip(nats_server, own.names.log, b"other 3;")
    await nats_server.restart()

    async def connected() -> bool:
        return own.nc.is_connected

    await until(connected)
    standing = await log_standing(own.nc, own.subjects, tmp_path)
    assert (standing.log, standing.lost) == ("damaged", ((5, head),))
    with pytest.raises(Conflict, match=r"log\.same"):
        await adopt(own.nc, own.subjects, tmp_path)
    work = await restoring(own, tmp_path)
    restored = await work.as_it_is()
    await work.close()
    assert restored.lost == (5, head)
    assert (await log_standing(own.nc, own.subjects, tmp_path)).log == "sound"


async def test_a_new_log_begins_only_where_there_is_none_and_only_when_that_is_asked_for(
    own: Bus, tmp_path: Path
) -> None:
    await filled(own, tmp_path)
    with pytest.raises(Conflict, match=r"log\.not_empty"):
        await adopt(own.nc, own.subjects, tmp_path, new=True)
    await delete(own)
    with pytest.raises(NotFound, match=r"log\.missing"):
        await adopt(own.nc, own.subjects, tmp_path)
    async with a_monitor(own, tmp_path, started=False) as monitor:
        with pytest.raises(Unavailable):
            await monitor.begin()
    found = await adopt(own.nc, own.subjects, tmp_path, new=True)
    async with a_monitor(own, tmp_path) as monitor:
        assert monitor.identity == found
        await asyncio.sleep(0)
        assert monitor.problem is None


def test_what_is_no_backup_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"backup\.none"):
        Backup(tmp_path).head()
    (tmp_path / "log.jsonl").write_text('{"format": 1, "log_id": "a"}\n{"seq": 1}\n')
    with pytest.raises(Exception, match="line 2"):
        list(Backup(tmp_path).records())
