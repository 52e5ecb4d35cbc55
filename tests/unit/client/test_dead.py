"""Dead letters through the client, on a real server: sent again whole or not at all, given up with a reason."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from partsong.bus.dead import dead_letter
from partsong.client import Client
from partsong.contracts.errors import Conflict, InvalidInput, NotFound, Problem
from partsong.testing.nats import Bus

BAD = Problem(code="x.bad", message="no")


@pytest.fixture
async def client(bus: Bus) -> AsyncIterator[Client]:
    async with Client(bus.url, prefix=bus.subjects.prefix) as client:
        yield client


async def buried(
    bus: Bus, body: bytes, *, subject: str = "", seq: int = 5, headers: dict[str, str] | None = None
) -> None:
    await dead_letter(
        bus.nc,
        bus.subjects,
        "tool-runner",
        BAD,
        subject=subject or bus.subjects.work("tool-runner"),
        seq=seq,
        deliveries=1,
        body=body,
        headers=headers,
    )


async def waiting(bus: Bus) -> list[tuple[bytes, dict[str, str]]]:
    """What stands in the queue of the tool-runner."""
    js = bus.nc.jetstream()
    last = (await js.stream_info(bus.names.work)).state.last_seq
    found = [await js.get_msg(bus.names.work, seq) for seq in range(1, last + 1)]
    return [(one.data or b"", dict(one.headers or {})) for one in found]


@pytest.mark.parametrize(
    "body", [b'{"id": 1}', b"\xff\x00\x1b[2J", b"a" * 10_000, "🧨 Grüße".encode(), b""]
)
async def test_a_message_is_sent_again_byte_for_byte(bus: Bus, client: Client, body: bytes) -> None:
    await buried(bus, body, headers={"traceparent": "00-1", "Nats-Msg-Id": "old"})
    (one,) = await client.dead.list()
    await client.dead.retry(one.seq, by="ann", reason="mended")
    ((again, headers),) = await waiting(bus)
    assert again == body
    assert (headers["traceparent"], headers["Partsong-Redriven"]) == ("00-1", str(one.seq))
    assert "Partsong-Reminder" in headers, "who gets it asks first whether it is wanted"
    assert await client.dead.list() == []
    (done,) = await client.dead.list(settled=True)
    settled = done.letter.settled
    assert settled is not None
    assert (settled.how, settled.by, settled.reason, settled.letter) == (
        "retried", "ann", "mended", one.seq,
    )  # fmt: skip
    with pytest.raises(Conflict, match="was retried by ann"):
        await client.dead.retry(done.seq, by="bob")
    with pytest.raises(NotFound):
        await client.dead.retry(one.seq, by="bob")


async def test_what_came_back_is_poison(bus: Bus, client: Client) -> None:
    await buried(bus, b"x", headers={"Partsong-Redriven": "3"})
    (one,) = await client.dead.list()
    with pytest.raises(Conflict) as refused:
        await client.dead.retry(one.seq, by="ann")
    assert refused.value.problem.code == "dead_letter.poison"
    assert await waiting(bus) == []
    await client.dead.retry(one.seq, by="ann", force=True)
    assert len(await waiting(bus)) == 1


async def test_what_is_not_kept_whole_or_is_no_message_is_not_sent(
    bus: Bus, client: Client
) -> None:
    await buried(bus, b"a" * 100_000)
    await buried(bus, b"{}", subject=bus.subjects.engine("r_1"))
    await buried(bus, b"{}", seq=0)
    codes = []
    for one in await client.dead.list():
        with pytest.raises(Conflict) as refused:
            await client.dead.retry(one.seq, by="ann", force=True)
        codes.append(refused.value.problem.code)
    assert codes == ["dead_letter.cut", "dead_letter.no_message", "dead_letter.no_message"]
    assert await waiting(bus) == []


async def test_a_letter_is_given_up_with_a_reason(bus: Bus, client: Client) -> None:
    await buried(bus, b"x")
    (one,) = await client.dead.list(service="tool-runner")
    with pytest.raises(InvalidInput):
        await client.dead.discard(one.seq, by="ann", reason=" ")
    await client.dead.discard(one.seq, by="ann", reason="sent by hand")
    assert await client.dead.list() == []
    (done,) = await client.dead.list(settled=True)
    assert done.letter.settled is not None
    assert (done.letter.settled.how, done.letter.settled.reason) == ("discarded", "sent by hand")
    assert done.letter.body == "x"


async def test_what_is_no_letter_of_ours_harms_no_list(bus: Bus, client: Client) -> None:
    await bus.nc.jetstream().publish(bus.subjects.dead("tool-runner"), b"\xff")
    await buried(bus, b"x")
    assert [one.letter.reason.code for one in await client.dead.list()] == [
        "dead_letter.malformed",
        "x.bad",
    ]
