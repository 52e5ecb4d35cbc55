"""Snapshots in a directory: one folder for each run, one file for each snapshot.

A file is the label, a line's end, and the body. It is written under another name, forced to the disk and renamed, so
that there is never half a file under the right name; should a disk lie, the checksum in the label tells.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import itertools
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from partsong.contracts.errors import Unavailable
from partsong.log.snapshots.label import (
    check,
    check_run,
    descending,
    label_of,
    opened,
    version_of,
)
from partsong.log.snapshots.port import Snapshot
from partsong.log.snapshots.retention import DEFAULT, Retention

__all__ = ["FileSnapshots"]

T = TypeVar("T")

_END = ".snapshot"
_UNFINISHED = ".part"
_LONG = 3600.0
"""Seconds after which an unfinished file has nobody who would finish it."""


class FileSnapshots:
    """Snapshots below `directory`, which is made when the first one is put. Processes may share it.

    Without `sync` a snapshot survives the end of the process, perhaps not a power cut.
    """

    def __init__(
        self, directory: Path, *, retention: Retention = DEFAULT, sync: bool = True
    ) -> None:
        self._directory, self._retention, self._sync = directory, retention, sync
        self._numbers = itertools.count()

    async def put(self, snapshot: Snapshot) -> None:
        """See `Snapshots.put`."""
        check(snapshot)
        await self._do(lambda: self._put(snapshot, next(self._numbers)))

    async def newest(
        self, run_id: str, *, up_to: int | None = None, version: str | None = None
    ) -> Snapshot | None:
        """See `Snapshots.newest`."""
        check_run(run_id)
        return await self._do(lambda: self._newest(run_id, up_to, version))

    async def list(self, run_id: str) -> Sequence[int]:
        """See `Snapshots.list`."""
        check_run(run_id)
        return sorted(await self._do(lambda: _files(self.folder(run_id))))

    async def delete(self, run_id: str) -> None:
        """See `Snapshots.delete`."""
        check_run(run_id)
        await self._do(lambda: _remove(self.folder(run_id)))

    def folder(self, run_id: str) -> Path:
        """Where the files of a run are; its name can be read, and is unique also where case does not count."""
        unique = hashlib.sha256(run_id.encode()).hexdigest()[:16]
        return self._directory / f"{quote(run_id, safe='')[:100]}.{unique}"

    def _put(self, snapshot: Snapshot, number: int) -> None:
        folder = self.folder(snapshot.run_id)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            if folder.exists():
                raise
            return  # the run was deleted meanwhile
        unfinished = folder / f"{snapshot.seq}.{os.getpid()}.{number}{_UNFINISHED}"
        finished = folder / f"{snapshot.seq}{_END}"
        try:
            self._write(unfinished, snapshot)
            unfinished.replace(finished)
            self._tidy(folder, finished.stat().st_mtime)
            if self._sync:
                _sync_directory(folder)
        except FileNotFoundError:
            return  # the run was deleted meanwhile
        finally:
            unfinished.unlink(missing_ok=True)

    def _write(self, path: Path, snapshot: Snapshot) -> None:
        with path.open("wb") as file:
            file.write(label_of(snapshot) + b"\n")
            file.write(snapshot.body)
            file.flush()
            if self._sync:
                os.fsync(file.fileno())

    def _tidy(self, folder: Path, written: float) -> None:
        """Remove what need not be kept, and what a killed writer left long before `written`."""
        files = _files(folder)
        for seq in self._retention.surplus(files):
            files[seq].unlink(missing_ok=True)
        for left in folder.glob(f"*{_UNFINISHED}"):
            with suppress(FileNotFoundError):
                if left.stat().st_mtime < written - _LONG:
                    left.unlink()

    def _newest(self, run_id: str, up_to: int | None, version: str | None) -> Snapshot | None:
        files = _files(self.folder(run_id))
        for seq in descending(files, up_to):
            if snapshot := _read(files[seq], run_id, seq, version):
                return snapshot
        return None

    async def _do(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(work)
        except OSError as error:
            raise Unavailable(
                "snapshots.disk",
                f"snapshots cannot be kept or read: {error}",
                where=str(self._directory),
                fix="make room, or give this user the right to use the directory",
            ) from error


def _files(folder: Path) -> dict[int, Path]:
    """The finished files of a run by their sequence."""
    try:
        found = [path for path in folder.iterdir() if path.suffix == _END]
    except FileNotFoundError:
        return {}
    return {int(path.stem): path for path in found if path.stem.isdecimal()}


def _remove(folder: Path) -> None:
    with suppress(FileNotFoundError):
        for path in folder.iterdir():
            path.unlink(missing_ok=True)
        try:
            folder.rmdir()
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:  # something is put meanwhile
                raise


def _read(path: Path, run_id: str, seq: int, version: str | None) -> Snapshot | None:
    try:
        with path.open("rb") as file:
            label = file.readline().removesuffix(b"\n")
            if version not in {None, version_of(label)}:
                return None
            return opened(label, file.read(), run_id, seq)
    except FileNotFoundError:
        return None  # it was let go meanwhile


def _sync_directory(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
