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
from partsong.contracts.wire.subjects import Subjects
from partsong.runtime.connect import connect, disconnect
from partsong.runtime.nats.server import EmbeddedNats, start_embedded
from partsong.runtime.streams import provision

__all__ = ["PATIENCE", "SIZE", "a_cluster", "leader_of", "provisioned_client", "urls"]

SIZE = 3
PATIENCE = 90.0


@asynccontextmanager
async def a_cluster(folder: Path) -> AsyncIterator[list[EmbeddedNats]]:
    """Three servers on free ports, clustered as those that are deployed."""
    ports = _free_ports(SIZE)
    async with AsyncExitStack() as stack:
        members = [
            start_embedded(folder / f"n{n}", fast=True, config=_clustered(n, ports))
            for n in range(SIZE)
        ]
        yield list(await asyncio.gather(*map(stack.enter_async_context, members)))


def _clustered(n: int, ports: list[int]) -> str:
    """What `deploy/nats/cluster.conf` says of the cluster, with addresses of this machine."""
    deployed = (Path(__file__).parents[2] / "deploy" / "nats" / "cluster.conf").read_text("utf-8")
    cluster = deployed[deployed.index("cluster {") :]
    cluster = cluster.replace("0.0.0.0:6222", f"127.0.0.1:{ports[n]}")
    for number, port in enumerate(ports, 1):
        cluster = cluster.replace(f"nats-{number}:6222", f"127.0.0.1:{port}")
    assert "6222" not in cluster
    return f"server_name: n{n}\n{cluster}"


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
