"""Snapshots in a JetStream key-value bucket, for all processes on the bus.

Keys of one snapshot, each followed by what is under it:

    <run>.<seq>.label            the label
    <run>.<seq>.<sha256>.<n>     the n-th piece of the body that the label with this checksum is for

Pieces come first and the label last, so a writer that dies leaves pieces nobody looks for, and two writers of one
sequence with different bodies never mix theirs. Bodies are not put into the log's object store: what is there is never
deleted, because the log names it. What goes is purged, not marked as deleted, so that nothing at all remains of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial

from nats.aio.client import Client
from nats.aio.msg import Msg

from partsong.contracts.errors import Unavailable
from partsong.log.link import Link, status
from partsong.log.snapshots.label import (
    check,
    check_run,
    descending,
    label_of,
    opened,
    size_of,
    sum_of,
    version_of,
)
from partsong.log.snapshots.port import Snapshot
from partsong.log.snapshots.retention import DEFAULT, Retention

__all__ = ["KvSnapshots"]

_PIECE = 256 * 1024
_LABEL = "label"
_MOST = 1000
"""Labels of one run that are looked at; far more than are kept."""


class KvSnapshots:
    """Snapshots in the bucket `bucket`, which is not created here.

    With `ttl` each is gone so many seconds after it was put. `attempt` bounds one try and `deadline` all tries of one
    request, in seconds; short, because whoever gets no answer can fold the log instead.
    """

    def __init__(
        self,
        nc: Client,
        *,
        bucket: str = "partsong_snapshots",
        retention: Retention = DEFAULT,
        ttl: int | None = None,
        attempt: float = 2.0,
        deadline: float = 6.0,
    ) -> None:
        self._stream, self._root = f"KV_{bucket}", f"$KV.{bucket}."
        self._link = Link(nc, attempt=attempt, deadline=deadline)
        self._retention = retention
        self._headers = {"Nats-TTL": f"{ttl}s"} if ttl else None
        self._piece = min(_PIECE, nc.max_payload // 2)

    async def put(self, snapshot: Snapshot) -> None:
        """See `Snapshots.put`."""
        check(snapshot)
        label, body = label_of(snapshot), snapshot.body
        key = f"{snapshot.run_id}.{snapshot.seq}"
        for number, at in enumerate(range(0, len(body), self._piece)):
            piece = body[at : at + self._piece]
            await self._store(f"{key}.{sum_of(label)}.{number}", piece)
        await self._store(f"{key}.{_LABEL}", label)
        await self._tidy(snapshot.run_id)

    async def newest(
        self, run_id: str, *, up_to: int | None = None, version: str | None = None
    ) -> Snapshot | None:
        """See `Snapshots.newest`."""
        check_run(run_id)
        labels = await self._labels(run_id)
        for seq in descending(labels, up_to):
            label = labels[seq]
            if version in {None, version_of(label)} and (
                found := opened(label, await self._body(run_id, seq, label), run_id, seq)
            ):
                return found
        return None

    async def list(self, run_id: str) -> Sequence[int]:
        """See `Snapshots.list`."""
        check_run(run_id)
        return sorted(await self._labels(run_id))

    async def delete(self, run_id: str) -> None:
        """See `Snapshots.delete`."""
        check_run(run_id)
        await self._purge(f"{run_id}.>")

    async def close(self) -> None:
        """Give back what is held of the connection, which stays open."""
        await self._link.close()

    async def _labels(self, run_id: str) -> dict[int, bytes]:
        query = {"multi_last": [f"{self._root}{run_id}.*.{_LABEL}"], "batch": _MOST}
        ask = partial(
            self._link.ask_many, f"$JS.API.DIRECT.GET.{self._stream}", json.dumps(query).encode()
        )
        found = await self._link.insist(f"looking for snapshots of {run_id}", ask)
        named = (((msg.headers or {})["Nats-Subject"].split(".")[-2], msg.data) for msg in found)
        return {int(seq): label for seq, label in named if seq.isdecimal()}

    async def _body(self, run_id: str, seq: int, label: bytes) -> bytes:
        """What there is of the body; the label knows whether that is all."""
        pieces: list[bytes] = []
        missing = size_of(label)
        while missing > 0:
            key = f"{run_id}.{seq}.{sum_of(label)}.{len(pieces)}"
            ask = partial(self._link.ask, f"$JS.API.DIRECT.GET.{self._stream}.{self._root}{key}")
            msg = await self._link.insist(f"reading {key}", ask)
            if status(msg) or not msg.data:
                break
            pieces.append(msg.data)
            missing -= len(msg.data)
        return b"".join(pieces)

    async def _store(self, key: str, value: bytes) -> None:
        ask = partial(self._link.ask, f"{self._root}{key}", value, self._headers)
        self._accepted(await self._link.insist(f"storing {key}", ask))

    async def _tidy(self, run_id: str) -> None:
        """Remove what need not be kept, and pieces whose label never came."""
        keys = await self._keys(run_id)
        labelled = {seq for seq, last in keys if last == _LABEL}
        newest = max(labelled, default=0)
        orphans = {seq for seq, _ in keys if seq < newest} - labelled
        for seq in [*self._retention.surplus(labelled), *sorted(orphans)]:
            await self._purge(f"{run_id}.{seq}.>")

    async def _keys(self, run_id: str) -> set[tuple[int, str]]:
        """Sequence and last token of every key of the run."""
        filter = f"{self._root}{run_id}.>"
        answer = await self._api("STREAM.INFO", {"subjects_filter": filter})
        state = answer["state"]
        subjects = state.get("subjects") if isinstance(state, dict) else None
        keys = (subject[len(filter) - 1 :].split(".") for subject in subjects or ())
        return {(int(key[0]), key[-1]) for key in keys if key[0].isdecimal()}

    async def _purge(self, keys: str) -> None:
        await self._api("STREAM.PURGE", {"filter": f"{self._root}{keys}"})

    async def _api(self, call: str, query: Mapping[str, str]) -> dict[str, object]:
        subject = f"$JS.API.{call}.{self._stream}"
        ask = partial(self._link.ask, subject, json.dumps(query).encode())
        return self._accepted(await self._link.insist(f"{call} of {self._stream}", ask))

    def _accepted(self, reply: Msg) -> dict[str, object]:
        answer: dict[str, object] = json.loads(reply.data)
        if error := answer.get("error"):
            raise Unavailable(
                "snapshots.refused",
                f"the bucket refused: {error}",
                where=self._stream,
                fix="provision the bus, and check the limits of the bucket and this user's rights",
            )
        return answer
