"""What is stored beside a snapshot's body: whose it is, and the checksum that says that both are whole.

A label is one line of JSON, written in one way only:

    {"run":"…","seq":7,"version":"…","hash":"…","bytes":1234,"sha256":"…"}

`sha256` is over the fields before it and the body.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator

from partsong.contracts.errors import InvalidInput
from partsong.contracts.ids import check_id
from partsong.log.snapshots.port import Snapshot

__all__ = [
    "check",
    "check_run",
    "descending",
    "label_of",
    "opened",
    "size_of",
    "sum_of",
    "version_of",
]

_HEX = re.compile(r"[0-9a-f]{64}")


def label_of(snapshot: Snapshot) -> bytes:
    """The label, without a line's end."""
    fields = {
        "run": snapshot.run_id,
        "seq": snapshot.seq,
        "version": snapshot.version,
        "hash": snapshot.hash,
        "bytes": len(snapshot.body),
    }
    text = json.dumps(fields, separators=(",", ":")).encode()[:-1]
    digest = hashlib.sha256(text)
    digest.update(snapshot.body)
    return b'%b,"sha256":"%b"}' % (text, digest.hexdigest().encode())


def opened(label: bytes, body: bytes, run_id: str, seq: int) -> Snapshot | None:
    """The snapshot of this run and sequence; None unless label and body are to the byte what was stored for it."""
    fields = _fields(label)
    snapshot = Snapshot(run_id, seq, str(fields.get("version")), body, hash=str(fields.get("hash")))
    return snapshot if label_of(snapshot) == label else None


def version_of(label: bytes) -> str | None:
    """The version that a label claims; None if it is no label."""
    version = _fields(label).get("version")
    return version if isinstance(version, str) else None


def size_of(label: bytes) -> int:
    """The length of the body that a label claims; -1 if it is no label."""
    size = _fields(label).get("bytes")
    return size if isinstance(size, int) else -1


def sum_of(label: bytes) -> str:
    """The checksum that a label claims; `-` if it is no label."""
    digest = _fields(label).get("sha256")
    return digest if isinstance(digest, str) and _HEX.fullmatch(digest) else "-"


def check(snapshot: Snapshot) -> None:
    """Refuse what cannot be stored.

    Raises:
        InvalidInput: `id.invalid` or `snapshots.no_sequence`.
    """
    check_run(snapshot.run_id)
    if snapshot.seq < 1:
        raise InvalidInput(
            "snapshots.no_sequence",
            f"the sequence of a snapshot is at least 1, not {snapshot.seq}",
            where=snapshot.run_id,
            fix="take a snapshot after the first record was folded",
        )


def check_run(run_id: str) -> None:
    """Refuse an id that cannot stand in a key.

    Raises:
        InvalidInput: `id.invalid`.
    """
    check_id("run_id", run_id)


def descending(seqs: Iterable[int], up_to: int | None) -> Iterator[int]:
    """The sequences in the order in which `newest` tries them."""
    return (seq for seq in sorted(seqs, reverse=True) if up_to is None or seq <= up_to)


def _fields(label: bytes) -> dict[str, object]:
    try:
        fields = json.loads(label)
    except (ValueError, RecursionError):  # also what is not UTF-8, or nothing but brackets
        return {}
    return fields if isinstance(fields, dict) else {}
