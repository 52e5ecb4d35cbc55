"""The file of a `FileLog`: its lines, and what is done about a broken one.

The first line names the format. Every other line is one record as a JSON object, numbered from 1 without a gap, with
the CRC-32 of the rest of the line as its last field:

    {"seq":1,"subject":"…","id":"…","headers":{…},"json":{…},"crc":3735928559}

`json` is the body as it is, byte for byte, if it looks like a JSON object on one line; other text is in `body`, as a
JSON string, and what is no UTF-8 in `body64`.

A process that is killed while it writes leaves a last line without its end. Nobody was told that such a line is stored,
so it is cut off. A whole line that is wrong was told to be stored, so it is an error, and nothing is repaired silently.
"""

from __future__ import annotations

import base64
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from partsong.contracts.errors import InvalidInput, Unavailable
from partsong.log.port import Record

__all__ = ["HEADER", "decode", "encode", "read", "recover"]

HEADER = b'{"format":"partsong-log","version":1}\n'

_CRC = b',"crc":'
_JSON = b',"json":'
"""Cannot occur before the body: within a JSON string its quotes would be escaped."""


def encode(record: Record) -> bytes:
    """A record as its line, with the line's end."""
    fields: dict[str, object] = {"seq": record.seq, "subject": record.subject, "id": record.id}
    if record.headers:
        fields["headers"] = dict(record.headers)
    as_it_is = _is_one_line(record.body)
    if not as_it_is:
        try:
            fields["body"] = record.body.decode()
        except UnicodeDecodeError:
            fields["body64"] = base64.b64encode(record.body).decode()
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()[:-1]
    if as_it_is:
        text = b"%b%b%b" % (text, _JSON, record.body)
    return b"%b%b%d}\n" % (text, _CRC, zlib.crc32(text))


def _is_one_line(body: bytes) -> bool:
    if body[:1] != b"{" or body[-1:] != b"}" or b"\n" in body or b"\r" in body:
        return False
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def decode(line: bytes) -> Record:
    """The record of a line.

    Raises:
        ValueError: the line is not what `encode` makes; the message says why.
    """
    text, found, crc = line.rpartition(_CRC)
    if not found:
        raise ValueError("it has no checksum")
    if crc.rstrip(b"}\n") != str(zlib.crc32(text)).encode():
        raise ValueError(f"its checksum is {crc[:16]!r}, should be {zlib.crc32(text)}")
    text, as_it_is, body = text.partition(_JSON)
    fields = json.loads(text + b"}")
    if not as_it_is:
        body = fields["body"].encode() if "body" in fields else base64.b64decode(fields["body64"])
    headers: Mapping[str, str] = fields.get("headers", {})
    return Record(fields["seq"], fields["subject"], body, fields["id"], headers)


def recover(fd: int, path: Path) -> Iterator[tuple[int, int, Record]]:
    """Offset, length and record of every line, after cutting off a last line without its end.

    Leaves an empty file with its first line written.

    Raises:
        InvalidInput: `log.not_a_log`: the file is something else; it is not touched.
        Unavailable: `log.corrupt`: a whole line is wrong; the message names it.
    """
    with os.fdopen(os.dup(fd), "rb") as file:
        if not _begun(file.readline(), path):
            os.ftruncate(fd, 0)
            os.pwrite(fd, HEADER, 0)
            os.fsync(fd)
            return
        offset = len(HEADER)
        for seq, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                os.ftruncate(fd, offset)
                os.fsync(fd)
                return
            yield offset, len(line), _checked(line, seq, path)
            offset += len(line)


def read(path: Path) -> Iterator[Record]:
    """The records of a file that somebody may be writing; none if there is no file. It is not touched.

    Raises:
        InvalidInput: `log.not_a_log`.
        Unavailable: `log.corrupt`.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        if not _begun(file.readline(), path):
            return
        for seq, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            yield _checked(line, seq, path)


def _begun(start: bytes, path: Path) -> bool:
    """Whether a file's first line is there; one that was cut short is not.

    Raises:
        InvalidInput: `log.not_a_log`.
    """
    if not HEADER.startswith(start):
        raise InvalidInput(
            "log.not_a_log",
            f"the file starts with {start[:40]!r}, not with {HEADER[:40]!r}",
            where=str(path),
            fix="give the path of a log or of a file that does not exist yet",
        )
    return start == HEADER


def _checked(line: bytes, seq: int, path: Path) -> Record:
    try:
        record = decode(line)
        if record.seq != seq:
            raise ValueError(f"its sequence is {record.seq}, should be {seq}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unavailable(
            "log.corrupt",
            f"line {seq + 1} is corrupt: {error}",
            where=f"{path}:{seq + 1}",
            fix=f"restore the file from a backup, or keep what is before it: head -n {seq} {path.name}",
        ) from error
    return record
