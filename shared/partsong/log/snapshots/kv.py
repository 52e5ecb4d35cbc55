"""Snapshots in a JetStream key-value bucket, for all processes on the bus.

Keys of one snapshot, each followed by what is under it:

    <run>.<seq>.head             the label, a line's end, and the body, or its first 256 KiB
    <run>.<seq>.<sha256>.<n>     the n-th of the pieces that follow; the label has this checksum

The head comes last, so a writer that dies leaves pieces nobody looks for, and two writers of one sequence with
different bodies never mix theirs. Which sequences there are is asked of the stream's index of subjects: to read all the
heads would make the server load everything between them. Bodies are not put into the log's object store: what is there
is never deleted, because the log names it. What goes is purged, not marked as deleted, so that nothing remains of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial

from nats.aio.client import Client
from nats.aio.msg import Msg

from partsong.contracts.errors import Unavailable
from partsong.contracts.wire.headers import TTL
from partsong.log.blobs import LARGEST
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
_HEAD = "head"


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
        self._headers = {TTL: f"{ttl}s"} if ttl else None
        self._piece = min(_PIECE, nc.max_payload // 2)

    async def put(self, snapshot: Snapshot) -> None:
        """See `Snapshots.put`."""
        check(snapshot)
        label, body, size = label_of(snapshot), snapshot.body, self._piece
        key = f"{snapshot.run_id}.{snapshot.seq}"
        for number, at in enumerate(range(size, len(body), size), start=1):
            await self._store(f"{key}.{sum_of(label)}.{number}", body[at : at + size])
        await self._store(f"{key}.{_HEAD}", label + b"\n" + body[:size])
        await self._tidy(snapshot.run_id)

    async def newest(
        self, run_id: str, *, up_to: int | None = None, version: str | None = None
    ) -> Snapshot | None:
        """See `Snapshots.newest`."""
        for seq in descending(await self.list(run_id), up_to):
            key = f"{run_id}.{seq}"
            label, _, body = (await self._get(f"{key}.{_HEAD}")).partition(b"\n")
            if version in {None, version_of(label)} and size_of(label) <= LARGEST:
                body += await self._rest(f"{key}.{sum_of(label)}", size_of(label) - len(body))
                if found := opened(label, body, run_id, seq):
                    return found
        return None

    async def list(self, run_id: str) -> Sequence[int]:
        """See `Snapshots.list`."""
        check_run(run_id)
        return sorted({seq for seq, _ in await self._keys(f"{run_id}.*.{_HEAD}")})

    async def delete(self, run_id: str) -> None:
        """See `Snapshots.delete`."""
        check_run(run_id)
        await self._purge(f"{run_id}.>")

    async def close(self) -> None:
        """Give back what is held of the connection, which stays open."""
        await self._link.close()

    async def _rest(self, key: str, missing: int) -> bytes:
        """What there is of the pieces; the label knows whether that is all."""
        pieces: list[bytes] = []
        while missing > 0 and (piece := await self._get(f"{key}.{len(pieces) + 1}")):
            pieces.append(piece)
            missing -= len(piece)
        return b"".join(pieces)

    async def _get(self, key: str) -> bytes:
        """The value of a key; empty if there is none."""
        ask = partial(self._link.ask, f"$JS.API.DIRECT.GET.{self._stream}.{self._root}{key}")
        msg = await self._link.insist(f"reading {key}", ask)
        return b"" if status(msg) else msg.data

    async def _store(self, key: str, value: bytes) -> None:
        ask = partial(self._link.ask, f"{self._root}{key}", value, self._headers)
        self._accepted(await self._link.insist(f"storing {key}", ask))

    async def _tidy(self, run_id: str) -> None:
        """Remove what need not be kept, and pieces whose head never came."""
        keys = await self._keys(f"{run_id}.>")
        whole = {seq for seq, last in keys if last == _HEAD}
        orphans = {seq for seq, _ in keys if seq < max(whole, default=0)} - whole
        for seq in [*self._retention.surplus(whole), *sorted(orphans)]:
            await self._purge(f"{run_id}.{seq}.>")

    async def _keys(self, filter: str) -> set[tuple[int, str]]:
        """Sequence and last token of every key that matches."""
        answer = await self._api("STREAM.INFO", {"subjects_filter": f"{self._root}{filter}"})
        state = answer["state"]
        subjects = state.get("subjects") if isinstance(state, dict) else None
        tokens = (subject.removeprefix(self._root).split(".") for subject in subjects or ())
        return {(int(seq), last[-1]) for _, seq, *last in tokens if last and seq.isdecimal()}

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
                fix="check that the bucket is there, its limits and this user's rights: `partsong doctor`",
            )
        return answer
