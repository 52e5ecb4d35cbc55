"""Where marks are kept: a file beside the service, and a bucket beside the log. A service may bring a third place.

The file survives what happens to the server's disk, the bucket what happens to the service's. Several processes of one
data directory share the file: it is changed under a lock, and replaced as a whole, so a reader sees all of it or none.
"""

from __future__ import annotations

import asyncio
import base64
import fcntl
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from nats.aio.client import Client
from nats.aio.msg import Msg
from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from partsong.contracts.errors import InvalidInput, Unavailable
from partsong.contracts.wire.damage import Damaged
from partsong.contracts.wire.marks import Identity, Mark, read_mark, thinned
from partsong.log.full import is_full, log_full
from partsong.log.link import Link, Unheard
from partsong.log.stored import headers_of

__all__ = ["BucketMarks", "FileMarks", "Finding", "MarkStore"]

_log = logging.getLogger("partsong.log")

_NO_STREAM, _NOT_FOUND = 10059, 10037
_FINDING = "finding"


class MarkStore(Protocol):
    """A place for marks of one prefix. Every method raises `Unavailable` if the place does not answer."""

    async def load(self) -> tuple[Mark, ...]:
        """All marks, of whatever log."""
        ...

    async def save(self, mark: Mark) -> None:
        """Keep a mark; older ones of the same log may go."""
        ...


class FileMarks:
    """Marks in a JSON file of mode 0600: `{"<prefix>": {"adopted": "<log_id>", "marks": […]}}`."""

    def __init__(self, path: Path, prefix: str) -> None:
        self._path, self._prefix = path, prefix

    async def load(self) -> tuple[Mark, ...]:
        """See `MarkStore.load`. A file that is none is put aside, and said to be."""
        return await asyncio.to_thread(self._load)

    async def save(self, mark: Mark) -> None:
        """See `MarkStore.save`."""
        await asyncio.to_thread(self._change, partial(_added, mark=mark))

    async def adopted(self) -> str:
        """The log that was accepted in the place of others; empty if none was."""
        return await asyncio.to_thread(lambda: str(self._read().get("adopted") or ""))

    async def adopt(self, log_id: str) -> None:
        """Accept a log from now on, also without one (empty): marks of all others are forgotten."""
        await asyncio.to_thread(self._change, partial(_adopting, log_id=log_id))

    def _load(self) -> tuple[Mark, ...]:
        return _marks(self._read())

    def _read(self) -> dict[str, object]:
        return self._all().get(self._prefix) or {}

    def _all(self) -> dict[str, dict[str, object]]:
        try:
            found = json.loads(self._path.read_bytes())
            if not isinstance(found, dict) or not all(isinstance(v, dict) for v in found.values()):
                raise ValueError("not an object of objects")
        except FileNotFoundError:
            return {}
        except ValueError as error:
            aside = self._path.with_suffix(".unreadable")
            _log.error("marks cannot be read", extra={"file": str(aside), "why": str(error)})
            with suppress(OSError):
                self._path.rename(aside)
            return {}
        except OSError as error:
            raise _no_file(self._path, error) from error
        return found

    def _change(self, how: _Change) -> None:
        try:
            with self._locked():
                found = self._all()
                self._write({**found, self._prefix: how(found.get(self._prefix) or {})})
        except OSError as error:
            raise _no_file(self._path, error) from error

    def _write(self, content: dict[str, dict[str, object]]) -> None:
        part = self._path.with_suffix(".part")
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(json.dumps(content).encode())
            file.flush()
            os.fsync(file.fileno())
        part.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


class _Change(Protocol):
    def __call__(self, kept: dict[str, object]) -> dict[str, object]: ...


def _added(kept: dict[str, object], mark: Mark) -> dict[str, object]:
    known = _marks(kept)
    ours = thinned((mark, *(m for m in known if m.log_id == mark.log_id and m.seq != mark.seq)))
    others = (m for m in known if m.log_id != mark.log_id)
    return {**kept, "marks": [m.model_dump() for m in (*ours, *others)]}


def _adopting(kept: dict[str, object], log_id: str) -> dict[str, object]:
    return {
        "adopted": log_id,
        "marks": [m.model_dump() for m in _marks(kept) if m.log_id == log_id],
    }


def _marks(kept: dict[str, object]) -> tuple[Mark, ...]:
    try:
        return tuple(TypeAdapter(list[Mark]).validate_python(kept.get("marks") or []))
    except ValidationError as error:
        _log.error("marks cannot be read", extra={"why": str(error.errors()[0]["msg"])})
        return ()


def _no_file(path: Path, error: OSError) -> Unavailable:
    return Unavailable(
        "marks.file",
        f"{path}: {error.strerror or error}",
        where=str(path),
        fix="PARTSONG_DATA must be a directory that this process may write to, on a disk with room",
        retryable=True,
    )


@dataclass(frozen=True)
class Finding:
    """A damage that one service has found, for all of them to see; it holds for one epoch of one log."""

    log_id: str
    epoch: int
    damage: Damaged
    by: str
    at: str

    def of(self, identity: Identity | None) -> bool:
        """Whether it is about this log as it is."""
        return identity is not None and (self.log_id, self.epoch) == (
            identity.log_id,
            identity.epoch,
        )


_FINDINGS = TypeAdapter(Finding)


class BucketMarks:
    """Marks in a key-value bucket, one key per service, and beside them what a service has found to be damaged.

    It is another stream than the log's, on the same disks: it helps against damage to the log, not against their loss.
    """

    def __init__(self, nc: Client, bucket: str, service: str) -> None:
        self._link = Link(nc, attempt=2.0, deadline=5.0)
        self._stream, self._stem, self._service = f"KV_{bucket}", f"$KV.{bucket}.", service

    async def load(self) -> tuple[Mark, ...]:
        """See `MarkStore.load`; a bucket that is not there holds none."""
        info = await self._api("STREAM.INFO", {"subjects_filter": ">"})
        found: list[Mark] = []
        for subject in (info or {"state": {}})["state"].get("subjects") or {}:
            if subject != self._stem + _FINDING and (body := await self._get(subject)) is not None:
                with suppress(InvalidInput):
                    found.append(read_mark(body))
        return tuple(found)

    async def save(self, mark: Mark) -> None:
        """See `MarkStore.save`.

        Raises:
            Unavailable: `log.full` if the server has no room for it, `marks.missing` if the bucket is not there.
        """
        await self._put(self._service, mark.model_dump_json().encode())

    async def finding(self) -> Finding | None:
        """What a service has found; it may be about an earlier epoch."""
        body = await self._get(self._stem + _FINDING)
        try:
            return _FINDINGS.validate_json(body) if body else None
        except ValidationError:
            return None

    async def tell(self, finding: Finding) -> None:
        """Let all services know."""
        await self._put(_FINDING, _FINDINGS.dump_json(finding))

    async def probe(self) -> None:
        """Write something that nobody reads, to see that there is room.

        Raises:
            Unavailable: `log.full`.
        """
        await self._put("probe", b"{}")

    async def forget(self) -> None:
        """Drop all marks and the finding: another log is to be accepted."""
        await self._api("STREAM.PURGE", {})

    async def close(self) -> None:
        """Give back what it holds of the connection."""
        await self._link.close()

    async def _put(self, key: str, body: bytes) -> None:
        ask = partial(self._heard, self._stem + key, body)
        answer = json.loads((await self._link.insist(f"keeping {key}", ask)).data)
        if error := answer.get("error"):
            if is_full(error):
                raise await log_full(self._link.nc, self._stream, error)
            raise _refused(error)

    async def _heard(self, subject: str, body: bytes) -> Msg:
        """Nobody hears it: because NATS restarts, which passes, or because somebody has deleted the bucket."""
        try:
            return await self._link.ask(subject, body)
        except Unheard:
            found = json.loads((await self._link.ask(f"$JS.API.STREAM.INFO.{self._stream}")).data)
            if found.get("error", {}).get("err_code") == _NO_STREAM:
                raise _missing(self._stream) from None
            raise

    async def _get(self, subject: str) -> bytes | None:
        answer = await self._api("STREAM.MSG.GET", {"last_by_subj": subject})
        if answer is None:
            return None
        if "KV-Operation" in headers_of(answer["message"]):
            return None
        return base64.b64decode(str(answer["message"].get("data") or ""))

    async def _api(self, call: str, body: dict[str, str]) -> dict[str, Any] | None:
        subject = f"$JS.API.{call}.{self._stream}"
        ask = partial(self._link.ask, subject, json.dumps(body).encode())
        answer = json.loads((await self._link.insist(f"asking for {self._stream}", ask)).data)
        if error := answer.get("error"):
            if error.get("err_code") in {_NO_STREAM, _NOT_FOUND}:
                return None
            raise _refused(error)
        found: dict[str, Any] = answer
        return found


def _missing(stream: str) -> Unavailable:
    return Unavailable(
        "marks.missing",
        f"the bucket of marks is not there: no stream {stream}",
        where=stream,
        fix="restart any service: each makes at its start what is missing",
        retryable=True,
    )


def _refused(error: dict[str, object]) -> Unavailable:
    return Unavailable(
        "marks.refused",
        f"the bucket of marks refused: {error.get('description')} ({error.get('err_code')})",
        fix="check this user's rights on the JetStream API",
        retryable=error.get("code") == 503,
    )
