"""Bodies too big for a message: kept once per content in a JetStream object store (claim check).

The layout is that of every NATS client's object store, so `nats object get` finds a body by its name,
`sha256:<hex>`. Chunks are written before their description, and the description before the record that refers to it:
who can read the record can read the body.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
from functools import partial
from typing import NamedTuple

from nats.aio.msg import Msg

from partsong.contracts.errors import Unavailable
from partsong.contracts.wire.headers import MSG_ID, ROLLUP, SEQUENCE, TIME_STAMP
from partsong.log.full import is_full, log_full
from partsong.log.link import Link, status
from partsong.runtime import clock

__all__ = ["BAD_BODY", "LARGEST", "LOST", "Blobs", "is_blob_name"]

BAD_BODY = frozenset({"log.blob_missing", "log.blob_corrupt"})
"""Problems that say what has become of one body, and nothing of the store."""
LOST = frozenset({"log.unreadable", *BAD_BODY})
"""Problems that say what has become of some records, and nothing of the store."""

LARGEST = 256 * 1024 * 1024
"""Bytes of a body: what describes it is a message, too, and anybody may have written it."""
_CHUNK = 256 * 1024
_NAME = re.compile(r"sha256:[0-9a-f]{64}")
_LAGS = (0.2, 0.5)
"""Seconds between looks at what the leader has and a replica has not yet."""


class _Described(NamedTuple):
    """Where a body lies in its bucket."""

    nuid: str
    chunks: int
    size: int


def is_blob_name(name: str) -> bool:
    """Whether a body can have this name; what a record says of its body, anybody may have written."""
    return _NAME.fullmatch(name) is not None


class Blobs:
    """A bucket of bodies under their content hash."""

    def __init__(self, link: Link, bucket: str) -> None:
        self._link, self._bucket, self._stream = link, bucket, f"OBJ_{bucket}"

    def beside(self, bucket: str) -> Blobs:
        """Another bucket of the same server."""
        return Blobs(self._link, bucket)

    async def put(self, body: bytes, *, younger: float | None = None) -> str:
        """Store a body, unless it is there, for fewer than `younger` seconds if that is said; its name."""
        name = _name(body)
        if not await self._there(name, younger):
            await self._write(name, body)
        return name

    async def remove(self, name: str) -> None:
        """Say of a body that it is not there: whoever puts it again stores it again."""
        info = {"name": name, "bucket": self._bucket, "nuid": "", "deleted": True}
        headers = {MSG_ID: self._link.nc.new_inbox(), ROLLUP: "sub"}
        await self._publish(self._meta(name), json.dumps(info).encode(), headers)

    async def get(self, name: str, *, most: int = LARGEST) -> bytes:
        """The body of this name, if it has no more than `most` bytes.

        Raises:
            Unavailable: `log.blob_missing` or `log.blob_corrupt`.
        """
        if not is_blob_name(name):  # its subject would be none, or too long for the server
            raise _bad("missing", f"{name[:80]!r}", "a body is named by the hash of its content")
        info = await self._describe(name)
        lags = _LAGS if info is None else ()
        if info is None and (info := await self._describe(name, sure=True)) is None:
            raise _bad("missing", name, f"the bucket {self._bucket} has no object of this name")
        body = await self._body(info, name, most)
        for pause in lags:
            if _name(body) == name:
                break
            await asyncio.sleep(pause)
            body = await self._body(info, name, most)
        if _name(body) != name:
            raise _bad(
                "corrupt", name, f"{len(body)} bytes were read, and they hash to {_name(body)}"
            )
        return body

    async def _there(self, name: str, younger: float | None) -> bool:
        try:
            return await self._describe(name, younger=younger) is not None
        except Unavailable as error:
            if error.problem.code not in BAD_BODY:
                raise
            return False  # what is said of it is written anew

    async def _body(self, info: _Described, name: str, most: int) -> bytes:
        if info.size > most:
            raise _bad("corrupt", name, f"it has {info.size} bytes, at most {most} are read")
        body = await self._read(f"$O.{self._bucket}.C.{info.nuid}", info.chunks, most)
        if len(body) > most:  # it has more than it says
            raise _bad("corrupt", name, f"it has {len(body)} bytes, at most {most} are read")
        return body

    def _meta(self, name: str) -> str:
        return f"$O.{self._bucket}.M.{base64.urlsafe_b64encode(name.encode()).decode()}"

    async def _describe(
        self, name: str, *, sure: bool = False, younger: float | None = None
    ) -> _Described | None:
        """What is said of a body; with `sure` by the leader, for what answers otherwise may lag behind."""
        said = await (self._by_leader(name) if sure else self._by_anyone(name, younger))
        if said is None:
            return None
        try:
            info = json.loads(said)
            if info.get("deleted"):
                return None
            found = _Described(str(info["nuid"]), int(info["chunks"]), int(info["size"]))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
            raise _bad("corrupt", name, "what is said of it cannot be read") from None
        if not found.nuid.isalnum():
            raise _bad("corrupt", name, "what is said of it names no place")
        return found

    async def _by_anyone(self, name: str, younger: float | None) -> bytes | None:
        subject = f"$JS.API.DIRECT.GET.{self._stream}.{self._meta(name)}"
        msg = await self._link.insist(f"looking for {name}", partial(self._link.ask, subject))
        old = younger is not None and not status(msg) and _age(msg) > younger
        return None if status(msg) or old else msg.data

    async def _by_leader(self, name: str) -> bytes | None:
        query = json.dumps({"last_by_subj": self._meta(name)}).encode()
        ask = partial(self._link.ask, f"$JS.API.STREAM.MSG.GET.{self._stream}", query)
        answer = json.loads((await self._link.insist(f"looking for {name}", ask)).data)
        if "message" not in answer:
            return None
        return base64.b64decode(str(answer["message"].get("data") or ""))

    async def _write(self, name: str, body: bytes) -> None:
        nuid = self._link.nc.new_inbox().rpartition(".")[2]
        size = min(_CHUNK, self._link.nc.max_payload // 2)
        chunks = [body[at : at + size] for at in range(0, len(body), size)]
        for number, chunk in enumerate(chunks):
            await self._publish(f"$O.{self._bucket}.C.{nuid}", chunk, {MSG_ID: f"{nuid}.{number}"})
        info = {
            "name": name,
            "bucket": self._bucket,
            "nuid": nuid,
            "size": len(body),
            "chunks": len(chunks),
            "digest": "SHA-256=" + base64.urlsafe_b64encode(hashlib.sha256(body).digest()).decode(),
            "options": {"max_chunk_size": size},
        }
        headers = {MSG_ID: nuid, ROLLUP: "sub"}
        await self._publish(self._meta(name), json.dumps(info).encode(), headers)

    async def _publish(self, subject: str, body: bytes, headers: dict[str, str]) -> None:
        reply = await self._link.insist(
            f"storing in {self._bucket}", partial(self._link.ask, subject, body, headers)
        )
        if error := json.loads(reply.data).get("error"):
            if is_full(error):
                raise await log_full(self._link.nc, self._stream, error)
            raise Unavailable(
                "log.refused",
                f"the bucket {self._bucket} refused a body: {error.get('description')}",
                where=self._stream,
                fix="check the limits of the bucket and the room on the server's disk",
            )

    async def _read(self, subject: str, count: int, most: int) -> bytes:
        parts: list[bytes] = []
        after = read = 0
        while len(parts) < count and read <= most:
            found = await self._link.insist(
                f"reading {subject}", partial(self._some, subject, after)
            )
            if not found:
                break  # what is there will not have the right hash
            parts += [msg.data for msg in found]
            read += sum(len(msg.data) for msg in found)
            after = int((found[-1].headers or {})[SEQUENCE])
        return b"".join(parts)

    async def _some(self, subject: str, after: int) -> list[Msg]:
        query = {"batch": 64, "max_bytes": 64 * _CHUNK, "next_by_subj": subject, "seq": after + 1}
        return await self._link.ask_many(
            f"$JS.API.DIRECT.GET.{self._stream}", json.dumps(query).encode()
        )


def _age(msg: Msg) -> float:
    """Seconds since a message was stored, by about the same clock."""
    stored = clock.server_time((msg.headers or {})[TIME_STAMP])
    return (clock.now() - stored).total_seconds()


def _name(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def _bad(what: str, name: str, why: str) -> Unavailable:
    return Unavailable(
        f"log.blob_{what}",
        f"body {name}: {why}",
        where=name,
        fix="restore the object store of the log from a mirror or a backup",
    )
