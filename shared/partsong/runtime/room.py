"""Room: which streams hold as much as they may, and what that means for whom."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping

import nats.errors
from nats.aio.client import Client
from nats.js.errors import APIError

from partsong.contracts.errors import Problem, Unavailable
from partsong.contracts.wire.subjects import Subjects
from partsong.runtime.stream_table import Names, table

__all__ = ["FULL", "full_streams", "holds_all", "no_room", "too_large"]

FULL = frozenset({"bucket.full", "graphs.full"})
"""Problems that pass only when somebody removes something: what is refused by them is refused for good."""
_TOO_LARGE = 10054
_WITHIN = 2.0


def holds_all(error: APIError) -> bool:
    """Whether a stream holds as many messages as it may; that its store failed is said in words only."""
    return "maximum messages exceeded" in (error.description or "")


def too_large(error: APIError) -> bool:
    """Whether a message is larger than its stream takes."""
    return error.err_code == _TOO_LARGE


async def full_streams(
    nc: Client, subjects: Subjects, *, share: float = 1.0, within: float = _WITHIN
) -> list[Problem]:
    """One problem for each stream that refuses what comes, or holds that `share` of what it may.

    A stream that does not answer is none: others say so.
    """
    refusing = [
        spec.name
        for spec in table(subjects).streams
        if spec.config["discard"] == "new" and spec.config["max_msgs"] != -1
    ]

    async def one(name: str) -> Problem | None:
        try:
            reply = await nc.request(f"$JS.API.STREAM.INFO.{name}", timeout=within)
            info = json.loads(reply.data)
            most, held = info["config"]["max_msgs"], info["state"]["messages"]
        except (nats.errors.Error, TimeoutError, ValueError, KeyError):
            return None
        if most <= 0 or held < share * most:
            return None
        return no_room(subjects, name, f"holds {held} messages of the {most} that it may").problem

    found = await asyncio.gather(*map(one, refusing))
    return [problem for problem in found if problem is not None]


def no_room(subjects: Subjects, stream: str, says: str) -> Unavailable:
    """The error of a stream that takes nothing more: what follows from it, and what to do."""
    code, follows, fix = _meanings(Names.of(subjects)).get(
        stream,
        (
            "bucket.full",
            "what is new is refused",
            "`partsong doctor` says what is not as it must be; remove what is not needed any more",
        ),
    )
    return Unavailable(
        code, f"{stream} {says}: {follows}", where=stream, fix=fix, retryable=code not in FULL
    )


def _meanings(names: Names) -> Mapping[str, tuple[str, str, str]]:
    """By stream, the code, what follows, and what to do."""
    return {
        names.requests: (
            "requests.full",
            "new requests are refused until engines have taken some",
            "try again later; `partsong bus status` says whether a graph-engine runs, and who has asked for so much",
        ),
        names.work: (
            "work.full",
            "calls reach their workers later; none is lost, and engines send their hints again",
            "start more workers; `partsong bus status` says which service the calls wait for",
        ),
        f"KV_{names.graphs}": (
            "graphs.full",
            "graphs that are not known yet are refused",
            f"remove the graphs that nobody starts any more: `nats kv del {names.graphs} KEY`",
        ),
    }
