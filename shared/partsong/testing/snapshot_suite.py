"""What every `Snapshots` promises, as tests: subclass a suite and provide its fixtures.

    class TestMySnapshots(SnapshotSuite):
        @pytest.fixture
        async def snapshots(self, retention: Retention) -> AsyncIterator[Snapshots]: ...

It must be empty at first. One that outlives its process takes `DurableSnapshotSuite`, and two fixtures more.
"""

# ruff: noqa: D102 — a test's name is its docstring

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Protocol

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from partsong.contracts.errors import InvalidInput
from partsong.log.snapshots.port import Snapshot, Snapshots
from partsong.log.snapshots.retention import Retention

__all__ = ["DurableSnapshotSuite", "Pieces", "Reopen", "SnapshotSuite"]

Reopen = Callable[[], Awaitable[Snapshots]]
"""Opens the same store once more, as another process would."""

_RUN = "r_01"
_NEIGHBOURS = ("r", "r_1", "r_011", "R_01", "r_01/a:b~c@d+e=f", "r-01", "x" * 199, "x" * 200)


class Pieces(Protocol):
    """What a store has of one snapshot, raw: the names of the pieces, and ways to spoil them."""

    async def read(self, run_id: str, seq: int) -> Mapping[str, bytes]:
        """All pieces by their names, in the same order for every snapshot of the same size."""
        ...

    async def write(self, name: str, data: bytes | None) -> None:
        """Change one; None removes it."""
        ...


def _a_snapshot(seq: int, *, run_id: str = _RUN, version: str = "v1", size: int = 40) -> Snapshot:
    """One whose body tells it from all others."""
    body = (f"{run_id} {seq} {version} ".encode() * (size // 8 + 1))[:size]
    return Snapshot(run_id, seq, version, body, hash=f"hash of {run_id} up to {seq}")


_Step = tuple[str, int, str, bytes]
_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "put", "put", "put", "delete"]),
        st.integers(1, 20),
        st.sampled_from(["v1", "v2"]),
        st.binary(max_size=8),
    ),
    max_size=14,
)


class _Model:
    """The promise in its shortest form."""

    def __init__(self, retention: Retention) -> None:
        self._retention = retention
        self.kept: dict[int, Snapshot] = {}

    def put(self, snapshot: Snapshot) -> None:
        self.kept[snapshot.seq] = snapshot
        for seq in self._retention.surplus(self.kept):
            del self.kept[seq]

    def newest(self, up_to: int, version: str | None) -> Snapshot | None:
        fit = [s for s in self.kept.values() if s.seq <= up_to and version in {None, s.version}]
        return max(fit, key=lambda snapshot: snapshot.seq, default=None)


class SnapshotSuite:
    """The promises of the port."""

    @pytest.fixture
    def retention(self) -> Retention:
        """How many the store keeps of each run."""
        return Retention(3, 4)

    async def test_an_empty_store_has_nothing(self, snapshots: Snapshots) -> None:
        assert await snapshots.newest(_RUN) is None
        assert await snapshots.newest(_RUN, up_to=7, version="v1") is None
        assert await snapshots.list(_RUN) == []
        await snapshots.delete(_RUN)

    @pytest.mark.parametrize("size", [0, 1, 255 * 1024, 300 * 1024, 2 * 1024 * 1024])
    async def test_a_body_of_any_size_reads_back(self, snapshots: Snapshots, size: int) -> None:
        snapshot = _a_snapshot(7, size=size)
        await snapshots.put(snapshot)
        assert await snapshots.newest(_RUN) == snapshot

    async def test_any_bytes_and_any_text_read_back(self, snapshots: Snapshots) -> None:
        body = bytes(range(256)) + b'\n{"run":"r"}\n\r\n'
        snapshot = Snapshot(_RUN, 2**53 + 1, "v 1.2\n\"'* é🎼", body, hash="日本 \x00\\")
        await snapshots.put(snapshot)
        assert await snapshots.newest(_RUN) == snapshot
        assert await snapshots.newest(_RUN, version=snapshot.version) == snapshot

    async def test_newest_is_by_sequence_and_not_by_time(self, snapshots: Snapshots) -> None:
        for seq in (9, 100, 20):
            await snapshots.put(_a_snapshot(seq))
        assert await snapshots.newest(_RUN) == _a_snapshot(100)
        assert await snapshots.list(_RUN) == [9, 20, 100]

    @pytest.mark.parametrize(
        ("up_to", "found"), [(8, None), (9, 9), (10, 9), (99, 20), (100, 100), (10**9, 100)]
    )
    async def test_newest_is_not_above_what_is_asked(
        self, snapshots: Snapshots, up_to: int, found: int | None
    ) -> None:
        for seq in (9, 20, 100):
            await snapshots.put(_a_snapshot(seq))
        expected = _a_snapshot(found) if found else None
        assert await snapshots.newest(_RUN, up_to=up_to) == expected

    async def test_a_foreign_version_is_passed_over_where_one_is_asked_for(
        self, snapshots: Snapshots
    ) -> None:
        for seq, version in [(1, "v1"), (2, "v1"), (3, "v2"), (4, "v1 ")]:
            await snapshots.put(_a_snapshot(seq, version=version))
        assert await snapshots.newest(_RUN) == _a_snapshot(4, version="v1 ")
        assert await snapshots.newest(_RUN, version="v1") == _a_snapshot(2)
        assert await snapshots.newest(_RUN, version="v2", up_to=2) is None
        assert await snapshots.newest(_RUN, version="v3") is None

    async def test_a_put_takes_the_place_of_another(self, snapshots: Snapshots) -> None:
        for size in (600_000, 10, 600_000):
            for version in ("v1", "v2"):
                snapshot = _a_snapshot(7, version=version, size=size)
                await snapshots.put(snapshot)
                assert await snapshots.newest(_RUN) == snapshot
        assert await snapshots.list(_RUN) == [7]

    async def test_concurrent_puts_of_one_sequence_leave_one_of_them_whole(
        self, snapshots: Snapshots
    ) -> None:
        snapshots_of_seven = [_a_snapshot(7, version=f"v{n}", size=400_000) for n in range(6)]
        await asyncio.gather(*map(snapshots.put, snapshots_of_seven))
        assert await snapshots.newest(_RUN) in snapshots_of_seven
        assert await snapshots.list(_RUN) == [7]

    async def test_a_reader_finds_the_old_or_the_new_while_one_takes_the_others_place(
        self, snapshots: Snapshots
    ) -> None:
        both = [_a_snapshot(7, version=version, size=400_000) for version in ("v1", "v2")]
        await snapshots.put(both[0])

        async def write() -> None:
            for n in range(10):
                await snapshots.put(both[n % 2])

        writing = asyncio.create_task(write())
        while not writing.done():
            assert await snapshots.newest(_RUN) in both
            await asyncio.sleep(0)
        await writing

    async def test_concurrent_puts_of_many_sequences_all_stay(
        self, snapshots: Snapshots, retention: Retention
    ) -> None:
        seqs = range(1, retention.newest + retention.older + 1)
        await asyncio.gather(*(snapshots.put(_a_snapshot(seq)) for seq in seqs))
        assert await snapshots.list(_RUN) == list(seqs)
        for seq in seqs:
            assert await snapshots.newest(_RUN, up_to=seq) == _a_snapshot(seq)

    async def test_runs_do_not_see_each_other(self, snapshots: Snapshots) -> None:
        for n, run_id in enumerate(_NEIGHBOURS, start=1):
            await snapshots.put(_a_snapshot(n, run_id=run_id))
        assert await snapshots.newest(_RUN) is None
        await snapshots.put(_a_snapshot(50))
        await snapshots.delete(_RUN)
        for n, run_id in enumerate(_NEIGHBOURS, start=1):
            assert await snapshots.list(run_id) == [n]
            assert await snapshots.newest(run_id) == _a_snapshot(n, run_id=run_id)

    async def test_what_is_deleted_is_gone_and_can_be_put_again(self, snapshots: Snapshots) -> None:
        for seq in (1, 2, 3):
            await snapshots.put(_a_snapshot(seq, size=300_000))
        await snapshots.delete(_RUN)
        assert await snapshots.newest(_RUN) is None
        assert await snapshots.list(_RUN) == []
        await snapshots.put(_a_snapshot(2, size=300_000))
        assert await snapshots.newest(_RUN) == _a_snapshot(2, size=300_000)
        assert await snapshots.list(_RUN) == [2]

    async def test_deleting_while_others_put_leaves_what_is_whole(
        self, snapshots: Snapshots
    ) -> None:
        puts = (snapshots.put(_a_snapshot(seq, size=300_000)) for seq in range(1, 6))
        await asyncio.gather(*puts, *(snapshots.delete(_RUN) for _ in range(5)))
        newest = await snapshots.newest(_RUN)
        assert newest is None or newest == _a_snapshot(newest.seq, size=300_000)
        await snapshots.put(_a_snapshot(9))
        assert await snapshots.newest(_RUN) == _a_snapshot(9)

    async def test_of_many_a_bounded_number_is_kept_the_newest_and_spread_older_ones(
        self, snapshots: Snapshots, retention: Retention
    ) -> None:
        for seq in range(10, 510, 10):
            await snapshots.put(_a_snapshot(seq))
        seqs = list(await snapshots.list(_RUN))
        assert len(seqs) == retention.newest + retention.older
        assert seqs[-retention.newest :] == [480, 490, 500]
        assert max(b - a for a, b in itertools.pairwise([0, *seqs])) <= 2 * 500 / retention.older
        for seq in seqs:
            assert await snapshots.newest(_RUN, up_to=seq) == _a_snapshot(seq)

    @pytest.mark.parametrize("run_id", ["", "a.b", "*", ">", "a b", "a\n", "x" * 201])
    async def test_a_run_id_that_is_none_is_refused(
        self, snapshots: Snapshots, run_id: str
    ) -> None:
        for refused in (
            snapshots.put(_a_snapshot(1, run_id=run_id)),
            snapshots.newest(run_id),
            snapshots.list(run_id),
            snapshots.delete(run_id),
        ):
            with pytest.raises(InvalidInput) as invalid:
                await refused
            assert invalid.value.problem.code == "id.invalid"

    async def test_a_sequence_below_one_is_refused(self, snapshots: Snapshots) -> None:
        with pytest.raises(InvalidInput) as invalid:
            await snapshots.put(_a_snapshot(0))
        assert invalid.value.problem.code == "snapshots.no_sequence"

    @settings(
        max_examples=25,
        deadline=None,
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,  # each example starts by emptying the store
            HealthCheck.differing_executors,  # each adapter is one
        ],
    )
    @given(steps=_STEPS)
    async def test_it_behaves_like_a_dictionary(
        self, snapshots: Snapshots, retention: Retention, steps: list[_Step]
    ) -> None:
        model = _Model(retention)
        await snapshots.delete(_RUN)
        for step, seq, version, body in steps:
            if step == "put":
                snapshot = replace(_a_snapshot(seq, version=version), body=body)
                model.put(snapshot)
                await snapshots.put(snapshot)
            else:
                model.kept.clear()
                await snapshots.delete(_RUN)
            assert await snapshots.list(_RUN) == sorted(model.kept)
            assert await snapshots.newest(_RUN) == model.newest(20, None)
            assert await snapshots.newest(_RUN, up_to=seq, version=version) == model.newest(
                seq, version
            )


_DAMAGE: Mapping[str, Callable[[bytes], bytes | None]] = {
    "lost": lambda _: None,
    "emptied": lambda _: b"",
    "torn in the middle": lambda data: data[: len(data) // 2],
    "torn at the end": lambda data: data[:-1],
    "longer": lambda data: data + b"}",
    "a bit flipped at the start": lambda data: bytes([data[0] ^ 1]) + data[1:],
    "a bit flipped in the middle": lambda data: (
        data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]
    ),
    "a bit flipped at the end": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    "something else": lambda _: b"\xff[[[[",
}


class DurableSnapshotSuite(SnapshotSuite):
    """The promises of a store that outlives its process; needs the fixtures `reopen` and `pieces`."""

    async def test_what_was_put_is_there_after_reopening(
        self, snapshots: Snapshots, reopen: Reopen
    ) -> None:
        kept = [_a_snapshot(1, version="v2"), _a_snapshot(2, size=300_000)]
        for snapshot in kept:
            await snapshots.put(snapshot)
        again = await reopen()
        assert await again.list(_RUN) == [1, 2]
        assert [await again.newest(_RUN, up_to=seq) for seq in (1, 2)] == kept

    @pytest.mark.parametrize("damage", _DAMAGE)
    async def test_what_is_damaged_reads_as_absent_and_can_be_put_again(
        self, snapshots: Snapshots, pieces: Pieces, damage: str
    ) -> None:
        older, newer = _a_snapshot(7, size=300_000), _a_snapshot(8, size=600_000)
        await snapshots.put(older)
        await snapshots.put(newer)
        stored = await pieces.read(_RUN, 8)
        assert sum(map(len, stored.values())) > 600_000
        for name, data in stored.items():
            await pieces.write(name, _DAMAGE[damage](data))
            assert await snapshots.newest(_RUN) == older, name
            assert await snapshots.newest(_RUN, version="v1") == older, name
            assert set(await snapshots.list(_RUN)) - {8} == {7}
            await snapshots.put(newer)
            assert await snapshots.newest(_RUN) == newer, name

    @pytest.mark.parametrize(
        "other", [_a_snapshot(5, size=600_000), _a_snapshot(8, run_id="r_02", size=600_000)]
    )
    async def test_what_belongs_elsewhere_reads_as_absent(
        self, snapshots: Snapshots, pieces: Pieces, other: Snapshot
    ) -> None:
        await snapshots.put(_a_snapshot(8, size=600_000))
        await snapshots.put(other)
        strange = await pieces.read(other.run_id, other.seq)
        own = await pieces.read(_RUN, 8)
        assert len(own) == len(strange)
        for name, data in zip(own, strange.values(), strict=True):
            await pieces.write(name, data)
        assert await snapshots.newest(_RUN) == (other if other.run_id == _RUN else None)

    async def test_two_processes_share_it(self, snapshots: Snapshots, reopen: Reopen) -> None:
        other = await reopen()
        await asyncio.gather(
            *(
                store.put(_a_snapshot(seq, size=300_000))
                for seq in range(1, 8)
                for store in (snapshots, other)
            )
        )
        assert await other.list(_RUN) == await snapshots.list(_RUN) == list(range(1, 8))
        assert await other.newest(_RUN) == _a_snapshot(7, size=300_000)
