"""A record as JetStream keeps it: which header means what."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from nats.aio.msg import Msg
from pydantic import JsonValue

from partsong.log.port import Record
from partsong.runtime import clock
from partsong.runtime.nats.client import parse_headers

__all__ = [
    "ASKED",
    "BLOB",
    "EXPECT",
    "EXPECT_LAST",
    "ID",
    "SEEN",
    "Place",
    "from_delivery",
    "from_direct",
    "from_leader",
    "headers_of",
    "place_of",
    "seen_in",
    "sequence",
    "stored_at",
]

ID = "Nats-Msg-Id"
EXPECT = "Nats-Expected-Last-Subject-Sequence"
EXPECT_LAST = "Nats-Expected-Last-Sequence"
BLOB = "Partsong-Blob"
"""`sha256:<hex>` of a body that is in the object store; the stored body only says so too, for people."""

ASKED = "Partsong-Asked"
"""On a command by which a run begins: when its request was stored, which may be long before it came into the log."""
SEEN = "Partsong-Seen"
"""The newest record of a run that its engine knew: of a commit, when it was decided; of a hint, when it was sent."""

_OURS = ("Nats-", BLOB)
_DIGITS = 19
"""A sequence has no more."""


class Place(NamedTuple):
    """Where a delivered message is: in the stream, in its consumer, and how many are behind it."""

    seq: int
    consumer_seq: int
    pending: int


def place_of(reply: str) -> Place | None:
    """Read `$JS.ACK.…`; None if it is something else.

    Two forms: `$JS.ACK.<stream>.<consumer>.<tries>.<seq>.<consumer seq>.<time>.<pending>`, and since 2.15 with domain
    and account hash before the stream.
    """
    parts = reply.split(".")
    if len(parts) < 9 or parts[1] != "ACK":
        return None
    at = 5 if len(parts) == 9 else 7
    return Place(int(parts[at]), int(parts[at + 1]), int(parts[at + 3]))


def sequence(text: str) -> int | None:
    """The place in a stream that a header names; None if it is none, for anybody may have written it."""
    return int(text) if text.isdecimal() and len(text) <= _DIGITS else None


def seen_in(headers: Mapping[str, str]) -> int | None:
    """What `SEEN` says, if it says anything."""
    return sequence(headers.get(SEEN, ""))


def stored_at(reply: str) -> str:
    """When a delivered message was stored, in RFC 3339 with milliseconds; empty if the reply does not say."""
    parts = reply.split(".")
    if len(parts) < 9 or parts[1] != "ACK":
        return ""
    nanoseconds = int(parts[7 if len(parts) == 9 else 9])
    return clock.to_text(datetime.fromtimestamp(nanoseconds / 1e9, UTC))


def from_delivery(msg: Msg, seq: int) -> tuple[Record, str | None]:
    """The record of a message from a consumer, and the blob its body is in, if it is."""
    return _record(seq, msg.subject, msg.data, msg.headers or {})


def from_direct(msg: Msg) -> tuple[Record, str | None]:
    """The record of a message from a direct get, and the blob its body is in, if it is."""
    headers = msg.headers or {}
    return _record(int(headers["Nats-Sequence"]), headers["Nats-Subject"], msg.data, headers)


def from_leader(message: Mapping[str, Any]) -> tuple[Record, str | None]:
    """The record of a message as the stream's leader answers it, its headers parsed."""
    body = base64.b64decode(str(message.get("data") or ""))
    return _record(int(message["seq"]), str(message["subject"]), body, message["headers"])


def headers_of(message: Mapping[str, JsonValue]) -> dict[str, str]:
    """The headers of a message as `$JS.API.STREAM.MSG.GET` answers it."""
    return parse_headers(base64.b64decode(str(message.get("hdrs") or ""))) or {}


def _record(
    seq: int, subject: str, body: bytes, headers: Mapping[str, str]
) -> tuple[Record, str | None]:
    own = {name: value for name, value in headers.items() if not name.startswith(_OURS)}
    return Record(seq, subject, body, headers.get(ID, ""), own), headers.get(BLOB)
