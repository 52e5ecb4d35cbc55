"""What one message of the log holds: an engine's commit, or a worker's report. And the hashes that bind them.

The running hash of a run covers the bodies of its messages in order: h(0) = 32 zero bytes,
h(k) = sha256(h(k-1) + body(k)). A commit carries the running hash up to `seen` (`prev_hash`) and the hash of its own
content (`hash`), so a lost, changed or reordered message shows at the next commit.

Within a message an event does not repeat what follows from the one before it: without a `time` it has that one's, and
without a `cause` that one is its cause. Without a `v` it is 1. An id or cause that begins with a dot begins with the
run's id.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import JsonValue

from partsong.contracts import events
from partsong.contracts.errors import InvalidInput, Problem
from partsong.contracts.events import Event

__all__ = [
    "START_HASH",
    "Commit",
    "Report",
    "chain",
    "content_hash",
    "decode",
    "decode_known",
    "encode_commit",
    "encode_report",
    "newest_event",
    "spelled_out",
]

START_HASH = bytes(32)
_OF_A_COMMIT = {"n", "seen", "prev_hash", "hash"}
"""A body with any of them is a commit, and a damaged one if it lacks another: never a report."""

_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
"""What half a character looks like; two of them may be a whole one."""
_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Commit:
    """All events of one decision."""

    run: str
    n: int
    """Counts the run's commits, from 1."""
    seen: int
    """Highest sequence up to which the decider had folded every message of the run, plus its own earlier commits."""
    prev_hash: str
    hash: str
    events: tuple[Event, ...]
    newer: Problem | None = None
    """The first event that is newer than this reader; neither it nor what follows it is in `events`."""

    @property
    def id(self) -> str:
        """`<run>.engine.<n>.<content hash>`: two engines that decide differently at n never look like a retry."""
        return f"{self.run}.engine.{self.n}.{self.hash[:16]}"


@dataclass(frozen=True, slots=True)
class Report:
    """What a worker, or whoever closes a guarded call, has to say."""

    run: str
    events: tuple[Event, ...]
    newer: Problem | None = None
    """As in a commit."""


def chain(previous: bytes, body: bytes) -> bytes:
    """The running hash after one more message."""
    return hashlib.sha256(previous + body).digest()


def encode_commit(
    run: str, n: int, seen: int, prev_hash: bytes, what: tuple[Event, ...]
) -> tuple[Commit, bytes]:
    """A commit and its body."""
    content: dict[str, JsonValue] = {
        "run": run,
        "n": n,
        "seen": seen,
        "prev_hash": prev_hash.hex()[:32],
        "events": _brief(run, what),
    }
    text = _dump(content)
    digest = hashlib.sha256(text).hexdigest()[:32]
    body = b'%b,"hash":"%b"}' % (text[:-1], digest.encode())
    return Commit(run, n, seen, prev_hash.hex()[:32], digest, what), body


def content_hash(body: bytes) -> str:
    """The hash of a commit's body as it was before the hash itself was put at its end, and nothing behind it."""
    content, _, tail = body.rpartition(b',"hash":"')
    return hashlib.sha256(content + b"}").hexdigest()[:32] if len(tail) == 34 else "no hash"


def encode_report(run: str, *what: Event) -> bytes:
    """The body of a report."""
    return _dump({"run": run, "events": _brief(run, what)})


def decode(body: bytes) -> Commit | Report:
    """A message of the log, all of whose events are known here.

    Raises:
        InvalidInput: `envelope.malformed`, or what `events.read` raises.
    """
    message = decode_known(body)
    if message.newer is not None:
        raise InvalidInput.of(message.newer)
    return message


def newest_event(body: bytes) -> Event:
    """The event that a message of the log ends with.

    Raises:
        InvalidInput: as `decode`; also if it says nothing at all.
    """
    message = decode(body)
    if not message.events:
        raise InvalidInput("envelope.malformed", "a message without an event", where="events")
    return message.events[-1]


def decode_known(body: bytes) -> Commit | Report:
    """A message of the log, as far as this reader knows its events; `newer` says where that ends.

    Raises:
        InvalidInput: `envelope.malformed`, or `event.malformed`.
    """
    try:
        raw = json.loads(body)
        if _HALF.search(body):  # nobody could write down what follows from it
            json.dumps(raw, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise InvalidInput("envelope.malformed", f"not JSON: {error}", where="body") from None
    if (
        not isinstance(raw, dict)
        or not isinstance(raw.get("run"), str)
        or not isinstance(raw.get("events"), list)
    ):
        raise InvalidInput(
            "envelope.malformed", "expected an object with `run` and `events`", where="body"
        )
    found, newer = _known(raw["run"], raw["events"])
    if not _OF_A_COMMIT & raw.keys():
        return Report(raw["run"], found, newer)
    try:
        return Commit(
            raw["run"],
            int(raw["n"]),
            int(raw["seen"]),
            str(raw["prev_hash"]),
            str(raw["hash"]),
            found,
            newer,
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InvalidInput(
            "envelope.malformed", f"a commit needs n, seen, prev_hash, hash: {error}", where="body"
        ) from None


def _known(run: str, written: list[JsonValue]) -> tuple[tuple[Event, ...], Problem | None]:
    """The events up to the first that is newer than this reader, and why that one cannot be read."""
    found: list[Event] = []
    for raw in spelled_out(run, written):
        try:
            found.append(events.read(raw))
        except InvalidInput as error:
            if error.problem.code != "event.unknown":
                raise
            return tuple(found), error.problem
    return tuple(found), None


def _brief(run: str, what: tuple[Event, ...]) -> list[JsonValue]:
    """The events, without what a reader can tell."""
    written: list[JsonValue] = []
    before: Event | None = None
    for event in what:
        raw = events.write(event)
        raw["id"], raw["cause"] = _short(run, event.id), _short(run, event.cause)
        if event.v == 1:
            del raw["v"]
        if before is not None and event.time == before.time:
            del raw["time"]
        if before is not None and event.cause == before.id:
            del raw["cause"]
        written.append(raw)
        before = event
    return written


def _short(run: str, id_: str) -> str:
    return id_[len(run) :] if id_.startswith(f"{run}.") else id_


def spelled_out(run: str, written: list[JsonValue]) -> Iterator[JsonValue]:
    """The events of a message as they were written, with what they left out."""
    time: JsonValue = ""
    cause: JsonValue = ""
    for raw in written:
        if isinstance(raw, dict):
            whole: dict[str, JsonValue] = {"v": 1, "time": time, "cause": cause, **raw}
            for key in ("id", "cause"):
                said = whole.get(key)
                if isinstance(said, str) and said.startswith("."):
                    whole[key] = run + said
            time, cause = whole["time"], whole.get("id", "")
            yield whole
        else:
            yield raw


def _dump(value: JsonValue) -> bytes:
    return _ENCODER.encode(value).encode()
