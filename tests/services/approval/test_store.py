"""The projection's store, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from partsong.approval.core.approval import Approval, Closure, Position
from partsong.approval.database import connect
from partsong.approval.store import START, Checkpoint, Diverged, Store
from partsong.contracts.errors import InvalidInput, Unavailable

Opens = Callable[[], Store]


def an_approval(seq: int, index: int = 0, **fields: object) -> Approval:
    asked = Approval(
        run_id="r_1",
        call_id=f"call:{seq}.{index}".replace(".", "_"),
        exec=f"call:{seq}",
        event=f"e{seq}",
        requested=Position(seq, index),
        requested_at="2026-01-01T12:00:00.000Z",
        title="May it?",
    )
    return replace(asked, **fields)  # type: ignore[arg-type]  # each caller names fields of Approval


def at(seq: int) -> Checkpoint:
    return Checkpoint(seq, f"id{seq}")


@pytest.fixture
async def opens(database: str) -> AsyncIterator[Opens]:
    """Opens the same database as another process would."""
    async with AsyncExitStack() as stack:

        def another() -> Store:
            store = Store(connect(database, Path("unused")))
            stack.push_async_callback(store.close)
            return store

        yield another


@pytest.fixture
async def store(opens: Opens) -> Store:
    store = opens()
    await store.open()
    return store


async def test_a_new_store_is_empty_and_stands_before_the_first_record(store: Store) -> None:
    assert await store.load() == (START, [])
    assert await store.page(limit=10) == []
    assert await store.get("r_1", "nothing:1") is None


async def test_an_approval_reads_back_as_it_was_saved(store: Store) -> None:
    closure = Closure(Position(2**40, 3), "e.decided", "approved", "now", "approve", "ann", "fine")
    approval = an_approval(
        2**33,
        7,
        call_id="review:1/t2/c0",
        detail="Ä €\n𝄞",
        context={"big": 2**90, "deep": [{"x": None}], "nul": "a\x00b", "half": 0.5},
        deadline="2026-01-02T12:00:00.000Z",
        otherwise="approve",
        guard=2**40,
        closure=closure,
    )
    await store.save([approval], at(2**40), known=0)
    assert await store.get("r_1", "review:1/t2/c0") == approval
    assert await store.load() == (at(2**40), [])


async def test_text_that_no_database_keeps_does_not_stop_the_projection(store: Store) -> None:
    await store.save([an_approval(1, title="a\x00b")], at(1), known=0)
    (found,) = await store.page(limit=1)
    assert found.title == "a\ufffdb"


async def test_pending_approvals_are_loaded_with_the_checkpoint(store: Store) -> None:
    closed = an_approval(2, closure=Closure(Position(3, 0), "c", "cancelled", "now"))
    await store.save([an_approval(1), closed], at(3), known=0)
    assert await store.load() == (at(3), [an_approval(1)])


async def test_records_that_are_stored_already_change_nothing(store: Store) -> None:
    await store.save([an_approval(1)], at(5), known=0)
    stale = an_approval(1, title="an older version")
    await store.save([stale, an_approval(4)], at(4), known=0)
    await store.save([stale], at(5), known=0)
    assert await store.load() == (at(5), [an_approval(1)])


async def test_a_store_behind_what_its_writer_knows_refuses_the_write(store: Store) -> None:
    await store.save([], at(5), known=0)
    with pytest.raises(Diverged):
        await store.save([an_approval(9)], at(9), known=8)
    assert await store.load() == (at(5), [])


async def test_of_two_resets_only_the_first_one_counts(store: Store) -> None:
    await store.save([an_approval(1)], at(5), known=0)
    await store.reset(at(5))
    assert await store.load() == (START, [])
    await store.save([an_approval(2)], at(2), known=0)
    await store.reset(at(5))
    assert await store.load() == (at(2), [an_approval(2)])


async def test_pages_go_from_the_newest_to_the_oldest(store: Store) -> None:
    rows = [an_approval(seq, index) for seq in (3, 10, 200) for index in (0, 1, 2)]
    await store.save(rows, at(200), known=0)
    newest_first = sorted(rows, key=lambda row: row.requested, reverse=True)
    seen: list[Approval] = []
    before: Position | None = None
    while page := await store.page(before=before, limit=2):
        assert len(page) <= 2
        seen += page
        before = page[-1].requested
    assert seen == newest_first


async def test_pages_can_be_of_one_run_and_one_status(store: Store) -> None:
    ended = Closure(Position(9, 0), "c", "expired", "now", "reject")
    mine, other = an_approval(1, closure=ended), an_approval(2, run_id="r_2", closure=ended)
    await store.save([mine, other, an_approval(3)], at(9), known=0)
    assert await store.page(status="expired", limit=9) == [other, mine]
    assert await store.page(status="expired", run_id="r_1", limit=9) == [mine]


async def test_tables_are_made_once_by_processes_that_start_together(opens: Opens) -> None:
    stores = [opens() for _ in range(6)]
    await asyncio.gather(*(store.open() for store in stores))
    await stores[0].save([an_approval(1)], at(1), known=0)
    await stores[1].open()
    assert await stores[5].load() == (at(1), [an_approval(1)])


async def test_processes_that_project_the_same_log_into_one_database_agree(opens: Opens) -> None:
    rows = [an_approval(seq) for seq in range(1, 61)]
    stores = [opens() for _ in range(8)]
    await asyncio.gather(*(store.open() for store in stores))

    async def project(store: Store, stride: int) -> None:
        known = 0
        while known < len(rows):
            upto = min(known + stride, len(rows))
            await store.save(rows[known:upto], at(upto), known=known)
            known = upto

    strides = zip(stores, (1, 3, 7), strict=False)
    await asyncio.gather(*(project(store, stride) for store, stride in strides))
    checkpoint, pending = await stores[0].load()
    assert checkpoint == at(60)
    assert sorted(pending, key=lambda row: row.requested) == rows


async def test_a_dropped_table_is_a_problem_until_the_store_is_opened_again(store: Store) -> None:
    async with store._engine.begin() as connection:
        await connection.exec_driver_sql("DROP TABLE approval_v2")
        await connection.exec_driver_sql("DROP TABLE approval_checkpoint_v2")
    with pytest.raises(Unavailable, match="cannot load the projection"):
        await store.load()
    await store.open()
    assert await store.load() == (START, [])


@pytest.mark.parametrize(
    "url", ["nonsense", "mysql://x/y", "sqlite://", "postgresql://host", "http://x"]
)
def test_a_url_of_no_database_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        connect(url, tmp_path)
    assert caught.value.problem.where == "PARTSONG_DATABASE_URL"


@pytest.mark.parametrize(
    ("given", "driver"),
    [
        ("postgres://me@host/db", "postgresql+asyncpg"),
        ("postgresql+psycopg://me@host/db", "postgresql+asyncpg"),
        ("sqlite:///{dir}/x/y.db", "sqlite+aiosqlite"),
        ("", "sqlite+aiosqlite"),
    ],
)
async def test_a_url_needs_no_driver(given: str, driver: str, tmp_path: Path) -> None:
    engine = connect(given.format(dir=tmp_path), tmp_path / "data")
    assert engine.url.drivername == driver
    await engine.dispose()


async def test_a_server_that_is_not_there_is_a_problem_that_may_pass() -> None:
    store = Store(connect(str(make_url("postgresql://me@127.0.0.1:1/db")), Path()))
    with pytest.raises(Unavailable) as caught:
        await store.open()
    assert caught.value.problem.retryable
    await store.close()
