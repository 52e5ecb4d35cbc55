"""Three servers that hold one log."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path

from nats.aio.client import Client

from partsong.contracts.errors import Unavailable
from partsong.contracts.subjects import Subjects
from partsong.runtime.connect import connect, disconnect
from partsong.runtime.nats_server import EmbeddedNats, start_embedded
from partsong.runtime.streams import provision

__all__ = ["PATIENCE", "SIZE", "a_cluster", "leader_of", "provisioned_client", "urls"]

SIZE = 3
PATIENCE = 90.0


@asynccontextmanager
async def a_cluster(folder: Path) -> AsyncIterator[list[EmbeddedNats]]:
    """Three servers on free ports."""
    ports = _free_ports(SIZE)
    routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in ports)
    async with AsyncExitStack() as stack:
        members = [
            start_embedded(
                folder / f"n{n}",
                fast=True,
                config=f'server_name: n{n}\ncluster {{ name: c, listen: "127.0.0.1:{port}", routes: [{routes}] }}',
            )
            for n, port in enumerate(ports)
        ]
        yield list(await asyncio.gather(*map(stack.enter_async_context, members)))


def urls(servers: list[EmbeddedNats]) -> str:
    """All addresses, as a client is told them."""
    return ",".join(server.url for server in servers)


@asynccontextmanager
async def provisioned_client(
    servers: list[EmbeddedNats], subjects: Subjects
) -> AsyncIterator[Client]:
    """A client, and streams that all three servers hold."""
    client = await connect(urls(servers), name="test", within=30)
    async with asyncio.timeout(PATIENCE):
        while not await _provisioned(client, subjects):  # noqa: ASYNC110 — there is no event for it
            await asyncio.sleep(0.2)
    yield client
    await disconnect(client)


async def leader_of(servers: list[EmbeddedNats], nc: Client, stream: str) -> EmbeddedNats:
    """The server that a stream's writes go to."""
    info = json.loads((await nc.request(f"$JS.API.STREAM.INFO.{stream}", timeout=10)).data)
    return servers[int(info["cluster"]["leader"].removeprefix("n"))]


async def _provisioned(client: Client, subjects: Subjects) -> bool:
    """False while the cluster still elects its leader."""
    try:
        await provision(client, subjects, replicas=SIZE, within=5)
    except Unavailable as error:
        if error.problem.code != "streams.no_answer":
            raise
        return False
    return True


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
