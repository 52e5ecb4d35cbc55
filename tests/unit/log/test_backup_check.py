"""A backup that is not fit is known for that before anything is deleted to make room for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from partsong.contracts.errors import Conflict, InvalidInput, PartsongError
from partsong.contracts.wire.marks import Restored
from partsong.log import backup_check
from partsong.log.backup import Backup, Lacking
from partsong.runtime.log_standing import log_standing
from partsong.runtime.streams import provision
from partsong.testing.nats import Bus
from tests.unit.contracts.state.test_verify import RUN
from tests.unit.log.test_restore import (
    WHOLE,
    copied,
    delete,
    filled,
    log_of,
    raws,
    restoring,
    sealed,
)

Change = Callable[[list[bytes]], list[bytes]]


def changed(folder: Path, change: Change) -> None:
    """Change the lines of a backup, the first of which is no record's: that of record N has index N."""
    file = folder / "log.jsonl"
    file.write_bytes(b"".join(change(file.read_bytes().splitlines(keepends=True))))


def without(seq: int) -> Change:
    return lambda lines: lines[:seq] + lines[seq + 1 :]


def rewritten(seq: int, **said: object) -> Change:
    """A record that says something else, in a backup of before, whose lines had no sums."""

    def change(lines: list[bytes]) -> list[bytes]:
        plain = [json.loads(line) for line in lines]
        plain[seq] = {**plain[seq], **said}
        return [
            json.dumps({k: v for k, v in line.items() if k != "sum"}).encode() + b"\n"
            for line in plain
        ]

    return change


async def refused(bus: Bus, data: Path, folder: Path) -> PartsongError:
    """How a backup is refused that is to replace a stream, of which nothing is lost by that."""
    before = await raws(bus)
    work = await restoring(bus, data)
    work.keep = data / "replaced"
    try:
        with pytest.raises((Conflict, InvalidInput)) as caught:
            await work.from_backup(Backup(folder))
    finally:
        await work.close()
    assert await raws(bus) == before
    assert not work.keep.exists()
    return caught.value


async def taken(bus: Bus, data: Path, folder: Path) -> tuple[Restored, tuple[tuple[int, int], ...]]:
    """A backup that is taken as it is, and what is not known of it; the log is sound then."""
    work = await restoring(bus, data)
    work.keep = data / "replaced"
    try:
        restored = await work.from_backup(Backup(folder), accept_damage=True)
    finally:
        await work.close()
    await provision(bus.nc, bus.subjects)
    assert (await log_standing(bus.nc, bus.subjects, data)).log == "sound"
    return restored, work.unclear


@pytest.fixture
async def copy(bus: Bus, tmp_path: Path) -> Path:
    await filled(bus, tmp_path)
    await copied(bus, tmp_path / "copy")
    return tmp_path / "copy"


async def test_records_out_of_order_are_refused_with_their_line(
    bus: Bus, tmp_path: Path, copy: Path
) -> None:
    changed(copy, lambda lines: [*lines[:3], lines[4], lines[3], *lines[5:]])
    error = await refused(bus, tmp_path, copy)
    assert error.problem.code == "backup.malformed"
    said = "log.jsonl, line 5: expected is a record behind 4, found is record 3"
    assert error.problem.message.endswith(said)
    assert "another backup" in (error.problem.fix or "")


async def test_a_flipped_bit_of_an_id_is_refused_with_its_line(
    bus: Bus, tmp_path: Path, copy: Path
) -> None:
    changed(copy, lambda lines: [line.replace(b'"other1"', b'"othar1"') for line in lines])
    error = await refused(bus, tmp_path, copy)
    assert error.problem.code == "backup.malformed"
    assert "line 4: record 3 is not what was copied" in error.problem.message
    changed(copy, without(3))
    restored, _ = await taken(bus, tmp_path, copy)
    assert restored.missing == ((3, 3),), "as the advice says, the line can be taken out"


async def test_a_record_of_another_prefix_is_refused_before_the_stream_refuses_it(
    bus: Bus, tmp_path: Path, copy: Path
) -> None:
    changed(copy, rewritten(3, subject="else.log.1.r_1.fact"))
    error = await refused(bus, tmp_path, copy)
    assert error.problem.code == "backup.malformed"
    assert f"line 4: expected is a subject under {bus.subjects.log()}" in error.problem.message


async def test_a_first_record_that_says_another_log_is_refused(
    bus: Bus, tmp_path: Path, copy: Path
) -> None:
    changed(copy, rewritten(1, body="{}"))
    error = await refused(bus, tmp_path, copy)
    assert error.problem.code == "backup.malformed"
    assert "line 2: expected is record 1 of log" in error.problem.message


async def test_what_a_backup_lacks_without_a_note_is_accepted_only_when_that_is_said(
    bus: Bus, tmp_path: Path, copy: Path
) -> None:
    changed(copy, without(3))
    error = await refused(bus, tmp_path, copy)
    assert error.problem.code == "backup.damaged"
    assert "record 3 is missing, and its note does not say so" in error.problem.message
    assert "--accept-damage" in (error.problem.fix or "")
    restored, unclear = await taken(bus, tmp_path, copy)
    assert (restored.missing, restored.runs, restored.lost) == (((3, 3),), (), None)
    assert unclear == ((3, 3),), "nobody knows whose it was"
    assert (await raws(bus))[2].subject == bus.subjects.lost()


async def test_a_run_is_named_whose_chain_lacks_the_one_record_that_is_missing(
    bus: Bus, tmp_path: Path
) -> None:
    for seq, body in WHOLE:
        subject = bus.subjects.engine(RUN) if seq % 2 else bus.subjects.fact(RUN)
        await log_of(bus).append(subject, body, id=f"{seq}")
    await copied(bus, tmp_path / "copy")
    changed(tmp_path / "copy", without(2))
    error = await refused(bus, tmp_path, tmp_path / "copy")
    assert error.problem.message.endswith(f"runs: {RUN}"), "and nothing is unknown"
    restored, unclear = await taken(bus, tmp_path, tmp_path / "copy")
    assert (restored.missing, restored.runs, unclear) == (((2, 2),), (RUN,), ())


@pytest.mark.parametrize(("seq", "runs"), [(2, (RUN,)), (len(WHOLE) + 1, ())])
async def test_what_a_note_says_is_missing_is_done_without_and_what_it_does_not_know_is_said(
    bus: Bus, tmp_path: Path, seq: int, runs: tuple[str, ...]
) -> None:
    for n, body in WHOLE:
        subject = bus.subjects.engine(RUN) if n % 2 else bus.subjects.fact(RUN)
        await log_of(bus).append(subject, body, id=f"{n}")
    for n in range(2):
        await log_of(bus).append(bus.subjects.fact("r_2"), b"on", id=f"on{n}")
    await copied(bus, tmp_path / "copy")
    changed(tmp_path / "copy", without(seq))
    Backup(tmp_path / "copy").note(Lacking(upto=len(WHOLE) + 2, missing=((seq, seq),)))
    await delete(bus)
    work = await restoring(bus, tmp_path)
    restored = await work.from_backup(Backup(tmp_path / "copy"))
    await work.close()
    assert (restored.missing, restored.runs) == (((seq, seq),), runs)
    assert work.unclear == (() if runs else ((seq, seq),))


async def test_a_body_that_is_not_beside_its_record_names_its_run(
    bus: Bus, tmp_path: Path, copy: Path
) -> None:
    (blob,) = (copy / "blobs").iterdir()
    blob.write_bytes(b"another")
    error = await refused(bus, tmp_path, copy)
    assert error.problem.code == "backup.damaged"
    assert "r_big at 7: the body of record 7 is missing beside the log" in error.problem.message
    restored, unclear = await taken(bus, tmp_path, copy)
    assert (restored.runs, restored.missing, unclear) == (("r_big",), (), ())


async def test_a_record_that_is_not_the_one_that_was_acknowledged_ends_what_is_kept(
    bus: Bus, tmp_path: Path, copy: Path
) -> None:
    head = (await raws(bus))[-1].seq
    changed(copy, rewritten(head, id="lest"))
    error = await refused(bus, tmp_path, copy)
    assert error.problem.code == "backup.damaged"
    assert f"record {head} is not the one that was acknowledged" in error.problem.message
    restored, _ = await taken(bus, tmp_path, copy)
    assert restored.kept < head
    assert restored.lost == (restored.kept + 1, head)


async def test_what_does_not_fit_a_seal_is_accepted_only_when_that_is_said(
    bus: Bus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    partition, _ = await sealed(bus, 25, every=10)
    folder = tmp_path / "copy"
    await copied(bus, folder)
    changed(folder, rewritten(14, body="record x;"))
    error = await refused(bus, tmp_path, folder)
    assert error.problem.code == "backup.damaged"
    said = f"partition {partition}: seal 2 does not agree; lost: records 11 to 21"
    assert said in error.problem.message
    assert error.problem.message.endswith("not known which runs are hit within records 11 to 21")
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(backup_check, "_STRIDE", 10)
    backup_check.check(Backup(folder), bus.subjects, (), lambda done, of: told.append((done, of)))
    assert told == [(10, 27), (20, 27)], "long passes say how far they are"
    restored, unclear = await taken(bus, tmp_path, folder)
    assert (restored.missing, restored.runs, unclear) == ((), (), ((11, 21),))


async def test_a_backup_of_a_restored_log_is_whole(bus: Bus, tmp_path: Path, copy: Path) -> None:
    changed(copy, without(3))
    await taken(bus, tmp_path, copy)
    await log_of(bus).append(bus.subjects.fact("r_new"), b"new", id="new")
    await copied(bus, tmp_path / "again")
    await delete(bus)
    work = await restoring(bus, tmp_path)
    restored = await work.from_backup(Backup(tmp_path / "again"))
    await work.close()
    assert (restored.epoch, restored.missing, work.unclear) == (3, ((3, 3),), ())
