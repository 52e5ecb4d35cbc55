"""Dead letters on a real server: by digest and beginning, legible, and for a time."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from partsong.bus.dead import dead_letter
from partsong.bus.legible import legible
from partsong.contracts.errors import Problem
from partsong.testing.nats import Bus


async def kept(bus: Bus, body: bytes, problem: Problem) -> tuple[dict[str, Any], int]:
    await dead_letter(
        bus.nc, bus.subjects, "x", problem, subject="s", seq=1, deliveries=1, body=body
    )
    sub = await bus.nc.jetstream().subscribe(bus.subjects.dead("x"), ordered_consumer=True)
    message = await sub.next_msg(timeout=30)
    await sub.unsubscribe()
    return json.loads(message.data), len(message.data)


BAD = Problem(code="x.bad", message="no")


async def test_of_a_large_body_the_beginning_and_the_digest_are_kept(bus: Bus) -> None:
    body = b"a" * 3_000_000
    letter, size = await kept(bus, body, BAD)
    assert (letter["body"], letter["size"]) == ("a" * 4096, len(body))
    assert letter["digest"] == f"sha256:{hashlib.sha256(body).hexdigest()}"
    assert size < 10_000


@pytest.mark.parametrize("body", [b"\xff\x00\x1b[2J\n", "\u202eabc".encode(), b"\xed\xa0\x80"])
async def test_what_would_steer_a_terminal_is_written_out(bus: Bus, body: bytes) -> None:
    letter, _ = await kept(bus, body, BAD)
    assert not {"\x1b", "\x00", "\u202e"} & set(letter["body"])


async def test_a_problem_that_quotes_a_megabyte_or_half_a_character_is_kept(bus: Bus) -> None:
    problem = Problem(code="x.bad", message="\ud800" + "y" * 1_000_000, where="a" * 10_000)
    letter, size = await kept(bus, b"", problem)
    assert letter["reason"]["message"].startswith("?y")
    assert size < 20_000


def test_a_problem_that_can_be_read_is_left_as_it_is() -> None:
    problem = Problem(code="x.bad", message="Grüße, 🧨", fix="none")
    assert legible(problem) is problem
