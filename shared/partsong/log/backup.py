"""A log copied to a folder, and read from there: every record with its position, and the bodies that lie beside it.

<folder>/log.jsonl       a first line that says which log it is; then one line per record, in order
<folder>/blobs/<sha256>  a body that is too big for a record, once per content
<folder>/missing.json    which records could not be read, and of which runs; only if there are any

A copy made again into the same folder goes on where the last one ended, if the log still holds that record there. Blobs
are written before the line that names them, and a line counts when it is whole: a copy that was cut short goes on too.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import BufferedWriter
from pathlib import Path

from nats.aio.client import Client
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from partsong.contracts.errors import Conflict, InvalidInput, NotFound, Unavailable
from partsong.contracts.ranges import Range, gaps
from partsong.contracts.wire.marks import Identity, digest_of
from partsong.contracts.wire.subjects import Subjects
from partsong.log.attribution import missing
from partsong.log.backup_lines import line_of, raw_of
from partsong.log.blobs import BAD_BODY, Blobs, is_blob_name
from partsong.log.leader import Leader
from partsong.log.link import Link
from partsong.log.subject_counts import counted
from partsong.log.walk import Progress, Raw, walk

__all__ = ["Backup", "Copied", "Lacking", "backup"]

_FILE = "log.jsonl"
_MISSING = "missing.json"
_FORMAT = 1
_LONGEST_NAME = 80
"""Characters that are said of the name of a body; what is longer is none of ours."""
_SYNC_EVERY = 1000
_UNNAMED = "unnamed"
"""Stands for the log id where the record that says it cannot be read: nothing is restored from such a copy."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What a backup holds, and what of it is new."""

    folder: Path
    log_id: str
    upto: int
    records: int
    """New in this copy."""
    missing: tuple[Range, ...] = ()
    """Sequences that could not be read, in this copy or one before it."""
    runs: tuple[str, ...] = ()
    """Runs that lack records by them, as far as that is known."""
    blobs_missing: tuple[str, ...] = ()


class Lacking(BaseModel):
    """What a backup could not read of its log, as `missing.json` says it."""

    model_config = ConfigDict(frozen=True, extra="allow")

    upto: int = 0
    """The log's head when it was copied: it may lie behind the last record that could be."""
    missing: tuple[Range, ...] = ()
    runs: dict[str, int] = Field(default_factory=dict)
    """How many records of each run, by the server's own count; those of no run under an empty name."""


class Backup:
    """A folder with a copy of a log."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._file = folder, folder / _FILE

    def head(self) -> dict[str, object]:
        """The first line.

        Raises:
            NotFound: `backup.none`: there is no backup in the folder.
            InvalidInput: `backup.malformed`.
        """
        try:
            with self._file.open("rb") as file:
                head = json.loads(file.readline())
        except FileNotFoundError as error:
            raise NotFound(
                "backup.none",
                f"{self._file} is not there",
                where=str(self.folder),
                fix="give the folder that `partsong log backup` was given",
            ) from error
        except ValueError as error:
            raise _malformed(self._file, 1, str(error)) from None
        if not isinstance(head, dict) or head.get("format") != _FORMAT:
            raise _malformed(self._file, 1, f"format {head!r:.80} is not {_FORMAT}")
        return head

    def records(self) -> Iterator[Raw]:
        """Its records, in order; a last line that is not whole is none.

        Raises:
            NotFound, InvalidInput: as above.
        """
        return (raw for _, raw in self.lines())

    def lines(self) -> Iterator[tuple[int, Raw]]:
        """Its records, each with the number of its line.

        Raises:
            NotFound, InvalidInput: as above; also where a record does not come behind those before it.
        """
        self.head()
        last = 0
        with self._file.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if number == 1 or not line.endswith(b"\n"):
                    continue
                try:
                    raw = raw_of(line)
                except ValueError as error:
                    raise _malformed(self._file, number, str(error)) from None
                if raw.seq <= last:
                    why = f"expected is a record behind {last}, found is record {raw.seq}"
                    raise _malformed(self._file, number, why)
                last = raw.seq
                yield number, raw

    def unfit(self, line: int, why: str) -> InvalidInput:
        """The error that says what is wrong with a line."""
        return _malformed(self._file, line, why)

    def last(self) -> tuple[Raw | None, int]:
        """The newest record, and how many bytes of the file are whole lines."""
        newest: Raw | None = None
        for newest in self.records():  # noqa: B007  # the last one is what is wanted
            pass
        data = self._file.read_bytes()
        return newest, data.rfind(b"\n") + 1

    def blob(self, name: str) -> bytes:
        """A body, by the name that its record has.

        Raises:
            NotFound: `backup.blob_missing`.
        """
        if not is_blob_name(name):  # it could be a path to anywhere
            raise NotFound(
                "backup.blob_missing", f"no body is named {name[:80]!r}", where=name[:80]
            )
        path = self._blob_path(name)
        try:
            body = path.read_bytes()
        except FileNotFoundError as error:
            raise NotFound("backup.blob_missing", f"{path} is not there", where=name) from error
        if f"sha256:{hashlib.sha256(body).hexdigest()}" != name:
            raise NotFound("backup.blob_missing", f"{path} is not what its name says", where=name)
        return body

    def lacking(self) -> Lacking:
        """What its log could not give it, as was noted when it was made; nothing without a note.

        Raises:
            InvalidInput: `backup.malformed`: the note cannot be read.
        """
        path = self.folder / _MISSING
        try:
            return Lacking.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return Lacking()
        except ValidationError as error:
            raise _malformed(path, 1, str(error.errors()[0]["msg"])) from None

    def note(self, lacking: Lacking) -> None:
        """Keep what could not be read; nothing if all could."""
        path = self.folder / _MISSING
        if not lacking.missing:
            path.unlink(missing_ok=True)
            return
        part = path.with_suffix(".part")
        part.write_bytes(lacking.model_dump_json().encode())
        part.replace(path)

    def has_blob(self, name: str) -> bool:
        """Whether a body is there already."""
        return is_blob_name(name) and self._blob_path(name).exists()

    def put_blob(self, name: str, body: bytes) -> None:
        """Keep a body."""
        path = self._blob_path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)

    def begin(self, identity: Identity) -> None:
        """Make an empty backup."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._file.open("xb") as file:
            head = {"format": _FORMAT, "log_id": identity.log_id}
            file.write(json.dumps(head).encode() + b"\n")

    def open_at(self, size: int) -> BufferedWriter:
        """The file, cut to its whole lines, to write behind them."""
        os.truncate(self._file, size)
        return self._file.open("ab")

    def exists(self) -> bool:
        """Whether there is one in the folder."""
        return self._file.exists()

    def _blob_path(self, name: str) -> Path:
        return self.folder / "blobs" / name.removeprefix("sha256:")


async def backup(
    nc: Client,
    subjects: Subjects,
    folder: Path,
    *,
    stream: str,
    blobs: str,
    progress: Progress = lambda _done, _of: None,
) -> Copied:
    """Copy what the log holds by now into a folder, behind what is there of the same log.

    Raises:
        Conflict: `backup.another_log`: the folder holds another log, or this one as it was before it was damaged.
        Unavailable: the server did not answer, or the log is empty.
    """
    leader, link = Leader(nc, subjects, stream), Link(nc, attempt=5.0, deadline=30.0)
    try:
        identity, info = await leader.identity(), await leader.info()
        if info is None or (identity is None and not info["state"]["messages"]):
            raise Unavailable(
                "log.empty",
                "the log has no record to copy",
                where=stream,
                fix="check the NATS URL, the prefix and the data directory",
            )
        copy = Backup(folder)
        after = await _after(copy, identity or Identity(_UNNAMED), leader)
        counts = await counted(
            nc, stream, subjects.log()
        )  # before the head: what comes later is read
        upto = await leader.head()
        store = Blobs(link, blobs)
        done = await _copy(nc, subjects, stream, copy, store, after, upto, progress)
        lacking = await asyncio.to_thread(_lacking, copy, subjects, counts, upto)
        await asyncio.to_thread(copy.note, lacking)
        runs = tuple(sorted(filter(None, lacking.runs)))
        return replace(done, missing=lacking.missing, runs=runs)
    finally:
        await link.close()
        await leader.close()


async def _after(copy: Backup, identity: Identity, leader: Leader) -> tuple[int, int]:
    """Where to go on: behind which sequence, and at which byte of the file."""
    if not copy.exists():
        copy.begin(identity)
    head = copy.head()
    if head["log_id"] != identity.log_id:
        raise _another(
            copy, f"it holds log {str(head['log_id'])[:12]}, this is {identity.log_id[:12]}"
        )
    newest, size = await asyncio.to_thread(copy.last)
    if newest is None:
        return 0, size
    there = await leader.get({"seq": newest.seq})
    if there is None or there.digest != digest_of(newest.body, newest.id):
        raise _another(copy, f"its record {newest.seq} is not the one that the log holds there")
    return newest.seq, size


async def _copy(
    nc: Client, subjects: Subjects, stream: str, copy: Backup, store: Blobs,
    after: tuple[int, int], upto: int, progress: Progress,
) -> Copied:  # fmt: skip
    seq, size = after
    count, gone, last = 0, list[str](), seq
    with copy.open_at(size) as file:
        async for raw in walk(nc, stream, subjects.log(), after=seq, upto=upto, progress=progress):
            if raw.blob is not None and not copy.has_blob(raw.blob):
                try:
                    copy.put_blob(raw.blob, await store.get(raw.blob))
                except Unavailable as error:
                    if error.problem.code not in BAD_BODY:
                        raise
                    gone.append(raw.blob[:_LONGEST_NAME])
            file.write(line_of(raw))
            last, count = raw.seq, count + 1
            if count % _SYNC_EVERY == 0:
                file.flush()
        file.flush()
        os.fsync(file.fileno())
    log_id = str(copy.head()["log_id"])
    return Copied(copy.folder, log_id, last, count, blobs_missing=tuple(gone))


def _lacking(copy: Backup, subjects: Subjects, counts: dict[str, int], upto: int) -> Lacking:
    """What is not in a copy of a log up to a head, of which the server counts so many records of each subject."""
    there = Counter[str]()
    lost = gaps(_counting(copy.records(), there), upto)
    runs = missing(subjects, counts, there) if lost else {}
    return Lacking(upto=upto, missing=lost, runs=runs)


def _counting(records: Iterator[Raw], there: Counter[str]) -> Iterator[int]:
    for raw in records:
        there[raw.subject] += 1
        yield raw.seq


def _malformed(file: Path, line: int, why: str) -> InvalidInput:
    fix = "restore from another backup, and back up into a new folder"
    if line > 1 and file.name == _FILE:
        fix += "; without another one, take this line out of the file: its record is one that the backup lacks then"
    return InvalidInput("backup.malformed", f"{file}, line {line}: {why}", where=str(file), fix=fix)


def _another(copy: Backup, why: str) -> Conflict:
    return Conflict(
        "backup.another_log",
        f"{copy.folder}: {why}",
        where=str(copy.folder),
        fix="give a new folder; keep this one, it may be what the log is to be restored from",
    )
