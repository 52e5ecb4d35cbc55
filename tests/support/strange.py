"""Records as nobody of ours writes them, put into a log byte by byte: the server takes them all."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import urlparse

__all__ = ["HEADERS", "PAYLOADS", "TAILS", "put", "said"]

_MISSING = b"sha256:" + b"0" * 64

HEADERS: dict[str, bytes] = {
    "missing body": b"NATS/1.0\r\nPartsong-Blob: " + _MISSING + b"\r\n\r\n",
    "a body without a name": b"NATS/1.0\r\nPartsong-Blob: \r\n\r\n",
    "a body whose name is no name": b"NATS/1.0\r\nPartsong-Blob: a.b.> *\xff\r\n\r\n",
    "a body whose name is long": b"NATS/1.0\r\nPartsong-Blob: " + b"x" * 9000 + b"\r\n\r\n",
    "not UTF-8": b"NATS/1.0\r\nPartsong-Status: \xff\xfe\r\n\xff: x\r\nNats-Msg-Id: \xc3\r\n\r\n",
    "a status": b"NATS/1.0 404\r\n\r\n",
    "a status that is not UTF-8": b"NATS/1.0 \xff\xff\xff \xff\r\n\r\n",
    "a status and a header": b"NATS/1.0 503 Gone\r\nPartsong-Status: completed\r\n\r\n",
    "a place of its own": b"NATS/1.0\r\nNats-Sequence: 7\r\nNats-Subject: a.b\r\nNats-Num-Pending: x\r\n\r\n",
    "no line": b"NATS/1.0",
    "no end": b"NATS/1.0\r\nPartsong-Status",
    "another version": b"NATS/9.9\r\nPartsong-Status: running\r\n\r\n",
    "nothing known": b"\xff\x00\xfe rubbish",
    "control characters": b"NATS/1.0\r\nPartsong-Status: \x00\x1b]0;x\x07\r\nNats-Msg-Id: a\x00b\r\n\r\n",
    "white space that is none of ours": b"NATS/1.0\r\nNats-Msg-Id: a\x1f\xc2\xa0\r\n\r\n",
    "an id twice, behind a status": b"NATS/1.0 404 No\r\nNats-Msg-Id: a\r\nNats-Msg-Id: b\r\n\r\n",
    "many": b"NATS/1.0\r\n" + b"".join(b"H%d: x\r\n" % n for n in range(5000)) + b"\r\n",
    "one that is huge": b"NATS/1.0\r\nPartsong-Status: " + b"x" * 60_000 + b"\r\n\r\n",
    "numbers that are none": b"NATS/1.0\r\nPartsong-Seen: " + b"9" * 6000 + b"\r\n\r\n",
}
"""Blocks of headers."""

PAYLOADS: dict[str, bytes] = {
    "nothing": b"",
    "no text": b"\xff not json",
    "a list": b"[1, 2]",
    "a word": b"null",
    "depth": b'{"run":"r","events":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "a huge number": b'{"run":"r","events":[{"id":"a","type":"node.scheduled","v":'
    + b"9" * 6000
    + b"}]}",
    "no number": b'{"run":"r","n":NaN,"seen":Infinity,"prev_hash":"0","hash":"0","events":[]}',
    "half a character": b'{"run":"\\ud800","events":[{"id":"\\ud800","type":"\\ud800","v":1}]}',
    "a commit of nobody's": b'{"run":"r","n":1,"seen":0,"prev_hash":"0","hash":"0","events":[]}',
    "a newer one": b'{"format":999,"run":"r","events":[{"id":"x","type":"call.dreamt","v":7,"time":"","data":{}}]}',
    "another shape": b'{"run":["r"],"events":{"a":1}}',
    "compressed": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xed\xc1\x01\x01",
    "what stands for a body elsewhere": json.dumps({"blob": "sha256:00", "bytes": 9}).encode(),
}
"""Bodies."""

TAILS: dict[str, bytes] = {
    "not UTF-8": b"0.\xff\xfe.fact",
    "not UTF-8 of ours": b"0.~.\xff",
    "too short": b"0",
    "too long": b"0.r.engine.a.b.c.d",
    "no partition": b"x.r.engine",
    "half a run": b"0.r",
    "a form feed": b"0.a\x0bb\x0cc.fact",
    "long": b"0." + b"r" * 3000 + b".fact",
    "a command of none": b"0.r.command",
    "nobody's record": b"0.~.nothing",
}
"""Subjects below `<prefix>.log.`."""


async def put(url: str, subject: bytes, body: bytes, headers: bytes | None = None) -> None:
    """Publish a message to a stream, whatever is in it; it is stored when this comes back."""
    await _publish(url, subject, body, headers, b"MSG ")


async def said(url: str, subject: bytes, body: bytes, headers: bytes | None = None) -> None:
    """Publish a message to whoever listens; the server has it when this comes back."""
    await _publish(url, subject, body, headers, b"PONG")


async def _publish(
    url: str, subject: bytes, body: bytes, headers: bytes | None, end: bytes
) -> None:
    """In the server's own protocol; its answer begins with `end`."""
    parts = urlparse(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        await reader.readline()
        inbox = b"_INBOX.strange"
        writer.write(b'CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\n')
        writer.write(b"SUB " + inbox + b" 1\r\nPING\r\n")
        await _until(reader, b"PONG")
        if headers is None:
            writer.write(b"PUB %b %b %d\r\n" % (subject, inbox, len(body)) + body + b"\r\n")
        else:
            sizes = len(headers), len(headers) + len(body)
            writer.write(b"HPUB %b %b %d %d\r\n" % (subject, inbox, *sizes))
            writer.write(headers + body + b"\r\n")
        if end == b"PONG":
            writer.write(b"PING\r\n")
        await _until(reader, end)
    finally:
        writer.close()


async def _until(reader: asyncio.StreamReader, word: bytes) -> None:
    async with asyncio.timeout(30):
        while not (line := await reader.readline()).startswith((word, b"H" + word)):
            if line.startswith(b"-ERR") or not line:
                raise ConnectionError(line)
