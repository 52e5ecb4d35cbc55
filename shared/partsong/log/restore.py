"""A log brought back: from a backup, by promoting a mirror, or as what is left of it. For the administrator of NATS.

In all three the log keeps its identity and every record its position; so the marks of all services stay true of what was
kept. What was not is said in a record, `log.restored`, which begins a new epoch: only then does a service accept a log
that ends before its mark. The place of a record that could not be brought back is taken by one that says so.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from nats.aio.client import Client
from pydantic import JsonValue

from partsong.contracts.errors import Conflict, NotFound, Unavailable
from partsong.contracts.marks import Identity, Mark, Restored
from partsong.contracts.own_record import NO_EVENTS
from partsong.contracts.subjects import Subjects
from partsong.log.backup import Backup
from partsong.log.blobs import Blobs
from partsong.log.leader import Leader
from partsong.log.link import Link
from partsong.log.stored import EXPECT_LAST, ID
from partsong.log.walk import Progress, Raw
from partsong.runtime import clock

__all__ = ["Restoring"]

_BATCH = 256
_SHORTEST_WINDOW = 100_000_000
"""Nanoseconds; a server remembers message ids at least so long, and old logs may have used one twice."""
_NO_STREAM = 10059


@dataclass(slots=True)
class Restoring:
    """One restore of one log. `config` is what the table of streams says of its stream."""

    nc: Client
    subjects: Subjects
    stream: str
    blobs: str
    config: Mapping[str, JsonValue]
    by: str
    marks: Sequence[Mark] = ()
    """All marks that can be found: the newest says how much was lost."""
    progress: Progress = lambda _done, _of: None
    caches: Sequence[str] = ()
    """Streams that may hold what the log does not any more, and are emptied."""
    _link: Link = field(init=False)
    _leader: Leader = field(init=False)

    def __post_init__(self) -> None:
        self._link = Link(self.nc, attempt=10.0, deadline=60.0)
        self._leader = Leader(self.nc, self.subjects, self.stream)

    async def from_backup(self, copy: Backup) -> Restored:
        """Fill an empty or missing stream from a backup.

        Raises:
            Conflict: `log.not_empty`: the stream holds records.
            NotFound: there is no backup, or it lacks a body.
        """
        identity = await asyncio.to_thread(copy.identity, self.subjects)
        if identity is None:
            raise NotFound(
                "backup.none", f"{copy.folder} does not begin with record 1", where="PATH"
            )
        newest, _ = await asyncio.to_thread(copy.last)
        assert newest is not None, "it has an identity, so it has a record"  # noqa: S101
        await self._empty()
        await self._api("STREAM.CREATE", {**self.config, "duplicate_window": _SHORTEST_WINDOW})
        await self._fill(copy, newest.seq)
        await self._api("STREAM.UPDATE", self.config)
        return await self._record(identity, newest.seq, newest.at, f"backup {copy.folder.name}")

    async def from_mirror(self, mirror: str) -> Restored:
        """Make the log's stream anew from a mirror of it, which is promoted first.

        Raises:
            Conflict: `log.not_empty`; `log.no_mirror`: that stream is none, or does not hold a log.
        """
        await self._empty()
        leader = Leader(self.nc, self.subjects, mirror)
        try:
            info, identity = await leader.info(), await leader.identity()
        finally:
            await leader.close()
        if info is None or identity is None:
            said = f"{mirror} is not there, or does not begin with record 1"
            raise Conflict("log.no_mirror", said, where="--from-mirror", fault="platform")
        config = {k: v for k, v in info["config"].items() if k != "mirror"}
        await self._api("STREAM.UPDATE", {**config, "subjects": [f"{mirror}.promoted"]}, mirror)
        copying: dict[str, JsonValue] = {
            **self.config,
            "mirror": {"name": mirror},
            "mirror_direct": False,
        }
        for unfit in (
            "subjects",
            "allow_atomic",
        ):  # a mirror has neither; both come with its promotion
            copying.pop(unfit)
        await self._api("STREAM.CREATE", copying)
        head = int(info["state"]["last_seq"])
        while (done := await self._head()) < head:
            self.progress(done, head)
            await asyncio.sleep(0.1)
        await self._api("STREAM.UPDATE", self.config)
        last = await self._leader.get({"seq": head})
        return await self._record(identity, head, last.at if last else "", f"mirror {mirror}")

    async def as_it_is(self, kept: int) -> Restored:
        """Accept what is left: what lies behind `kept` is no longer what it was.

        Raises:
            NotFound: `log.missing`: nothing is left that could be accepted.
        """
        identity = await self._leader.identity()
        if identity is None:
            raise NotFound(
                "log.missing",
                f"{self.stream} is not there, or has lost its first record",
                where=self.stream,
                fix="restore it from a backup or a mirror, or begin a new log with `partsong log adopt --new`",
            )
        last = await self._leader.get({"seq": kept}) if kept else None
        return await self._record(identity, kept, last.at if last else "", "what was left")

    async def close(self) -> None:
        """Give back what it holds of the connection."""
        await self._link.close()
        await self._leader.close()

    async def _record(self, identity: Identity, kept: int, since: str, source: str) -> Restored:
        """Say what was lost, in a new epoch; then empty what may hold more than the log."""
        known = [m for m in self.marks if m.log_id == identity.log_id and m.seq > kept]
        restored = Restored(
            log_id=identity.log_id,
            epoch=1 + max((identity.epoch, *(m.epoch for m in known))),
            kept=kept,
            lost=(kept + 1, max(m.seq for m in known)) if known else None,
            since=since,
            at=clock.now_text(),
            by=self.by,
            source=source,
        )
        body = restored.model_dump_json(by_alias=True).encode()
        id_ = f"{restored.log_id}.restored.{restored.epoch}"
        await self._publish([(self.subjects.restored(), body, {ID: id_})])
        for stream in self.caches:
            await self._api("STREAM.PURGE", {}, stream, missing_ok=True)
        return restored

    async def _empty(self) -> None:
        """Refuse a stream with records; an empty one is made anew with its positions from 1."""
        info = await self._leader.info()
        if info is None:
            return
        if info["state"]["messages"]:
            raise Conflict(
                "log.not_empty",
                f"{self.stream} holds {info['state']['messages']} records; a restore never overwrites any",
                where=self.stream,
                fix=f"keep what is there if it is wanted (`partsong log backup`), then delete it: `nats stream rm {self.stream}`",
                fault="platform",
            )
        await self._api("STREAM.DELETE", {})

    async def _fill(self, copy: Backup, upto: int) -> None:
        store = Blobs(self._link, self.blobs)
        batch: list[tuple[str, bytes, dict[str, str]]] = []
        for raw in _without_gaps(copy.records(), self.subjects):
            if raw.blob is not None:
                await store.put(await asyncio.to_thread(copy.blob, raw.blob))
            headers = {**raw.headers, ID: raw.id, EXPECT_LAST: str(raw.seq - 1)}
            batch.append((raw.subject, raw.body, headers))
            if len(batch) == _BATCH:
                await self._publish(batch)
                self.progress(raw.seq, upto)
                batch = []
        await self._publish(batch)

    async def _publish(self, batch: Sequence[tuple[str, bytes, dict[str, str]]]) -> None:
        """All in order, each behind the one before; what was taken already is not stored twice."""
        replies = await asyncio.gather(*(self._link.ask(*message) for message in batch))
        for (subject, body, headers), reply in zip(batch, replies, strict=True):
            answer = json.loads(reply.data)
            if answer.get("error") or answer.get("duplicate"):
                await self._again(subject, body, headers)

    async def _again(self, subject: str, body: bytes, headers: dict[str, str]) -> None:
        """One that was refused, because one before it was or its id was used a moment ago."""
        await asyncio.sleep(2 * _SHORTEST_WINDOW / 1e9)
        answer = json.loads((await self._link.ask(subject, body, headers)).data)
        if (error := answer.get("error")) or answer.get("duplicate"):
            raise Unavailable(
                "log.refused",
                f"{subject} was not taken: {error or 'its id was used'}",
                where=subject,
            )

    async def _head(self) -> int:
        info = await self._leader.info()
        return int(info["state"]["last_seq"]) if info else 0

    async def _api(
        self,
        call: str,
        body: Mapping[str, JsonValue],
        stream: str = "",
        *,
        missing_ok: bool = False,
    ) -> Mapping[str, Any]:
        name = stream or self.stream
        payload = json.dumps({"name": name, **body} if body else {}).encode()
        ask = partial(self._link.ask, f"$JS.API.{call}.{name}", payload)
        answer: dict[str, Any] = json.loads((await self._link.insist(call, ask)).data)
        if (error := answer.get("error")) and not (
            missing_ok and error.get("err_code") == _NO_STREAM
        ):
            raise Unavailable(
                "log.refused",
                f"the server refused {call} of {name}: {error.get('description')} ({error.get('err_code')})",
                where=name,
                fix="a restore needs the rights of an administrator on the JetStream API",
            )
        return answer


def _without_gaps(records: Iterator[Raw], subjects: Subjects) -> Iterator[Raw]:
    """The records, and in the place of each that is missing one that says so."""
    last = 0
    for raw in records:
        for seq in range(last + 1, raw.seq):
            yield Raw(seq, subjects.lost(), f"lost.{seq}", NO_EVENTS, {})
        yield raw
        last = raw.seq
