"""The client over a real NATS, with the test in the engine's place: answers that get lost, chunks that do, runs that end."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar, cast

import pytest
from nats.aio.msg import Msg

from partsong.client import Client
from partsong.client.live import chunks_of
from partsong.client.where import find_http, find_nats, settings_nearby
from partsong.contracts import events as e
from partsong.contracts.errors import InvalidInput, NotFound, Problem, Unavailable
from partsong.contracts.graph.validate import parse_graph
from partsong.contracts.state.fold import fold_all
from partsong.contracts.talk.chunks import Chunk, End, Text
from partsong.contracts.wire.requests import (
    Accepted,
    ForkRequest,
    Rejected,
    Request,
    RunRequest,
    parse_request,
)
from partsong.engine.commands import runs
from partsong.engine.decide import decide
from partsong.engine.ledger import Ledger
from partsong.log.memory import MemoryLog
from partsong.testing.nats import Bus, fresh_subjects

NOW = "2026-01-01T00:00:00.000Z"
GRAPH = {"name": "one", "nodes": {"a": {"type": "function", "function": "m:a"}}}
WITHIN = 30.0


@pytest.fixture
async def client(bus: Bus) -> AsyncIterator[Client]:
    async with Client(bus.url, prefix=bus.subjects.prefix, timeout=WITHIN) as connected:
        yield connected


@pytest.fixture
async def hasty(bus: Bus) -> AsyncIterator[Client]:
    """A client that soon gives up waiting for an answer."""
    async with Client(bus.url, prefix=bus.subjects.prefix, timeout=0.3) as connected:
        yield connected


def impatient(bus: Bus) -> Client:
    """A client that gives an engine time to carry out what is asked, and then waits for no answer."""
    return Client(bus.url, prefix=bus.subjects.prefix, timeout=3.0)


class Engine:
    """Commits what a test says to a run's log."""

    def __init__(self, bus: Bus, client: Client, run_id: str) -> None:
        self.run_id, self.client = run_id, client
        self.ledger = Ledger(client.log, bus.subjects, run_id)

    async def commit(self, *events: e.Event) -> int:
        state = fold_all(self.ledger.state, events)
        decision = decide(state, NOW)
        headers = {
            "Partsong-Status": decision.state.phase,
            "Partsong-Graph": "one",
            "Partsong-Started": NOW,
        }
        everything = (*events, *decision.events)
        seq = await self.ledger.commit(everything, decision.state, headers)
        self.ledger.settle()
        return seq

    async def start(self, request_id: str = "q") -> int:
        graph = parse_graph(GRAPH)
        return await self.commit(
            *runs.start(self.run_id, graph, {"x": 1}, e.RunOptions(), request_id, NOW)
        )

    async def finish(self) -> int:
        done = e.CallCompleted(
            id=f"{self.run_id}.a:1.1.done", time=NOW, call_id="a:1", attempt=1, update={"y": 2}
        )
        return await self.commit(done)


Asked = TypeVar("Asked", bound=Request)


@asynccontextmanager
async def at_the_door(
    bus: Bus, answer: Callable[[Asked], Awaitable[object]]
) -> AsyncIterator[None]:
    """Hear requests as an engine does, and answer them with what `answer` returns, if it returns anything."""

    async def take(msg: Msg) -> None:
        request = parse_request(bus.subjects.parse_request(msg.subject).verb, msg.data)
        reply = await answer(cast("Asked", request))
        if isinstance(reply, Accepted | Rejected):
            await bus.nc.publish(bus.subjects.reply(request.id), reply.model_dump_json().encode())

    sub = await bus.nc.subscribe(bus.subjects.requests(), cb=take)
    await bus.nc.jetstream().account_info()  # a round trip: flush() overtakes what waits to be sent
    try:
        yield
    finally:
        await sub.unsubscribe()


async def test_a_run_that_is_accepted_has_the_id_of_the_answer(bus: Bus, client: Client) -> None:
    async def accept(request: RunRequest) -> Accepted:
        return Accepted(id=request.id, run_id=str(request.run_id), seq=1)

    async with at_the_door(bus, accept):
        assert await client.start(GRAPH, run_id="r_mine") == "r_mine"
        assert (await client.start(GRAPH)).startswith("r_")


async def test_a_refused_request_raises_the_engines_own_problem(bus: Bus, client: Client) -> None:
    problem = Problem(code="graph.unknown_target", message="no node b", where="edges[0].to")

    async def refuse(request: RunRequest) -> Rejected:
        return Rejected(id=request.id, error=problem)

    async with at_the_door(bus, refuse):
        with pytest.raises(InvalidInput) as refused:
            await client.start(GRAPH)
    assert refused.value.problem == problem


async def test_without_an_engine_the_error_names_the_run_so_that_it_can_be_asked_for_again(
    hasty: Client,
) -> None:
    with pytest.raises(Unavailable) as silent:
        await hasty.start(GRAPH)
    problem = silent.value.problem
    assert problem.code == "request.no_answer"
    assert problem.retryable
    assert (problem.where or "").startswith("run_id=r_")


async def test_a_lost_answer_to_a_request_that_was_carried_out_is_no_error(
    bus: Bus, client: Client
) -> None:
    async def carry_out(request: RunRequest) -> None:
        await Engine(bus, client, str(request.run_id)).start(request.id)

    async with (
        impatient(bus) as asking,
        at_the_door(bus, carry_out),
    ):
        run_id = await asking.start(GRAPH)
    assert (await client.state(run_id)).status == "running"


async def test_a_fork_whose_answer_is_lost_is_found(bus: Bus, client: Client) -> None:
    first = await Engine(bus, client, "r_1").start()

    async def carry_out(request: ForkRequest) -> None:
        run_id, source = str(request.new_run_id), await client.state("r_1")
        await Engine(bus, client, run_id).commit(
            *runs.fork(source, first, run_id, (), request.id, NOW)
        )

    async with impatient(bus) as asking, at_the_door(bus, carry_out):
        fork = await asking.fork("r_1", first)
    assert [origin.run_id for origin in await client.lineage(fork)] == ["r_1"]


async def test_a_lost_answer_is_an_error_if_another_request_began_the_run(
    bus: Bus, client: Client, hasty: Client
) -> None:
    await Engine(bus, client, "r_mine").start("another request")
    with pytest.raises(Unavailable, match="no engine answered"):
        await hasty.start(GRAPH, run_id="r_mine")


async def test_input_that_is_not_json_is_refused_before_it_is_sent(client: Client) -> None:
    with pytest.raises(InvalidInput) as refused:
        await client.start(GRAPH, {"when": object()})
    assert refused.value.problem.code == "request.malformed"
    assert (refused.value.problem.where or "").startswith("input.when")


async def test_a_bus_without_streams_is_said(bus: Bus) -> None:
    prefix = fresh_subjects().prefix
    async with Client(bus.url, prefix=prefix) as stranger:
        with pytest.raises(Unavailable) as missing:
            await stranger.start(GRAPH)
    problem = missing.value.problem
    assert problem.code == "request.not_stored"
    assert f"{prefix.upper()}_REQUESTS, the stream of requests, is not there" in problem.message
    assert "Error" not in problem.message, "no name of a class"
    assert "the prefix" in str(problem.fix)
    assert "restart `partsong up` or any service" in str(problem.fix)


async def test_a_request_that_the_stream_refuses_is_told_in_the_servers_words(bus: Bus) -> None:
    js = bus.nc.jetstream()
    config = (await js.stream_info(bus.names.requests)).config
    await js.update_stream(config.evolve(max_msg_size=10))
    async with Client(bus.url, prefix=bus.subjects.prefix) as client:
        with pytest.raises(Unavailable, match=r"message size exceeds maximum.*\(\d+\)") as refused:
            await client.cancel("r_1")
    assert refused.value.problem.code == "request.not_stored"
    assert "partsong doctor" in str(refused.value.problem.fix)


async def test_an_unknown_run_is_not_found_whatever_is_asked(client: Client) -> None:
    with pytest.raises(NotFound):
        await client.result("r_nobody", timeout=WITHIN)
    with pytest.raises(NotFound):
        await client.state("r_nobody")
    with pytest.raises(NotFound):
        await client.replay("r_nobody")
    with pytest.raises(NotFound):
        await anext(client.events("r_nobody", follow=True))
    with pytest.raises(NotFound):
        await anext(client.stream("r_nobody"))


async def test_following_a_run_ends_when_it_ends_also_from_behind_its_end(
    bus: Bus, client: Client
) -> None:
    engine = Engine(bus, client, "r_1")
    await engine.start()

    async def follow(after: int = 0) -> list[str]:
        async with asyncio.timeout(WITHIN):
            return [p.event.type async for p in client.events("r_1", after=after, follow=True)]

    following = asyncio.create_task(follow())
    end = await engine.finish()
    kinds = await following
    assert kinds[0] == "run.started"
    assert kinds[-1] == "run.completed"
    assert await follow() == kinds
    assert await follow(after=end) == []


async def test_a_result_that_does_not_come_in_time_says_how_the_run_stands(
    bus: Bus, client: Client
) -> None:
    await Engine(bus, client, "r_1").start()
    with pytest.raises(TimeoutError, match="run r_1 is running; it has not ended within 2s"):
        await client.result("r_1", timeout=2)


async def test_a_result_has_the_state_the_events_and_the_status(bus: Bus, client: Client) -> None:
    engine = Engine(bus, client, "r_1")
    await engine.start()
    await engine.finish()
    result = await client.result("r_1", timeout=WITHIN)
    assert dict(result.raise_for_status()) == {"x": 1, "y": 2}
    assert result.events[0].type == "run.started"
    assert (await client.replay("r_1")).state.values == result.state


async def test_the_state_before_the_beginning_is_not_found(bus: Bus, client: Client) -> None:
    first = await Engine(bus, client, "r_1").start()
    assert (await client.state("r_1", at=first)).status == "running"
    with pytest.raises(NotFound, match=f"r_1 at {first - 1}"):
        await client.state("r_1", at=first - 1)


async def test_a_record_where_nobody_of_ours_writes_breaks_no_list(
    bus: Bus, client: Client
) -> None:
    await Engine(bus, client, "r_1").start()
    await bus.nc.jetstream().publish(f"{bus.subjects.prefix}.log.odd.r_2.engine", b"odd")
    assert [run.run_id for run in await client.runs()] == ["r_1"]


@pytest.mark.parametrize("origin", ["r_1@", "r_1@x", "@7", "r_1@" + "9" * 4_000])
async def test_headers_that_anybody_may_have_written_break_no_list(
    bus: Bus, client: Client, origin: str
) -> None:
    await Engine(bus, client, "r_1").start()
    await bus.nc.jetstream().publish(
        bus.subjects.engine("r_2"),
        b"odd",
        headers={"Partsong-Origin": origin, "Partsong-Status": "running"},
    )
    listed = {run.run_id: run.origin for run in await client.runs()}
    assert listed == {"r_1": None, "r_2": None}


async def test_a_request_that_finds_no_room_says_so(bus: Bus, client: Client) -> None:
    stream = bus.names.requests
    config = (await bus.nc.jetstream().stream_info(stream)).config.as_dict()
    small = {**config, "max_bytes": 10, "discard": "new"}
    answer = await bus.nc.request(f"$JS.API.STREAM.UPDATE.{stream}", json.dumps(small).encode())
    assert "error" not in json.loads(answer.data)
    with pytest.raises(Unavailable, match=r"log\.full.*no room left for requests"):
        await client.start(GRAPH, run_id="r_1")


async def test_what_is_no_answer_is_passed_over(bus: Bus, client: Client) -> None:
    """Anybody may publish where an answer is waited for."""

    async def answer(msg: Msg) -> None:
        said = json.loads(msg.data)
        for body in (b"", b"not json", b'{"type": "request.accepted"}', b"[" * 5000):
            await bus.nc.publish(bus.subjects.reply(said["id"]), body)
        accepted = Accepted(id=said["id"], run_id="r_1", seq=1)
        await bus.nc.publish(bus.subjects.reply(said["id"]), accepted.model_dump_json().encode())

    await bus.nc.subscribe(bus.subjects.requests(), cb=answer)
    await bus.nc.jetstream().account_info()  # a round trip: the client has a connection of its own
    assert await client.start(GRAPH, run_id="r_1") == "r_1"


async def limited(bus: Bus, stream: str, **limits: int) -> None:
    config = (await bus.nc.jetstream().stream_info(stream)).config.as_dict()
    answer = await bus.nc.request(
        f"$JS.API.STREAM.UPDATE.{stream}", json.dumps({**config, **limits}).encode()
    )
    assert "error" not in json.loads(answer.data)


async def test_a_stream_of_requests_that_is_full_refuses_at_once_with_what_to_do(
    bus: Bus, client: Client
) -> None:
    await limited(bus, bus.names.requests, max_msgs=2)
    for n in range(2):
        await bus.nc.jetstream().publish(bus.subjects.beginning("run", "flood", f"f_{n}"), b"{}")
    began = time.monotonic()
    with pytest.raises(Unavailable) as refused:
        await client.start(GRAPH, run_id="r_1")
    assert time.monotonic() - began < 5, "there is nothing to wait for"
    problem = refused.value.problem
    assert problem.code == "requests.full"
    assert bus.names.requests in problem.message
    assert problem.retryable
    assert "bus status" in (problem.fix or "")


async def test_a_request_that_the_stream_is_too_small_for_is_too_large(
    bus: Bus, client: Client
) -> None:
    with pytest.raises(InvalidInput, match=r"request\.too_large"):
        await client.start(GRAPH, {"text": "x" * 2_000_000}, run_id="r_1")


async def test_runs_are_found_by_status_and_graph(bus: Bus, client: Client) -> None:
    for run_id in ("r_1", "r_2"):
        await Engine(bus, client, run_id).start()
    done = Engine(bus, client, "r_3")
    await done.start()
    await done.finish()
    assert {run.run_id for run in await client.runs()} == {"r_1", "r_2", "r_3"}
    assert [run.run_id for run in await client.runs(status="completed")] == ["r_3"]
    assert await client.runs(graph="other") == []
    assert len(await client.runs(graph="one", limit=2)) == 2


def text(seq: int, call_id: str = "a:1") -> Text:
    return Text(call_id=call_id, seq=seq, text=str(seq))


async def send(bus: Bus, *chunks: Chunk) -> None:
    for chunk in chunks:
        await bus.nc.publish(
            bus.subjects.chunk("r_1", "a", chunk.call_id), chunk.model_dump_json().encode()
        )
    await bus.nc.flush()


async def test_chunks_said_before_and_after_one_listens_come_once_and_in_order(
    bus: Bus, client: Client
) -> None:
    engine = Engine(bus, client, "r_1")
    await engine.start()
    await send(bus, *(text(n) for n in range(50)))
    seen: list[int] = []
    async with asyncio.timeout(WITHIN):
        async for chunk in client.stream("r_1"):
            seen.append(chunk.seq)
            if chunk.seq == 20:
                await send(
                    bus, *(text(n) for n in range(50, 99)), End(call_id="a:1", seq=99, stop="stop")
                )
            if chunk.seq == 99:
                await engine.finish()
    assert seen == list(range(100))


async def test_a_stream_goes_on_where_another_one_was_left(bus: Bus, client: Client) -> None:
    engine = Engine(bus, client, "r_1")
    await engine.start()
    await send(bus, *(text(n) for n in range(10)), *(text(n, "b:1") for n in range(3)))
    await send(bus, End(call_id="a:1", seq=10, stop="stop"), End(call_id="b:1", seq=3, stop="stop"))
    await engine.finish()
    async with asyncio.timeout(WITHIN):
        left = client.stream("r_1", after={("a:1", 1): 6})
        seen = [(chunk.call_id, chunk.seq) async for chunk in left]
    assert [seq for call, seq in seen if call == "a:1"] == [7, 8, 9, 10]
    assert [seq for call, seq in seen if call == "b:1"] == [0, 1, 2, 3]


async def test_what_the_live_subject_missed_is_fetched_from_the_stream(bus: Bus) -> None:
    kept, ended = MemoryLog(), asyncio.Event()
    subject, filter = bus.subjects.chunk("r_1", "a", "a:1"), bus.subjects.chunks("r_1")
    await kept.append(subject, text(0).model_dump_json().encode(), id="0")
    seen: list[int] = []
    async with asyncio.timeout(WITHIN):
        async for chunk in chunks_of(bus.nc, kept, filter, ended):
            seen.append(chunk.seq)
            if chunk.seq == 0:
                for n in range(1, 5):
                    await kept.append(subject, text(n).model_dump_json().encode(), id=str(n))
                await send(bus, text(4))
            if chunk.seq == 4:
                last = End(call_id="a:1", seq=5, stop="stop")
                await kept.append(subject, last.model_dump_json().encode(), id="5")
                ended.set()
    assert seen == [0, 1, 2, 3, 4, 5]


async def test_a_stream_ends_also_when_a_killed_worker_never_said_its_last_word(bus: Bus) -> None:
    ended = asyncio.Event()
    seen: list[int] = []
    async with asyncio.timeout(WITHIN):
        chunks = chunks_of(bus.nc, MemoryLog(), bus.subjects.chunks("r_1"), ended)
        reading = asyncio.ensure_future(anext(chunks))
        while not reading.done():
            await send(bus, text(0))
            await asyncio.wait({reading}, timeout=0.05)
        seen.append((await reading).seq)
        ended.set()
        seen += [chunk.seq async for chunk in chunks]
    assert seen == [0]


async def test_what_is_no_chunk_is_passed_over(bus: Bus) -> None:
    kept, ended = MemoryLog(), asyncio.Event()
    subject = bus.subjects.chunk("r_1", "a", "a:1")
    for n, body in enumerate(
        (b"not json", b'{"kind": "spell"}', text(0).model_dump_json().encode())
    ):
        await kept.append(subject, body, id=str(n))
    ended.set()
    found = [
        chunk.seq async for chunk in chunks_of(bus.nc, kept, bus.subjects.chunks("r_1"), ended)
    ]
    assert found == [0]


async def test_the_bus_is_found_by_argument_then_environment_then_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("PARTSONG_NATS_URL", "PARTSONG_URL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(Unavailable, match="PARTSONG_NATS_URL is not set"):
        find_nats()
    note = {
        "nats_url": "nats://localhost:4301",
        "http_url": "http://localhost:4301",
        "pid": os.getpid(),
    }
    (tmp_path / ".partsong").mkdir()
    (tmp_path / ".partsong" / "up.json").write_text(json.dumps(note))
    assert (find_nats(), find_http()) == ("nats://localhost:4301", "http://localhost:4301")
    monkeypatch.setenv("PARTSONG_NATS_URL", "nats://env")
    monkeypatch.setenv("PARTSONG_URL", "http://env")
    assert (find_nats(), find_http()) == ("nats://env", "http://env")
    assert (find_nats("nats://arg"), find_http("http://arg")) == ("nats://arg", "http://arg")


@pytest.mark.parametrize("note", ['{"pid": 999999999, "nats_url": "x"}', "not json", "{}", "[]"])
async def test_a_note_of_a_dead_platform_counts_for_nothing(
    note: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PARTSONG_NATS_URL", raising=False)
    (tmp_path / ".partsong").mkdir()
    (tmp_path / ".partsong" / "up.json").write_text(note)
    with pytest.raises(Unavailable):
        find_nats()


async def test_a_note_is_looked_for_in_the_data_directory_and_the_prefix_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PARTSONG_NATS_URL", raising=False)
    (tmp_path / "up.json").write_text(
        json.dumps({"nats_url": "nats://localhost:4302", "pid": os.getpid()})
    )
    monkeypatch.setenv("PARTSONG_DATA", str(tmp_path))
    assert find_nats() == "nats://localhost:4302"
    monkeypatch.setenv("PARTSONG_PREFIX", "acme")
    assert Client().subjects.prefix == "acme"
    assert Client(prefix="other").subjects.prefix == "other"
    monkeypatch.delenv("PARTSONG_PREFIX")
    assert Client().subjects.prefix == "partsong"


def note_in(folder: Path, **note: object) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "up.json").write_text(json.dumps({"pid": os.getpid(), **note}))
    return folder


async def test_the_data_directory_may_be_given_and_then_goes_before_the_one_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PARTSONG_NATS_URL", raising=False)
    monkeypatch.delenv("PARTSONG_URL", raising=False)
    one = note_in(
        tmp_path / "one", nats_url="nats://localhost:4303", http_url="http://localhost:4303"
    )
    two = note_in(
        tmp_path / "two", nats_url="nats://localhost:4304", http_url="http://localhost:4304"
    )
    monkeypatch.setenv("PARTSONG_DATA", str(one))
    assert (find_nats(), find_http()) == ("nats://localhost:4303", "http://localhost:4303")
    assert (find_nats(data=two), find_http(data=two)) == (
        "nats://localhost:4304",
        "http://localhost:4304",
    )


async def test_who_finds_no_bus_is_told_where_was_looked_and_what_would_help(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PARTSONG_NATS_URL", raising=False)
    with pytest.raises(Unavailable) as failed:
        find_nats(data=tmp_path)
    problem = failed.value.problem
    assert problem.where == str(tmp_path)
    assert "--data" in (problem.fix or "")
    assert "PARTSONG_NATS_URL" in (problem.fix or "")
    note_in(tmp_path, nats_url="nats://localhost:4305", pid=999999999)
    with pytest.raises(Unavailable, match="process 999999999"):
        find_nats(data=tmp_path)


async def test_a_service_beside_a_platform_goes_by_its_server_and_how_that_syncs(
    tmp_path: Path,
) -> None:
    note_in(tmp_path, nats_url="nats://localhost:4301", sync_interval=0.1)
    beside = {"PARTSONG_NATS_URL": "nats://localhost:4301", "PARTSONG_SYNC_INTERVAL": "0.1"}
    data = {"PARTSONG_DATA": str(tmp_path)}
    assert settings_nearby(data) == {**data, **beside}
    by_hand = {**data, "PARTSONG_NATS_URL": "nats://localhost:4301"}
    assert settings_nearby(by_hand) == {**data, **beside}
    elsewhere = {**data, "PARTSONG_NATS_URL": "nats://other"}
    assert settings_nearby(elsewhere) == elsewhere
    own = {**data, "PARTSONG_SYNC_INTERVAL": "5"}
    assert settings_nearby(own) == {**data, **beside, "PARTSONG_SYNC_INTERVAL": "5"}


@pytest.mark.parametrize("prefix", ["a b", "a.*", "a>", "a..b"])
def test_a_prefix_that_cannot_stand_in_a_subject_is_refused_at_once(
    prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server answers nothing to such a subject, so whoever asked would wait."""
    with pytest.raises(InvalidInput, match=r"id\.invalid.*prefix"):
        Client("nats://127.0.0.1:1", prefix=prefix)
    monkeypatch.setenv("PARTSONG_PREFIX", prefix)
    with pytest.raises(InvalidInput, match=r"id\.invalid.*prefix"):
        Client("nats://127.0.0.1:1")
