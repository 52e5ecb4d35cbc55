"""The connection: bounded at first, patient afterwards, closed whatever happened."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from partsong.contracts.errors import InvalidInput, Unavailable
from partsong.runtime.connect import connect, disconnect
from partsong.runtime.nats.server import EmbeddedNats, start_embedded
from partsong.testing.nats import fresh_subjects
from tests.support.old_server import a_server_of
from tests.support.strange import HEADERS, said

USER = 'authorization { user: "me", password: "secret" }'


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_no_server_is_said_in_time_with_the_url_and_a_fix() -> None:
    url = f"nats://127.0.0.1:{free_port()}"
    with pytest.raises(Unavailable) as failed:
        async with asyncio.timeout(30):
            await connect(url, name="test", within=0.3)
    problem = failed.value.problem
    assert (problem.code, problem.where, problem.retryable) == ("nats.unreachable", url, True)
    assert "partsong up" in (problem.fix or "")


async def test_a_flush_comes_back_after_the_server_has_all_that_was_said_before(
    nats_url: str,
) -> None:
    speaking, asking = (
        await connect(nats_url, name="speaking"),
        await connect(nats_url, name="asking"),
    )

    async def here(msg: Msg) -> None:
        await msg.respond(b"here")

    for n in range(200):
        await speaking.subscribe(f"flush.{os.getpid()}.{n}", cb=here)
        await speaking.flush()
        assert (await asking.request(f"flush.{os.getpid()}.{n}", timeout=30)).data == b"here"
    await disconnect(speaking)
    await disconnect(asking)


async def test_a_server_that_says_nothing_is_said_in_time() -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        with pytest.raises(Unavailable):
            async with asyncio.timeout(30):
                await connect(f"nats://127.0.0.1:{mute.getsockname()[1]}", name="t", within=0.3)


async def test_a_server_that_comes_in_time_is_found(tmp_path: Path) -> None:
    port = free_port()
    connecting = asyncio.create_task(connect(f"nats://127.0.0.1:{port}", name="early", within=30))
    await asyncio.sleep(0)
    async with start_embedded(tmp_path, fast=True, port=port):
        nc = await connecting
        await nc.flush(timeout=30)
        await disconnect(nc)


@pytest.mark.parametrize("url", ["", "http://127.0.0.1:4222", "nats://127.0.0.1:99999"])
async def test_a_url_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        await connect(url, name="test", within=30)
    assert refused.value.problem.code == "nats.bad_url"


async def test_wrong_credentials_are_refused_at_once_without_showing_them(tmp_path: Path) -> None:
    async with start_embedded(tmp_path, fast=True, config=USER) as server:
        host = server.url.partition("//")[2]
        nc = await connect(f"nats://me:secret@{host}", name="test")
        await disconnect(nc)
        with pytest.raises(Unavailable) as refused:
            async with asyncio.timeout(30):
                await connect(f"nats://me:wrong@{host}", name="test", within=60)
    assert refused.value.problem.code == "nats.refused"
    assert "wrong" not in str(refused.value)


@pytest.mark.parametrize("version", ["2.12.8", "2.13.9", "0.0.0", "unheard-of"])
async def test_a_server_that_is_too_old_is_refused_with_both_versions(version: str) -> None:
    async with a_server_of(version) as url:
        with pytest.raises(Unavailable) as refused:
            await connect(url, name="test", within=30)
    problem = refused.value.problem
    assert (problem.code, problem.where, problem.fault) == ("nats.too_old", url, "platform")
    assert (version in problem.message) or "unknown version" in problem.message
    assert "2.14 or newer is needed" in problem.message
    assert "2.14 or newer" in (problem.fix or "")


@pytest.mark.parametrize("version", ["2.14.0", "2.14.0-RC.2", "2.15.1", "3.0.0"])
async def test_a_server_that_is_new_enough_is_taken(version: str) -> None:
    async with a_server_of(version) as url:
        await disconnect(await connect(url, name="test", within=30))


async def test_the_connection_comes_back_and_says_so(
    nats_server: EmbeddedNats, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "partsong.nats")
    back = asyncio.Event()

    async def reconnected() -> None:
        back.set()

    nc = await connect(nats_server.url, name="patient", on_reconnect=reconnected)
    heard = await nc.subscribe("news")
    for _ in range(2):
        back.clear()
        nats_server.kill()
        await nats_server.restart()
        async with asyncio.timeout(30):
            await back.wait()
        await nc.publish("news", b"again")
        assert (await heard.next_msg(timeout=30)).data == b"again"
    await disconnect(nc)
    events = [record for record in caplog.records if record.name == "partsong.nats"]
    said = [record.message for record in events if record.message != "nats.error"]
    assert said == [
        "nats.connected",
        *["nats.disconnected", "nats.reconnected"] * 2,
        "nats.closed",
    ]
    assert {getattr(record, "connection", None) for record in events} == {"patient"}


async def test_a_failing_reconnect_callback_does_not_cost_the_connection(
    nats_server: EmbeddedNats,
) -> None:
    back = asyncio.Event()

    async def fail() -> None:
        back.set()
        raise OSError("no luck")

    nc = await connect(nats_server.url, name="test", on_reconnect=fail)
    nats_server.kill()
    await nats_server.restart()
    async with asyncio.timeout(30):
        await back.wait()
    await nc.flush(timeout=30)
    assert nc.stats["reconnects"] == 1
    await disconnect(nc)


async def test_a_dead_connection_can_be_closed(nats_server: EmbeddedNats) -> None:
    nc = await connect(nats_server.url, name="test")
    lost = asyncio.Event()

    async def hear(_: object) -> None:
        lost.set()

    await nc.subscribe("x", cb=hear)
    nats_server.kill()
    async with asyncio.timeout(30):
        while nc.is_connected:  # noqa: ASYNC110 — the client has no event for it
            await asyncio.sleep(0.01)
    await nc.publish("x", b"held back")
    await disconnect(nc)
    assert nc.is_closed
    assert not lost.is_set()


@pytest.mark.parametrize(
    "block",
    [
        b"A: 1\r\nB:2\r\nC:\t 3 \r\n\r\n",
        b"A: b: c\r\nno colon\r\n: nameless\r\nA: again",
        b"two words: 1\r\n padded : 2\r\n\xffbad: 3\r\nGood: caf\xc3\xa9\xff\r\n",
        b"",
    ],
)
async def test_headers_are_read_as_the_client_library_reads_them(
    nats_url: str, block: bytes
) -> None:
    nc = await connect(nats_url, name="test")
    assert nc._parse_header_lines(block) == Client._parse_header_lines(block)
    await disconnect(nc)


@pytest.mark.parametrize("headers", HEADERS.values(), ids=HEADERS)
async def test_no_block_of_headers_that_anybody_sends_ends_a_connection(
    nats_url: str, headers: bytes
) -> None:
    nc, heard = await connect(nats_url, name="test"), asyncio.Queue[Msg]()
    prefix = fresh_subjects().prefix
    await nc.subscribe(f"{prefix}.>", cb=heard.put)
    await nc.flush()
    sent = [f"{prefix}.a".encode(), f"{prefix}.".encode() + b"\xff\x0c", f"{prefix}.b".encode()]
    for subject in sent:
        await said(nats_url, subject, b"x", headers)
    async with asyncio.timeout(30):
        found = [await heard.get() for _ in sent]
    assert [msg.subject for msg in found] == [f"{prefix}.a", f"{prefix}.\\xff\x0c", f"{prefix}.b"]
    assert nc.stats["reconnects"] == 0
    await disconnect(nc)
