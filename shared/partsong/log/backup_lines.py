"""A record as one line of a backup's `log.jsonl`, and back.

A line ends with a sum over all that stands before it: neither a run's chain nor a partition's seal covers a record's id,
subject and headers, and a bit of them that flips in a backup would be restored unseen. Lines of before have none.
"""

from __future__ import annotations

import base64
import hashlib
import json

from partsong.log.walk import Raw

__all__ = ["line_of", "raw_of"]

_SUM = b',"sum":"'
_DIGITS = 16


def line_of(raw: Raw) -> bytes:
    """The line of a record, with its end."""
    said: dict[str, object] = {"seq": raw.seq, "subject": raw.subject, "id": raw.id, "at": raw.at}
    if raw.headers:
        said["headers"] = dict(raw.headers)
    try:
        said["body"] = raw.body.decode()
    except UnicodeDecodeError:
        said["base64"] = base64.b64encode(raw.body).decode()
    data = json.dumps(said, separators=(",", ":"), ensure_ascii=False).encode()[:-1]
    return data + _SUM + _sum(data).encode() + b'"}\n'


def raw_of(line: bytes) -> Raw:
    """The record of a line.

    Raises:
        ValueError: it is not one, or not what was written; why is in words.
    """
    try:
        said = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"expected is a record as JSON: {error}") from None
    if not isinstance(said, dict):
        raise ValueError(f"expected is a record, found is {said!r:.40}")  # noqa: TRY004  # of the file, not of us
    if "sum" in said and said["sum"] != (found := _sum(line.rpartition(_SUM)[0])):
        raise ValueError(
            f"record {said.get('seq')!r:.20} is not what was copied: expected is the sum {said['sum']!r:.40}, "
            f"found is {found!r}"
        )
    headers = said.get("headers", {})
    if not isinstance(headers, dict) or not all(isinstance(v, str) for v in headers.values()):
        raise ValueError(f"expected are headers of texts, found is {headers!r:.80}")
    seq = said.get("seq")
    if not isinstance(seq, int) or seq < 1:
        raise ValueError(f"expected is a sequence from 1 as 'seq', found is {seq!r:.40}")
    at = str(said.get("at", ""))
    return Raw(seq, _text(said, "subject"), _text(said, "id"), _body(said), headers, at)


def _body(said: dict[str, object]) -> bytes:
    if "base64" in said:
        return base64.b64decode(_text(said, "base64"), validate=True)
    return _text(said, "body").encode()


def _text(said: dict[str, object], key: str) -> str:
    value = said.get(key)
    if not isinstance(value, str):
        raise ValueError(f"expected is a text as {key!r}, found is {value!r:.40}")  # noqa: TRY004
    return value


def _sum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:_DIGITS]
