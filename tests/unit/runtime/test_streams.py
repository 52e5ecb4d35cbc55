"""The table of streams on a real server: made once, never changed, differences said with both values."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from partsong.contracts.errors import Conflict, NotFound, Unavailable
from partsong.contracts.wire.subjects import Subjects
from partsong.runtime.clock import now
from partsong.runtime.connect import connect, disconnect
from partsong.runtime.nats.server import EmbeddedNats
from partsong.runtime.streams import Names, check, provision, table
from partsong.testing.nats import Bus

ROOT = Path(__file__).parents[3]


async def api(bus: Bus, call: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    payload = json.dumps(body).encode() if body is not None else b""
    reply = await bus.nc.request(f"$JS.API.{call}", payload, timeout=30)
    answer: dict[str, Any] = json.loads(reply.data)
    assert "error" not in answer, answer["error"]
    return answer


async def stream(bus: Bus, name: str) -> dict[str, Any]:
    config: dict[str, Any] = (await api(bus, f"STREAM.INFO.{name}"))["config"]
    return config


async def test_the_log_cannot_be_shortened(bus: Bus) -> None:
    config = await stream(bus, bus.names.log)
    assert config["deny_delete"]
    assert config["deny_purge"]
    assert config["allow_direct"]
    assert config["allow_atomic"]
    assert (config["retention"], config["storage"], config["compression"]) == (
        "limits",
        "file",
        "s2",
    )
    await bus.log().append(bus.subjects.fact("r_1"), b"", id="1")
    reply = await bus.nc.request(f"$JS.API.STREAM.PURGE.{bus.names.log}", b"", timeout=30)
    assert "error" in json.loads(reply.data)


async def test_hints_are_a_work_queue_without_fsync(bus: Bus) -> None:
    config = await stream(bus, bus.names.work)
    assert (config["retention"], config["persist_mode"]) == ("workqueue", "async")


async def test_chunks_are_in_memory_for_a_quarter_of_an_hour(bus: Bus) -> None:
    config = await stream(bus, bus.names.chunks)
    assert config["storage"] == "memory"
    assert timedelta(microseconds=config["max_age"] / 1000) == timedelta(minutes=15)


async def test_what_an_earlier_version_has_provisioned_is_brought_up_to_date(bus: Bus) -> None:
    """One consumer for all requests, and one per partition for what workers report."""
    requests, log = bus.names.requests, bus.names.log
    config, every = await stream(bus, requests), f"{bus.subjects.prefix}.request.*"
    await api(bus, f"STREAM.DELETE.{requests}")
    older = {**config, "subjects": [every], "subject_transform": None, "allow_direct": False}
    await api(bus, f"STREAM.CREATE.{requests}", older)
    for name, where, filter in (
        ("engine", requests, every),
        ("engine-3", log, f"{bus.subjects.prefix}.log.3.*.fact"),
    ):
        old = {"durable_name": name, "ack_policy": "explicit", "filter_subjects": [filter]}
        body = {"stream_name": where, "config": old}
        await api(bus, f"CONSUMER.CREATE.{where}.{name}", body)
    waiting = bus.subjects.request("cancel")
    await bus.nc.jetstream().publish(waiting, b"kept")
    await provision(bus.nc, bus.subjects)
    await check(bus.nc, bus.subjects)
    assert await stream(bus, requests) == config
    for where, name in ((requests, "engine"), (log, "engine-3")):
        with pytest.raises(AssertionError, match="consumer not found"):
            await api(bus, f"CONSUMER.INFO.{where}.{name}")
    control = await bus.nc.jetstream().pull_subscribe_bind("control", stream=requests)
    (kept,) = await control.fetch(1, timeout=30)
    assert kept.data == b"kept"


async def test_nothing_but_the_log_and_its_bodies_grows_without_end(subjects: Subjects) -> None:
    names = Names.of(subjects)
    endless = {
        spec.name
        for spec in table(subjects).streams
        if spec.config["max_msgs"] == spec.config["max_bytes"] == -1
    }
    assert endless == {names.log, f"OBJ_{names.blobs}"}
    reserved = {
        spec.name
        for spec in table(subjects).streams
        if spec.config["storage"] == "file" and spec.config["max_bytes"] != -1
    }
    assert reserved == set(), "the server takes it off what it may store, also of empty streams"


def test_the_table_in_the_documents_is_the_one_that_is_made() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    rows = {
        name: cells
        for line in text.splitlines()
        if line.startswith("| `") and len(cells := line.strip("| ").split(" | ")) == 4
        for name in re.findall(r"`([A-Za-z_]+)`", cells[0])
    }
    for spec in table(Subjects()).streams:
        _, most, largest, _ = rows[re.sub(r"^(KV|OBJ)_", "", spec.name)]
        for field, said in (("max_msgs", most), ("max_msg_size", largest)):
            limit = spec.config[field]
            assert (f"{limit:,}" in said) == (limit != -1), (spec.name, field)


async def test_streams_that_had_no_limits_are_given_them_and_those_with_others_are_asked_about(
    bus: Bus,
) -> None:
    for spec in table(bus.subjects).streams:
        if spec.was:
            before = {**await stream(bus, spec.name), **spec.was}
            await api(bus, f"STREAM.UPDATE.{spec.name}", before)
    with pytest.raises(Conflict):
        await check(bus.nc, bus.subjects)
    await provision(bus.nc, bus.subjects)
    await check(bus.nc, bus.subjects)
    config = await stream(bus, bus.names.dead)
    assert config["max_age"] == 30 * 24 * 3600 * 10**9
    assert config["max_msgs"] == 10_000
    await api(bus, f"STREAM.UPDATE.{bus.names.dead}", {**config, "max_msgs": 7, "max_msg_size": -1})
    with pytest.raises(Conflict, match="max_msgs should be 10000, is 7"):
        await provision(bus.nc, bus.subjects)


@pytest.mark.parametrize("service", ["agent-gateway", "tool-runner"])
async def test_a_hint_reaches_the_workers_of_its_service_only(bus: Bus, service: str) -> None:
    js = bus.nc.jetstream()
    await js.publish(bus.subjects.work(service), b"hint")
    worker = await js.pull_subscribe_bind(service, stream=bus.names.work)
    (hint,) = await worker.fetch(1, timeout=30)
    assert hint.data == b"hint"
    await hint.ack_sync()
    assert (await api(bus, f"STREAM.INFO.{bus.names.work}"))["state"]["messages"] == 0


async def test_a_timer_fires_once_and_a_cancelled_one_never(bus: Bus) -> None:
    js, subjects = bus.nc.jetstream(), bus.subjects
    for name, seconds in (("kept", 0.3), ("cancelled", 60)):
        due = f"@at {(now() + timedelta(seconds=seconds)).isoformat(timespec='milliseconds')}"
        await js.publish(
            subjects.timer("r_1", name),
            b"ring",
            headers={
                "Nats-Schedule": due,
                "Nats-Schedule-Target": subjects.fired("r_1", name),
                "traceparent": "t",
            },
        )
    await js.publish(
        subjects.fired("r_1", "cancel"),
        b"cancelled",
        headers={
            "Nats-Scheduler": subjects.timer("r_1", "cancelled"),
            "Nats-Schedule-Next": "purge",
        },
    )
    engine = await js.pull_subscribe_bind("engine", stream=bus.names.timers)
    fired = []
    for _ in range(2):
        (message,) = await engine.fetch(1, timeout=30)
        await message.ack_sync()
        fired.append((message.subject, message.data, (message.headers or {}).get("traceparent")))
    assert sorted(fired) == [
        (subjects.fired("r_1", "cancel"), b"cancelled", None),
        (subjects.fired("r_1", "kept"), b"ring", "t"),
    ]
    assert (await api(bus, f"STREAM.INFO.{bus.names.timers}"))["state"]["messages"] == 0


async def test_the_buckets_are_those_of_any_nats_client(bus: Bus) -> None:
    js = bus.nc.jetstream()
    store = await js.object_store(bus.names.blobs)
    await store.put("name", b"content")
    assert (await store.get("name")).data == b"content"
    for bucket in (bus.names.graphs, bus.names.snapshots):
        values = await js.key_value(bucket)
        await values.put("key", b"value")
        assert (await values.get("key")).value == b"value"


async def test_provisioning_again_changes_nothing(bus: Bus) -> None:
    before = [await api(bus, f"STREAM.INFO.{spec.name}") for spec in table(bus.subjects).streams]
    await provision(bus.nc, bus.subjects)
    await check(bus.nc, bus.subjects)
    after = [await api(bus, f"STREAM.INFO.{spec.name}") for spec in table(bus.subjects).streams]
    assert [(s["created"], s["config"]) for s in after] == [
        (s["created"], s["config"]) for s in before
    ]


async def test_five_processes_provision_at_once(
    nats_server: EmbeddedNats, subjects: Subjects
) -> None:
    clients = [await connect(nats_server.url, name=f"p{n}") for n in range(5)]
    await asyncio.gather(*(provision(nc, subjects) for nc in clients))
    await check(clients[0], subjects)
    for nc in clients:
        await disconnect(nc)


@pytest.mark.parametrize("verb", [provision, check])
async def test_a_stream_that_differs_is_reported_with_both_values_and_left_alone(
    bus: Bus, verb: Any
) -> None:
    config = await stream(bus, bus.names.requests)
    await api(
        bus,
        f"STREAM.UPDATE.{bus.names.requests}",
        {**config, "max_msgs": 5, "max_age": 10**9 * 600},
    )
    with pytest.raises(Conflict) as refused:
        await verb(bus.nc, bus.subjects)
    message = refused.value.problem.message
    assert refused.value.problem.code == "streams.mismatch"
    assert f"stream {bus.names.requests}: max_msgs should be 50000, is 5" in message
    assert f"stream {bus.names.requests}: max_age should be 0, is 600000000000" in message
    assert (await stream(bus, bus.names.requests))["max_msgs"] == 5


async def test_a_consumer_that_differs_is_reported_with_both_values(bus: Bus) -> None:
    where = f"{bus.names.work}.tool-runner"
    info = (await api(bus, f"CONSUMER.INFO.{where}"))["config"]
    await api(
        bus,
        f"CONSUMER.CREATE.{where}",
        {"stream_name": bus.names.work, "config": {**info, "ack_wait": 7 * 10**9}},
    )
    with pytest.raises(
        Conflict, match=f"consumer {where}: ack_wait should be 2000000000, is 7000000000"
    ):
        await provision(bus.nc, bus.subjects)


async def test_a_consumer_that_somebody_has_paused_is_said_and_keeps_no_service_from_starting(
    bus: Bus,
) -> None:
    """Its readers hear heartbeats, and nothing else for as long as it is paused."""
    where = f"{bus.names.work}.tool-runner"
    until = (now() + timedelta(hours=1)).isoformat(timespec="seconds").replace("+00:00", "Z")
    assert (await api(bus, f"CONSUMER.PAUSE.{where}", {"pause_until": until}))["paused"]
    await provision(bus.nc, bus.subjects)
    with pytest.raises(Conflict, match=rf'consumer {where}: pause_until .*"{until}"') as caught:
        await check(bus.nc, bus.subjects)
    resume = f"`nats consumer resume {where.replace('.', ' ')}`"
    assert resume in (caught.value.problem.fix or "")
    await api(bus, f"CONSUMER.PAUSE.{where}", {})
    await check(bus.nc, bus.subjects)


async def test_all_differences_are_reported_at_once(bus: Bus) -> None:
    for name in (bus.names.requests, bus.names.dead):
        await api(bus, f"STREAM.UPDATE.{name}", {**await stream(bus, name), "max_msgs": 5})
    with pytest.raises(Conflict) as refused:
        await provision(bus.nc, bus.subjects)
    for name, most in ((bus.names.requests, 50_000), (bus.names.dead, 10_000)):
        assert f"{name}: max_msgs should be {most}, is 5" in refused.value.problem.message
        assert f"`nats stream edit {name} --max-msgs={most}`" in str(refused.value.problem.fix)


async def test_a_subject_taken_by_a_foreign_stream_is_said(bus: Bus) -> None:
    other = Subjects(f"{bus.subjects.prefix}x")
    name = f"FOREIGN_{other.prefix}"
    await api(bus, f"STREAM.CREATE.{name}", {"name": name, "subjects": [other.deads()]})
    with pytest.raises(Unavailable, match="overlap"):
        await provision(bus.nc, other)
    for spec in [name, *(spec.name for spec in table(other).streams)]:
        await bus.nc.request(f"$JS.API.STREAM.DELETE.{spec}", b"", timeout=30)


async def test_checking_creates_nothing(bus: Bus) -> None:
    absent = Subjects(f"{bus.subjects.prefix}absent")
    with pytest.raises(NotFound) as missing:
        await check(bus.nc, absent)
    assert missing.value.problem.code == "streams.missing"
    reply = await bus.nc.request(f"$JS.API.STREAM.INFO.{Names.of(absent).log}", b"", timeout=30)
    assert json.loads(reply.data)["error"]["err_code"] == 10059


async def test_what_is_missing_is_named_in_words_with_what_makes_it_again(bus: Bus) -> None:
    calls = {
        f"CONSUMER.DELETE.{bus.names.requests}.control": f"consumer control of stream {bus.names.requests}",
        f"STREAM.DELETE.{bus.names.chunks}": f"stream {bus.names.chunks}",
    }
    for call, what in calls.items():
        await bus.nc.request(f"$JS.API.{call}", b"", timeout=30)
        with pytest.raises(NotFound) as missing:
            await check(bus.nc, bus.subjects)
        assert missing.value.problem.message == f"{what} is not there"
        assert "makes at its start what is missing" in (missing.value.problem.fix or "")
        await provision(bus.nc, bus.subjects)


async def test_names_follow_the_prefix() -> None:
    names = Names.of(Subjects("acme.songs"))
    assert (names.log, names.blobs) == ("ACME_SONGS_LOG", "acme_songs_blobs")
    assert Names.of(Subjects()).work == "PARTSONG_WORK"


async def test_streams_come_back_by_themselves_after_a_restart_if_asked(
    nats_server: EmbeddedNats, subjects: Subjects
) -> None:
    """A single server forgets its memory streams when it restarts."""
    again = asyncio.Event()

    async def restore() -> None:
        await provision(nc, subjects)
        again.set()

    nc = await connect(nats_server.url, name="test", on_reconnect=restore)
    await provision(nc, subjects)
    nats_server.kill()
    await nats_server.restart()
    async with asyncio.timeout(30):
        await again.wait()
    await check(nc, subjects)
    await disconnect(nc)
