"""A record as JetStream keeps it: which header means what."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from nats.aio.msg import Msg
from pydantic import JsonValue

from partsong.contracts.wire.headers import (
    BLOB,
    MSG_ID,
    SEQUENCE,
    SUBJECT,
)
from partsong.log.port import Record
from partsong.runtime import clock
from partsong.runtime.nats.client import parse_headers

__all__ = [
    "Place",
    "from_delivery",
    "from_direct",
    "from_leader",
    "headers_of",
    "place_of",
    "stored_at",
]

_OURS = ("Nats-", BLOB)


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
    return _record(int(headers[SEQUENCE]), headers[SUBJECT], msg.data, headers)


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
    return Record(seq, subject, body, headers.get(MSG_ID, ""), own), headers.get(BLOB)
