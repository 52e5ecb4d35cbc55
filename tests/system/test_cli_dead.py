"""`partsong bus dead`: what a tool-runner could not read is listed, sent again, refused as poison, given up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from partsong.testing.nats import Bus
from tests.system.platform import a_platform
from tests.system.terminal import Terminal


@pytest.fixture
async def partsong(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Terminal]:
    monkeypatch.setenv("PARTSONG_NATS_URL", bus.url)
    monkeypatch.setenv("PARTSONG_PREFIX", bus.subjects.prefix)
    async with a_platform(bus) as platform:
        yield Terminal(platform, monkeypatch)


async def letters(partsong: Terminal, count: int) -> list[dict[str, Any]]:
    """The open ones, once there are so many."""
    async with asyncio.timeout(60):
        while len(found := await partsong.rows("bus", "dead", "list")) != count:
            pass  # each look is a command of its own
    return found


async def test_a_dead_letter_is_sent_again_once_and_then_given_up(
    partsong: Terminal, bus: Bus
) -> None:
    await bus.nc.jetstream().publish(bus.subjects.work("tool-runner"), b"no hint")
    (first,) = await letters(partsong, 1)
    shown = await partsong.record("bus", "dead", "show", first["seq"])
    assert (shown["service"], shown["body"], shown["whole"]) == ("tool-runner", "no hint", True)

    await partsong("bus", "dead", "retry", first["seq"], "--by", "ann")
    (again,) = await letters(partsong, 1)
    assert again["seq"] != first["seq"]
    assert again["redriven"] is True
    refused = await partsong.refused("bus", "dead", "retry", again["seq"])
    assert "dead_letter.poison" in refused
    await partsong("bus", "dead", "discard", again["seq"], "--reason", "nonsense", "--by", "ann")
    assert await letters(partsong, 0) == []
    settled = await partsong.rows("bus", "dead", "list", "--settled")
    assert [row["status"] for row in settled] == ["discarded by ann", "retried by ann"]


async def test_many_are_asked_for_first_and_each_has_its_own_outcome(
    partsong: Terminal, bus: Bus
) -> None:
    for n in range(3):
        await bus.nc.jetstream().publish(bus.subjects.work("tool-runner"), f"no hint {n}".encode())
    seqs = sorted(row["seq"] for row in await letters(partsong, 3))
    words = ("bus", "dead", "discard", "--reason", "nonsense")
    for what in ("--all", f"{seqs[0]}-{seqs[-1]}"):
        assert "--yes" in await partsong(*words, what, code=2)
    assert "give SEQ" in await partsong(*words, code=2)
    assert "neither SEQ nor FROM-TO" in await partsong(*words, "x-3", code=2)
    assert "dead_letter.unknown" in await partsong.refused(*words, 9_999, code=3)
    mixed = await partsong.refused(*words, seqs[0], 9_999, "--yes", "-o", "jsonl")
    assert '"status": "discarded"' in mixed
    assert '"status": "refused"' in mixed
    await partsong(*words, f"{seqs[1]}-{seqs[-1]}", "--yes")
    assert await letters(partsong, 0) == []
