"""A log brought back: from a backup, by promoting a mirror, or as what is left of it. For the administrator of NATS.

In all three the log keeps its identity and every record its position; so the marks of all services stay true of what was
kept. What was not is said in a record, `log.restored`, which begins a new epoch: only then does a service accept a log
that ends before its mark. The place of a record that could not be brought back is taken by one that says so, and the
runs that lack it are named: they stay damaged, and nothing else is held up by them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from nats.aio.client import Client
from pydantic import JsonValue

from partsong.contracts.counts import number_of
from partsong.contracts.errors import Conflict, NotFound, Unavailable
from partsong.contracts.ranges import Range, united
from partsong.contracts.wire.damage import BEGIN_ANEW, Damaged, assess
from partsong.contracts.wire.headers import EXPECTED_LAST, MSG_ID
from partsong.contracts.wire.marks import Identity, Mark, Restored
from partsong.contracts.wire.own_record import NO_EVENTS
from partsong.contracts.wire.subjects import Subjects
from partsong.log.backup import Backup, backup
from partsong.log.backup_check import body_of, check
from partsong.log.blobs import Blobs
from partsong.log.leader import Leader
from partsong.log.link import Link
from partsong.log.verify import Verified, verify
from partsong.log.walk import Progress, Raw

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
    checking: Progress = lambda _done, _of: None
    """Told how far a backup is read before anything is changed."""
    caches: Sequence[str] = ()
    """Streams that may hold what the log does not any more: they are deleted, with the message ids that they remember, and
    are to be made anew."""
    keep: Path | None = None
    """Folder of the copy that is made of what the stream still holds before it is deleted; without one it never is."""
    unclear: tuple[Range, ...] = field(init=False, default=())
    """Within these a backup lacked something, and it is not known of which runs."""
    _link: Link = field(init=False)
    _leader: Leader = field(init=False)

    def __post_init__(self) -> None:
        self._link = Link(self.nc, attempt=10.0, deadline=60.0)
        self._leader = Leader(self.nc, self.subjects, self.stream)

    async def from_backup(self, copy: Backup, *, accept_damage: bool = False) -> Restored:
        """Fill an empty or missing stream from a backup, all of which is read before anything is deleted.

        Raises:
            Conflict: `log.not_empty`: the stream holds records, and is not to be deleted; `backup.another_log`: it is
                to be deleted, and the backup is of another log; `backup.damaged`: it lacks records, or does not fit its
                seals, and that is not to be accepted.
            NotFound: there is no backup.
            InvalidInput: `backup.malformed`.
        """
        await self._insist_on_room()
        checked = await asyncio.to_thread(check, copy, self.subjects, self.marks, self.checking)
        if not accept_damage:
            checked.insist(copy)
        await self._empty(checked.identity)
        await self._api("STREAM.CREATE", {**self.config, "duplicate_window": _SHORTEST_WINDOW})
        await self._fill(copy, checked.upto)
        await self._api("STREAM.UPDATE", self.config)
        self.unclear = checked.unclear
        return await self._record(
            checked.identity, checked.kept, checked.since, f"backup {copy.folder.name}",
            checked.missing, checked.runs, upto=checked.upto,
        )  # fmt: skip

    async def from_mirror(self, mirror: str) -> Restored:
        """Make the log's stream anew from a mirror of it, which is promoted first.

        Raises:
            Conflict: `log.not_empty`, `backup.another_log` as above; `log.no_mirror`: that stream is none, or does not
                hold a log.
        """
        await self._insist_on_room()
        leader = Leader(self.nc, self.subjects, mirror)
        try:
            info = await leader.info()
            identity = await leader.identity() if info is not None else None
        finally:
            await leader.close()
        if info is None or identity is None:
            said = f"{mirror} is not there, or does not begin with record 1"
            raise Conflict("log.no_mirror", said, where="--from-mirror", fault="platform")
        await self._empty(identity)
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
        found = await self._read(head, identity)
        since, source = last.at if last else "", f"mirror {mirror}"
        return await self._record(identity, head, since, source, found.holes, found.hit)

    async def as_it_is(self) -> Restored:
        """Accept what is left; all of it is read, and what the marks say is no longer there is given up.

        Raises:
            NotFound: `log.missing`: nothing is left that could be accepted.
            Conflict: `log.another`: it is not the log that the marks are of.
        """
        identity = await self._leader.identity()
        if identity is None:
            raise await self._nothing_left()
        head = await self._head()
        said = assess(self.marks, await self._leader.view(self.marks))
        if isinstance(said, Damaged) and said.code == "log.another":
            raise Conflict(said.code, said.why, where=self.stream, fix=said.fix)
        lost = said.lost if isinstance(said, Damaged) else ()
        kept = lost[0][0] - 1 if lost else head
        found = await self._read(head, identity)
        last = await self._leader.get({"seq": kept}) if kept else None
        since, source = last.at if last else "", "what was left"
        return await self._record(
            identity, kept, since, source, found.holes, found.hit, upto=max(head, kept)
        )

    async def set_aside(self) -> None:
        """Copy what a stream still holds that has lost its first record, then delete it, for a new log to begin.

        Raises:
            Conflict: `log.not_empty`: it has its first record, or there is no folder for the copy. Nothing was deleted.
        """
        if self.keep is None or await self._leader.identity() is not None:
            await self._insist_on_room()
            return
        copied = partial(backup, stream=self.stream, blobs=self.blobs, progress=self.progress)
        await copied(self.nc, self.subjects, self.keep)
        for stream in (self.stream, *self.caches):
            await self._api("STREAM.DELETE", {}, stream, missing_ok=True)

    async def close(self) -> None:
        """Give back what it holds of the connection."""
        await self._link.close()
        await self._leader.close()

    async def _nothing_left(self) -> NotFound:
        """Why what is left cannot be accepted."""
        info = await self._leader.info()
        held = info["state"] if info is not None else {"messages": 0}
        why = f"{self.stream} is empty" if info is not None else f"there is no stream {self.stream}"
        if held["messages"]:
            first = (
                f"the log begins at {held['first_seq']}" if held["first_seq"] > 1 else self.stream
            )
            why = f"{first}: its first record, which says what log it is, cannot be read"
        fix = f"restore it from a backup or a mirror; without one, {BEGIN_ANEW}"
        return NotFound("log.missing", why, where=self.stream, fix=fix)

    async def _read(self, head: int, identity: Identity) -> Verified:
        """All of the log as it is."""
        return await verify(
            self.nc,
            self.subjects,
            stream=self.stream,
            blobs=self.blobs,
            head=head,
            identity=identity,
            progress=self.progress,
        )

    async def _record(
        self, identity: Identity, kept: int, since: str, source: str,
        missing: Iterable[Range], runs: Iterable[str], *, upto: int | None = None,
    ) -> Restored:  # fmt: skip
        """Say what was lost, in a new epoch; then delete what may hold more than the log."""
        ours = [m for m in self.marks if m.log_id == identity.log_id]
        told = [m for m in ours if identity.knows(m.epoch) and not identity.stands(m)]
        lost = [m.seq for m in ours if m.seq > kept and m not in told]
        restored = Restored(
            log_id=identity.log_id,
            # No epoch is given twice: what is given up now has its marks, and they must not bind what is restored.
            epoch=1 + max((identity.epoch, *(m.epoch for m in ours))),
            kept=kept,
            lost=(kept + 1, max(lost)) if lost else None,
            since=since,
            at=await self._leader.now(),
            by=self.by,
            source=source,
            upto=kept if upto is None else upto,
            missing=united((*identity.missing, *missing)),
            runs=tuple(sorted(identity.damaged_runs.union(runs))),
        )
        body = restored.model_dump_json(by_alias=True).encode()
        id_ = f"{restored.log_id}.restored.{restored.epoch}"
        await self._publish([(self.subjects.restored(), body, {MSG_ID: id_})])
        for stream in self.caches:
            await self._api("STREAM.DELETE", {}, stream, missing_ok=True)
        return restored

    async def _insist_on_room(self) -> None:
        """Refuse a stream with records that is not to be deleted."""
        info = await self._leader.info()
        count = info["state"]["messages"] if info is not None else 0
        if count and self.keep is None:
            raise Conflict(
                "log.not_empty",
                f"{self.stream} holds {number_of(count, 'record')}; a restore never overwrites any",
                where=self.stream,
                fix="give --replace: what the stream holds is copied to a folder, then it is deleted",
            )

    async def _empty(self, identity: Identity) -> None:
        """Copy and delete a stream with records; an empty one is made anew with its positions from 1."""
        info = await self._leader.info()
        if info is None:
            return
        if self.keep is not None and info["state"]["messages"]:
            there = await self._leader.identity()
            if there is not None and there.log_id != identity.log_id:
                raise Conflict(
                    "backup.another_log",
                    f"{self.stream} holds log {there.log_id[:12]}, to be restored is log {identity.log_id[:12]}",
                    where=self.stream,
                    fix="check the folder, the NATS URL and the prefix; nothing was deleted",
                )
            copied = partial(backup, stream=self.stream, blobs=self.blobs, progress=self.progress)
            await copied(self.nc, self.subjects, self.keep)
        await self._api("STREAM.DELETE", {})

    async def _fill(self, copy: Backup, upto: int) -> None:
        """Store the records of a backup, each in its place."""
        store = Blobs(self._link, self.blobs)
        batch: list[tuple[str, bytes, dict[str, str]]] = []
        for raw in _without_gaps(copy.records(), self.subjects, upto):
            if raw.blob is not None:
                body = await asyncio.to_thread(body_of, copy, raw)
                if body is not None:
                    await store.put(body)
            headers = {**raw.headers, MSG_ID: raw.id, EXPECTED_LAST: str(raw.seq - 1)}
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


def _without_gaps(records: Iterator[Raw], subjects: Subjects, upto: int) -> Iterator[Raw]:
    """The records, and in the place of each that is missing one that says so, to the head that the log had."""

    def lost(seq: int) -> Raw:
        return Raw(seq, subjects.lost(), f"lost.{seq}", NO_EVENTS, {})

    last = 0
    for raw in records:
        yield from map(lost, range(last + 1, raw.seq))
        yield raw
        last = raw.seq
    yield from map(lost, range(last + 1, upto + 1))
