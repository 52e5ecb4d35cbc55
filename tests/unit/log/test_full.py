"""A server that has no room says whose limit it is, how much is held, and what is to be done."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from partsong.contracts.errors import Unavailable
from partsong.contracts.wire.subjects import Subjects
from partsong.log.marks import BucketMarks
from partsong.runtime.nats.server import start_embedded
from partsong.testing.nats import a_bus

_MOST = 1_000_000
_BODY = bytes(100_000)


def _server(folder: Path) -> str:
    """A server with a Max Storage of its own; the block takes the place of the one that is written by default."""
    store = json.dumps(str(folder))
    return (
        f"jetstream {{ store_dir: {store}, max_memory_store: 1GB, max_file_store: {_MOST}\n"
        "sync_interval: 100ms }"
    )


def _account(_folder: Path) -> str:
    """An account with a limit, whose user nobody has to name."""
    users = "users: [{user: u, password: p}]"
    jetstream = f"jetstream: {{ max_file: {_MOST}, max_memory: 500MB }}"
    return f"accounts {{ A {{ {users}, {jetstream} }} }}\nno_auth_user: u\n"


async def _until_refused(store: Callable[[int], Awaitable[object]]) -> None:
    for n in range(2 * _MOST // len(_BODY)):
        await store(n)


@pytest.mark.parametrize(
    ("limited", "whose", "setting"),
    [
        (_server, "the server's own Max Storage", "max_file_store"),
        (_account, f"of the {_MOST} that its account may have", "max_file of the account"),
    ],
)
async def test_a_limit_that_is_met_is_named_with_what_is_held_and_what_to_do(
    tmp_path: Path, subjects: Subjects, limited: Callable[[Path], str], whose: str, setting: str
) -> None:
    config = limited(tmp_path / "nats")
    async with (
        start_embedded(tmp_path / "nats", fast=True, config=config) as server,
        a_bus(server.url, subjects) as bus,
    ):
        log = bus.log()
        with pytest.raises(Unavailable) as met:
            await _until_refused(lambda n: log.append(subjects.fact(f"r_{n}"), _BODY, id=f"i_{n}"))
        with pytest.raises(Unavailable, match=r"log\.full") as beside:
            await log.append(subjects.fact("r_big"), 5 * _BODY, id="i_big")
        assert beside.value.problem.retryable, "a body that lies beside the stream"
        await log.close()
        problem = met.value.problem
        held = (await bus.nc.jetstream().account_info()).storage
        assert problem.code == "log.full"
        assert problem.retryable
        assert f"hold {held} bytes" in problem.message
        assert whose in problem.message
        assert setting in (problem.fix or "")
        marks = BucketMarks(bus.nc, bus.names.marks, "test")
        with pytest.raises(Unavailable, match=r"log\.full"):
            await _until_refused(lambda n: marks._put(f"probe_{n}", _BODY))
        await marks.close()
