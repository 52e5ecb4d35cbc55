"""Requests that a seeded generator makes up: each that has a legible id gets exactly one answer, and soon."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable

import pytest
from nats.aio.msg import Msg
from pydantic import JsonValue

from partsong.contracts.wire.requests import REPLY, Rejected
from partsong.testing.nats import Bus
from tests.system import graphs
from tests.system.platform import Platform, a_platform

SEEDS = range(4)
REQUESTS = 150
PATIENCE = 30.0
"""A client waits no longer."""

TEXTS: tuple[str, ...] = (
    "",
    "a",
    "a" * 300,
    "\u202e\0x",
    "../../etc",
    "a.b",
    "*",
    ">",
    "a b",
    "\ud800",
    "🧨" * 50,
)
TEXTS += (
    "sha256:" + "0" * 64,
    "{{x}}",
    "%s%n",
    "NaN",
    "__proto__",
    "r~1",
    "~",
    "START",
    "\x1b[31m",
)
NUMBERS = (0, -1, 2**31, 2**63, 2**64, -(2**63), 1e308, 0.1, float("inf"), float("nan"), 10**400)
KEYS = [
    "id",
    "run_id",
    "new_run_id",
    "graph",
    "input",
    "options",
    "name",
    "nodes",
    "edges",
    "entry",
    "type",
    "function",
    "from",
    "to",
    "on",
    "when",
    "seq",
    "values",
    "outputs",
    "payload",
    "every",
    "cron",
    "timezone",
    "overlap",
    "v",
    "reason",
    "thread",
    "labels",
    "max_steps",
    "deadline",
    "on_busy",
    "webhook",
    "parent",
]
VERBS = [
    "run",
    "cancel",
    "pause",
    "resume",
    "signal",
    "fork",
    "retry",
    "schedule",
    "unschedule",
    "dance",
    "admit",
    "RUN",
    "run.x",
    "run.c.r",
    "run.3.c.r",
]
BLOBS = ("", "x", "sha256:", "sha256:" + "1" * 64, "a.b", "*", ">")
NODES: dict[str, JsonValue] = {"a": {"type": "function", "function": "tests.system.nodes:start"}}


class Maker:
    """Makes requests up."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def value(self, depth: int = 0) -> JsonValue:
        kind, pick = self.random.random(), self.random.choice
        if depth > 4 or kind < 0.25:
            return pick(TEXTS)
        if kind < 0.45:
            return pick((*NUMBERS, True, False, None))
        if kind < 0.6:
            return [self.value(depth + 1) for _ in range(self.random.randint(0, 4))]
        return {pick(KEYS): self.value(depth + 1) for _ in range(self.random.randint(0, 6))}

    def body(self, id: str) -> dict[str, JsonValue]:
        pick = self.random.choice
        made: dict[str, JsonValue] = {"id": id}
        if self.random.random() < 0.5:
            made["run_id"] = pick((f"fz{self.random.randint(0, 9)}", *TEXTS))
        if self.random.random() < 0.6:
            made["graph"] = {"name": pick(TEXTS), "nodes": NODES, pick(KEYS): self.value(1)}
        for _ in range(self.random.randint(0, 4)):
            made[pick([key for key in KEYS if key != "id"])] = self.value(1)
        return made

    def text(self, id: str) -> bytes:
        """A request whose id is legible, whatever else it may be."""
        text = json.dumps(self.body(id)).encode()
        head = json.dumps({"id": id}).encode()
        deep = b"[" * 1000 + b"]" * 1000
        shapes: list[Callable[[], bytes]] = [
            lambda: text[: max(len(head), self.random.randint(0, len(text)))],
            lambda: head[:-1] + b', "x": ' + deep + b"}",
            lambda: b'{"x": ' + deep + b", " + head[1:],
            lambda: b'{"id": "other", ' + head[1:],
            lambda: head[:-1] + b', "x": "' + b"y" * 1_100_000 + b'"}',
            lambda: head[:-1] + b', "n": ' + b"9" * 5000 + b"}",
            lambda: head[:-1] + b', "x": "\xff\xfe"}',
            lambda: b"\xef\xbb\xbf" + head,
            lambda: head + head,
        ]
        return self.random.choice(shapes)() if self.random.random() < 0.15 else text

    def headers(self) -> dict[str, str] | None:
        pick = self.random.choice
        if self.random.random() < 0.05:
            return {pick(("Partsong-Blob", "traceparent", "Partsong-Asked")): pick(BLOBS)}
        return None


@pytest.fixture
async def platform(bus: Bus) -> AsyncIterator[Platform]:
    async with a_platform(bus) as running:
        yield running


async def test_whatever_has_a_legible_id_is_answered_once_and_soon(
    bus: Bus, platform: Platform
) -> None:
    prefix, answers = bus.subjects.prefix, Counter[str]()
    unread = list[bytes]()

    async def take(msg: Msg) -> None:
        reply = REPLY.validate_json(msg.data)
        answers[reply.id] += 1
        if isinstance(reply, Rejected) and "Traceback" in msg.data.decode():
            unread.append(msg.data)

    await bus.nc.subscribe(f"{prefix}.reply.*", cb=take)
    await bus.nc.flush()
    sent = dict[str, bytes]()
    for seed in SEEDS:
        maker = Maker(seed)
        for number in range(REQUESTS):
            id = f"z{seed}-{number}"
            sent[id] = maker.text(id)
            verb = maker.random.choice(VERBS)
            await bus.nc.publish(f"{prefix}.request.{verb}", sent[id], headers=maker.headers())
    loop = asyncio.get_running_loop()
    end = loop.time() + PATIENCE
    while missing := sent.keys() - answers.keys():
        assert loop.time() < end, [(id, sent[id][:200]) for id in sorted(missing)[:5]]
        await asyncio.sleep(0.05)
    run_id = await platform.client.start(
        graphs.chain()
    )  # all that was asked before has been answered
    assert (await platform.client.result(run_id, timeout=30)).status == "completed"
    assert {id: times for id, times in answers.items() if id in sent and times != 1} == {}
    assert unread == []
