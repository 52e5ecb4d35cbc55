"""Bodies too big for a message: kept once per content in a JetStream object store (claim check).

The layout is that of every NATS client's object store, so `nats object get` finds a body by its name,
`sha256:<hex>`. Chunks are written before their description, and the description before the record that refers to it:
who can read the record can read the body.
"""

from __future__ import annotations

import base64
import hashlib
import json
from functools import partial

from nats.aio.msg import Msg

from partsong.contracts.errors import Unavailable
from partsong.log.full import is_full, log_full
from partsong.log.link import Link, status
from partsong.log.stored import ID
from partsong.runtime import clock

__all__ = ["BAD_BODY", "LOST", "Blobs"]

BAD_BODY = frozenset({"log.blob_missing", "log.blob_corrupt"})
"""Problems that say what has become of one body, and nothing of the store."""
LOST = frozenset({"log.unreadable", *BAD_BODY})
"""Problems that say what has become of some records, and nothing of the store."""

_CHUNK = 256 * 1024


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
        if await self._describe(name, younger=younger) is None:
            await self._write(name, body)
        return name

    async def remove(self, name: str) -> None:
        """Say of a body that it is not there: whoever puts it again stores it again."""
        info = {"name": name, "bucket": self._bucket, "nuid": "", "deleted": True}
        headers = {ID: self._link.nc.new_inbox(), "Nats-Rollup": "sub"}
        await self._publish(self._meta(name), json.dumps(info).encode(), headers)

    async def get(self, name: str) -> bytes:
        """The body of this name.

        Raises:
            Unavailable: `log.blob_missing` or `log.blob_corrupt`.
        """
        info = await self._describe(name)
        if info is None:
            raise _bad("missing", name, f"the bucket {self._bucket} has no object of this name")
        body = await self._read(f"$O.{self._bucket}.C.{info['nuid']}", int(str(info["chunks"])))
        if _name(body) != name:
            raise _bad(
                "corrupt", name, f"{len(body)} bytes were read, and they hash to {_name(body)}"
            )
        return body

    def _meta(self, name: str) -> str:
        return f"$O.{self._bucket}.M.{base64.urlsafe_b64encode(name.encode()).decode()}"

    async def _describe(
        self, name: str, *, younger: float | None = None
    ) -> dict[str, object] | None:
        msg = await self._link.insist(
            f"looking for {name}",
            partial(self._link.ask, f"$JS.API.DIRECT.GET.{self._stream}.{self._meta(name)}"),
        )
        if status(msg) or (younger is not None and _age(msg) > younger):
            return None
        info: dict[str, object] = json.loads(msg.data)
        return None if info.get("deleted") else info

    async def _write(self, name: str, body: bytes) -> None:
        nuid = self._link.nc.new_inbox().rpartition(".")[2]
        size = min(_CHUNK, self._link.nc.max_payload // 2)
        chunks = [body[at : at + size] for at in range(0, len(body), size)]
        for number, chunk in enumerate(chunks):
            await self._publish(f"$O.{self._bucket}.C.{nuid}", chunk, {ID: f"{nuid}.{number}"})
        info = {
            "name": name,
            "bucket": self._bucket,
            "nuid": nuid,
            "size": len(body),
            "chunks": len(chunks),
            "digest": "SHA-256=" + base64.urlsafe_b64encode(hashlib.sha256(body).digest()).decode(),
            "options": {"max_chunk_size": size},
        }
        headers = {ID: nuid, "Nats-Rollup": "sub"}
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

    async def _read(self, subject: str, count: int) -> bytes:
        parts: list[bytes] = []
        after = 0
        while len(parts) < count:
            found = await self._link.insist(
                f"reading {subject}", partial(self._some, subject, after)
            )
            if not found:
                break  # what is there will not have the right hash
            parts += [msg.data for msg in found]
            after = int((found[-1].headers or {})["Nats-Sequence"])
        return b"".join(parts)

    async def _some(self, subject: str, after: int) -> list[Msg]:
        query = {"batch": 64, "max_bytes": 64 * _CHUNK, "next_by_subj": subject, "seq": after + 1}
        return await self._link.ask_many(
            f"$JS.API.DIRECT.GET.{self._stream}", json.dumps(query).encode()
        )


def _age(msg: Msg) -> float:
    """Seconds since a message was stored, by about the same clock."""
    stored = clock.server_time((msg.headers or {})["Nats-Time-Stamp"])
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
