"""Dependencies of functions and tools: made where the call runs, once, cleaned up behind it, and set by nobody else."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any

import fast_depends
import pytest
from pydantic import JsonValue

from partsong.contracts.errors import Conflict, InvalidInput
from partsong.contracts.events import CallCompleted, CallFailed
from partsong.contracts.wire.work import FunctionWork, ToolWork
from partsong.execution.executor import Closed, Executor
from partsong.execution.functions import Functions
from partsong.execution.user_loops import UserLoops
from partsong.tools import Depends, NodeContext, ToolRegistry, tool

Call = Callable[..., Any]


@pytest.fixture(params=["here", "loops"])
async def loops(request: pytest.FixtureRequest) -> AsyncIterator[UserLoops | None]:
    """As in the user's own process, and as in a tool-runner."""
    if request.param == "here":
        yield None
        return
    made = UserLoops()
    yield made
    await made.close()


@pytest.fixture
async def call(loops: UserLoops | None) -> AsyncIterator[Call]:
    executors: list[Executor] = []

    async def called(function: Call, **state: JsonValue) -> Closed:
        executor = Executor(Functions.local({"m:f": function}), ToolRegistry(), loops=loops)
        executors.append(executor)
        work = FunctionWork(run_id="r", call_id="f:1", node="f", function="m:f", state=state)
        return await executor.run(work, lambda _: None)

    yield called
    for executor in executors:
        executor.close()


@pytest.fixture
async def use(loops: UserLoops | None) -> AsyncIterator[Call]:
    executors: list[Executor] = []

    async def used(made: Any, **args: JsonValue) -> Closed:
        executor = Executor(Functions(), ToolRegistry([made]), loops=loops)
        executors.append(executor)
        work = ToolWork(
            run_id="r", call_id="t:1", node="t", tool=made.name, args=args, approved="x"
        )
        return await executor.run(work, lambda _: None)

    yield used
    for executor in executors:
        executor.close()


class Db:
    def __init__(self, name: str = "db") -> None:
        self.name = name
        self.said: list[str] = []


@functools.cache
def the_db() -> Db:
    return Db("one for all")


async def awaited_db() -> Db:
    await asyncio.sleep(0)
    return Db("awaited")


def with_context(context: NodeContext) -> Db:
    return Db(f"{context.run_id} {context.node}")


SAID: list[str] = []


def cleaned() -> Iterator[Db]:
    db = Db("cleaned")
    SAID.append("open")
    try:
        yield db
    except ValueError:
        SAID.append("undone")
        raise
    else:
        SAID.append("kept")
    finally:
        SAID.append("closed")


async def cleaned_async() -> AsyncIterator[Db]:
    SAID.append("open")
    try:
        yield Db("cleaned")
    except ValueError:
        SAID.append("undone")
        raise
    else:
        SAID.append("kept")
    finally:
        await asyncio.sleep(0)
        SAID.append("closed")


def session(db: Annotated[Db, Depends(the_db)], other: Annotated[Db, Depends(awaited_db)]) -> Db:
    return Db(f"{db.name} + {other.name}")


def both(make: Call) -> list[Call]:
    """The same function, sync and async."""

    def sync(state: dict[str, JsonValue], db: Annotated[Db, Depends(make)]) -> dict[str, object]:
        return {"db": db.name, "state": dict(state)}

    async def waits(
        state: dict[str, JsonValue], db: Annotated[Db, Depends(make)]
    ) -> dict[str, object]:
        await asyncio.sleep(0)
        return {"db": db.name, "state": dict(state)}

    for one in (sync, waits):
        one.__annotations__["db"] = Annotated[Db, Depends(make)]
        one.__annotations__["state"] = dict[str, JsonValue]
    return [sync, waits]


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (the_db, "one for all"),
        (awaited_db, "awaited"),
        (with_context, "r f"),
        (cleaned, "cleaned"),
        (cleaned_async, "cleaned"),
        (session, "one for all + awaited"),
        (Db, "db"),
        (functools.partial(Db, "partial"), "partial"),
    ],
)
async def test_a_function_is_given_what_it_depends_on(call: Call, make: Call, name: str) -> None:
    for function in both(make):
        done = await call(function, x=1)
        assert isinstance(done, CallCompleted), done
        assert done.update == {"db": name, "state": {"x": 1}}


async def test_no_state_sets_it(call: Call) -> None:
    for function in both(the_db):
        done = await call(function, db="mine")
        assert isinstance(done, CallCompleted)
        assert done.update == {"db": "one for all", "state": {"db": "mine"}}


async def test_a_tool_is_given_what_no_model_sees_or_sets(use: Call) -> None:
    @tool(side_effect="read")
    async def lookup(
        article: str, db: Annotated[Db, Depends(session)], context: NodeContext
    ) -> str:
        """Looks up.

        Args:
            article: Its number.
            db: Nothing of yours.
        """
        return f"{article} in {db.name} for {context.node}"

    @tool(side_effect="read")
    def default(article: str, db: Db = Depends(the_db)) -> str:  # noqa: B008
        """Looks up."""
        return f"{article} in {db.name}"

    for made in (lookup, default):
        assert list(made.parameters.schema["properties"]) == ["article"]  # type: ignore[arg-type]
        refused = await use(made, article="A", db="mine")
        assert isinstance(refused, CallFailed)
        assert refused.error.code == "tool.invalid_arguments"
    done = await use(lookup, article="A")
    assert isinstance(done, CallCompleted)
    assert done.content == "A in one for all + awaited for t"
    done = await use(default, article="A")
    assert isinstance(done, CallCompleted)
    assert done.content == "A in one for all"


@pytest.mark.parametrize("make", [cleaned, cleaned_async])
async def test_clean_up_follows_the_call_and_knows_how_it_went(call: Call, make: Call) -> None:
    def fails(state: dict[str, JsonValue], db: Db) -> None:
        raise ValueError("no luck")

    async def fails_async(state: dict[str, JsonValue], db: Db) -> None:
        raise ValueError("no luck")

    for good, bad in zip(both(make), (fails, fails_async), strict=True):
        bad.__annotations__["db"] = Annotated[Db, Depends(make)]
        SAID.clear()
        assert isinstance(await call(good), CallCompleted)
        assert SAID == ["open", "kept", "closed"]
        SAID.clear()
        failed = await call(bad)
        assert SAID == ["open", "undone", "closed"]
        assert isinstance(failed, CallFailed)
        assert (failed.error.code, failed.error.message) == (
            "function.raised",
            "ValueError: no luck",
        )


async def test_each_is_made_once_a_call_unless_it_says_otherwise(call: Call) -> None:
    made: list[Db] = []

    def fresh() -> Db:
        made.append(Db())
        return made[-1]

    def holder(db: Db) -> Db:
        return db

    holder.__annotations__["db"] = Annotated[Db, Depends(fresh)]

    def function(state: object, a: object, b: object, c: object) -> dict[str, bool]:
        return {"ab": a is b, "ac": a is c}

    function.__annotations__.update(
        a=Annotated[Db, Depends(fresh)],
        b=Annotated[Db, Depends(holder)],
        c=Annotated[Db, Depends(fresh, use_cache=False)],
    )
    for times in (1, 2):
        done = await call(function)
        assert isinstance(done, CallCompleted)
        assert done.update == {"ab": True, "ac": False}
        assert len(made) == 2 * times


def connection() -> Iterator[sqlite3.Connection]:
    made = sqlite3.connect(":memory:")
    yield made
    made.close()


async def test_what_is_bound_to_a_thread_is_used_where_it_was_made(call: Call) -> None:
    def mixed(
        state: dict[str, JsonValue],
        db: Annotated[Db, Depends(awaited_db)],
        sql: Annotated[sqlite3.Connection, Depends(connection)],
    ) -> dict[str, object]:
        return {"found": sql.execute("SELECT 42").fetchone()[0]}

    def plain(
        state: dict[str, JsonValue], sql: Annotated[sqlite3.Connection, Depends(connection)]
    ) -> dict[str, object]:
        return {"found": sql.execute("SELECT 42").fetchone()[0]}

    async def waits(
        state: dict[str, JsonValue], sql: Annotated[sqlite3.Connection, Depends(connection)]
    ) -> dict[str, object]:
        return {"found": sql.execute("SELECT 42").fetchone()[0]}

    for function in (mixed, plain, waits):
        done = await call(function)
        assert isinstance(done, CallCompleted), done
        assert done.update == {"found": 42}


async def test_a_sync_function_blocks_no_loop_for_what_it_awaits(call: Call) -> None:
    def function(
        state: dict[str, JsonValue], db: Annotated[Db, Depends(awaited_db)]
    ) -> dict[str, object]:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        return {"main": threading.current_thread() is threading.main_thread()}

    done = await call(function)
    assert isinstance(done, CallCompleted)
    assert done.update == {"main": False}


def broken() -> Db:
    raise ConnectionError("no such host")


def refusing() -> Db:
    raise Conflict("db.busy", "busy", fix="wait")


def badly_closed() -> Iterator[Db]:
    yield Db()
    raise OSError("disk full")


async def broken_async() -> Db:
    raise ConnectionError("no such host")


async def badly_closed_async() -> AsyncIterator[Db]:
    yield Db()
    raise OSError("disk full")


@pytest.mark.parametrize(
    ("make", "code", "message"),
    [
        (broken, "depends.failed", "dependency broken: ConnectionError: no such host"),
        (broken_async, "depends.failed", "dependency broken_async: ConnectionError: no such host"),
        (badly_closed, "depends.failed", "dependency badly_closed: OSError: disk full"),
        (badly_closed_async, "depends.failed", "dependency badly_closed_async: OSError: disk full"),
        (refusing, "db.busy", "busy"),
    ],
)
async def test_a_dependency_that_fails_is_named(
    call: Call, make: Call, code: str, message: str
) -> None:
    for function in both(make):
        failed = await call(function)
        assert isinstance(failed, CallFailed), failed
        assert (failed.error.code, failed.error.message) == (code, message)
        assert "test_dependencies.py:" in (failed.error.where or "")


async def test_a_dependency_that_swallows_what_the_call_raised_makes_no_result_of_it(
    call: Call,
) -> None:
    def swallows() -> Iterator[Db]:
        with contextlib.suppress(ValueError):
            yield Db()

    def function(state: object, db: Db) -> None:
        raise ValueError("no luck")

    function.__annotations__["db"] = Annotated[Db, Depends(swallows)]
    failed = await call(function)
    assert isinstance(failed, CallFailed)
    assert failed.error.message == "ValueError: no luck"


async def test_the_markers_of_fast_depends_mean_the_same(call: Call) -> None:
    def function(
        state: dict[str, JsonValue], db: Annotated[Db, fast_depends.Depends(the_db)]
    ) -> dict[str, object]:
        return {"db": db.name}

    done = await call(function)
    assert isinstance(done, CallCompleted)
    assert done.update == {"db": "one for all"}


def test_what_cannot_be_made_is_refused_when_it_is_looked_up() -> None:
    def wants(name: str) -> Db:
        return Db(name)

    def function(state: object, db: Db) -> None: ...

    function.__annotations__["db"] = Annotated[Db, Depends(wants)]
    with pytest.raises(InvalidInput, match="nobody gives it name") as caught:
        Functions.local({"m:f": function}).get("m:f")
    assert caught.value.problem.code == "depends.bad_signature"

    def around(db: Db) -> Db:
        return db

    around.__annotations__["db"] = Annotated[Db, Depends(around)]
    function.__annotations__["db"] = Annotated[Db, Depends(around)]
    with pytest.raises(InvalidInput, match=r"depends\.cycle"):
        Functions.local({"m:f": function}).get("m:f")
