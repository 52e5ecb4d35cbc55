"""Parts of hints: what is big in a hint is stored once per content, and fetched once per worker.

A hint carries the state that its call sees. Over a big state, or in a long conversation, most of that is what the hint
before it carried too; so it lies in a bucket of its own that empties itself by age, and the hint names it.
A hint that is sent again puts its parts again, should they be gone.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from partsong.contracts.errors import InvalidInput, Unavailable
from partsong.contracts.messages import Message
from partsong.contracts.parts import PACKED, Packed, Part
from partsong.contracts.validate import problem_of
from partsong.contracts.work import FunctionWork, HookWork, TurnWork, Work
from partsong.log.blobs import BAD_BODY, Blobs
from partsong.runtime import clock

__all__ = ["Parts"]

K = TypeVar("K")
V = TypeVar("V")

_PARTS: TypeAdapter[list[Part]] = TypeAdapter(list[Part])

_WHOLE = 64 * 1024
"""Hints up to this size travel whole: storing a part takes three round trips."""
_PART = 32 * 1024
_CACHE = 64 * 1024 * 1024
_STORED_FOR = 3600.0
"""Seconds for which a part that was put or found is not looked for again; a small part of the bucket's age."""


class Parts:
    """Packs and unpacks hints; keeps the parts used last, up to `cache` bytes."""

    def __init__(self, blobs: Blobs, *, whole: int, cache: int = _CACHE) -> None:
        """`whole` is how long a message may be."""
        self._blobs, self._most, self._room = blobs, whole, cache
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._stored: OrderedDict[str, float] = OrderedDict()
        self._named: OrderedDict[int, tuple[str, str]] = OrderedDict()
        self._fetching = asyncio.Lock()

    async def pack(self, work: Work, *, again: bool = False) -> tuple[bytes, str | None]:
        """What to send for a hint: its body, and the header that says where its body is, if it is packed.

        Raises:
            Unavailable: a part could not be stored.
        """
        parts = await self._big_texts(work, again=again)
        body = _dumped(work, parts)
        if not parts and len(body) <= _WHOLE:
            return body, None
        if isinstance(work, TurnWork):
            work, parts = await self._without_blocks(work, again=again)
        else:
            parts += await self._big_values(work, {part.key for part in parts}, again=again)
        if not parts and len(body) <= self._most:
            return body, None
        body = b'{"hint":%b,"parts":%b}' % (_dumped(work, parts), _PARTS.dump_json(parts))
        if len(body) <= self._most:
            return body, PACKED
        return b"", PACKED + await self._put(body, again=again)

    async def unpack(self, body: bytes, where: str) -> bytes:
        """The JSON of a packed hint, with all its parts.

        Raises:
            Unavailable: `work.part_missing`: a part is not there, or is not what its name says.
            InvalidInput: `work.malformed`.
        """
        if name := where.removeprefix(PACKED):
            body = await self._get(name)
        try:
            packed = Packed.model_validate_json(body)
        except ValidationError as error:
            raise InvalidInput.of(problem_of(error, "work.malformed")) from error
        found = [(part, await self._get(part.name)) for part in packed.parts]
        fields = {key: to_json(value) for key, value in packed.hint.items()}
        for field in dict.fromkeys(part.field for part in packed.parts):
            mine = [(part.key, text) for part, text in found if part.field == field]
            fields[field] = _joined(packed.hint.get(field), mine)
        return _object(fields)

    async def _big_texts(self, work: Work, *, again: bool) -> list[Part]:
        """Big texts, which are known by identity: the same ones come step after step, and are hashed once."""
        found: list[Part] = []
        for key, value in _members(work).items():
            if isinstance(value, str) and len(value) > _PART:
                known = self._named.get(id(value))
                if known is None or known[0] is not value:
                    text = to_json(value)
                    name = await self._put(text, again=again)
                    _keep(self._named, id(value), (value, name), 64)
                elif again or not self._fresh(known[1]):
                    name = await self._put(to_json(value), again=again)
                else:
                    name = known[1]
                found.append(Part(field=_field(work), key=key, name=name))
        return found

    async def _without_blocks(self, work: TurnWork, *, again: bool) -> tuple[TurnWork, list[Part]]:
        """A turn that lacks the beginning of its conversation, and the parts that have it."""
        parts: list[Part] = []
        count = 0
        for size, block in _blocks(work.messages):
            parts.append(Part(field="messages", name=await self._put(block, again=again)))
            count += size
        return work.model_copy(update={"messages": work.messages[count:]}), parts

    async def _big_values(self, work: Work, but: set[str | None], *, again: bool) -> list[Part]:
        found: list[Part] = []
        for key, value in _members(work).items():
            if key in but or not isinstance(value, str | list | dict):
                continue
            text = to_json(value)
            if len(text) > _PART:
                name = await self._put(text, again=again)
                found.append(Part(field=_field(work), key=key, name=name))
        return found

    def _fresh(self, name: str) -> bool:
        return clock.monotonic() - self._stored.get(name, float("-inf")) < _STORED_FOR

    async def _put(self, text: bytes, *, again: bool) -> str:
        name = f"sha256:{hashlib.sha256(text).hexdigest()}"
        if again or not self._fresh(name):
            await self._blobs.put(text)
            _keep(self._stored, name, clock.monotonic(), 4096)
        return name

    async def _get(self, name: str) -> bytes:
        async with self._fetching:  # many calls that begin together want the same part
            if (text := self._kept.get(name)) is None:
                text = await self._fetch(name)
                self._kept[name] = text
                while len(self._kept) > 1 and sum(map(len, self._kept.values())) > self._room:
                    self._kept.popitem(last=False)
            else:
                self._kept.move_to_end(name)
            return text

    async def _fetch(self, name: str) -> bytes:
        try:
            return await self._blobs.get(name)
        except Unavailable as error:
            if error.problem.code not in BAD_BODY:
                raise
            raise Unavailable(
                "work.part_missing",
                f"a part of a hint cannot be had: {error.problem.message}",
                where=name,
                fix="nothing, if it comes again: an engine that reminds the workers of the call puts the part again; "
                "else look at what deletes from the bucket of hints, and retry the run",
            ) from error


def _field(work: Work) -> str:
    match work:
        case FunctionWork():
            return "state"
        case HookWork():
            return "payload"
        case TurnWork():
            return "messages"
        case _:
            return "args"


def _members(work: Work) -> Mapping[str, object]:
    value = getattr(work, _field(work), None)
    return value if isinstance(value, dict) else {}


def _dumped(work: Work, but: Sequence[Part]) -> bytes:
    """A hint without what lies in parts; its kind is a default, and readers need it."""
    keys = {part.key for part in but if part.key is not None}
    exclude: Any = {_field(work): keys} if keys else None
    body = work.model_dump_json(exclude_defaults=True, exclude=exclude).encode()
    return b'{"kind":"' + work.kind.encode() + b'",' + body[1:]


def _blocks(messages: Sequence[Message]) -> Iterator[tuple[int, bytes]]:
    """How many messages, and their list: from the beginning, so that a conversation that grows keeps its blocks."""
    block: list[bytes] = []
    size = 0
    for message in messages:
        block.append(text := message.model_dump_json().encode())
        size += len(text)
        if size > _PART:
            yield len(block), b"[" + b",".join(block) + b"]"
            block, size = [], 0


def _joined(rest: object, parts: Sequence[tuple[str | None, bytes]]) -> bytes:
    lists = [text[1:-1] for key, text in parts if key is None]
    if lists:
        last = to_json(rest)[1:-1] if isinstance(rest, list) else b""
        return b"[" + b",".join([*lists, last] if last else lists) + b"]"
    small = rest if isinstance(rest, dict) else {}
    members = {str(key): to_json(value) for key, value in small.items()}
    return _object(members | {key: text for key, text in parts if key is not None})


def _object(members: Mapping[str, bytes]) -> bytes:
    return (
        b"{"
        + b",".join(json.dumps(key).encode() + b":" + text for key, text in members.items())
        + b"}"
    )


def _keep(kept: OrderedDict[K, V], key: K, value: V, most: int) -> None:
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > most:
        kept.popitem(last=False)
