"""Parts of hints: what is big in a hint is stored once per content, and fetched once per worker.

A hint carries the state that its call sees. Over a big state, or in a long conversation, most of that is what the hint
before it carried too; so it lies in a bucket of its own that empties itself by age, and the hint names it.
A hint that is sent again puts its parts again, should they be gone.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Generic, TypeVar
from weakref import WeakValueDictionary

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from partsong.bus.pieces import PIECE, cut, grouped, joined
from partsong.contracts.errors import InvalidInput, Unavailable
from partsong.contracts.graph.validate import problem_of
from partsong.contracts.wire.parts import PACKED, Packed, Part
from partsong.contracts.wire.work import FunctionWork, HookWork, ToolWork, TurnWork, Work
from partsong.log.blobs import BAD_BODY, Blobs
from partsong.runtime import clock

__all__ = ["Parts"]

K = TypeVar("K")
V = TypeVar("V")

_PARTS: TypeAdapter[list[Part]] = TypeAdapter(list[Part])

_WHOLE = 64 * 1024
"""Hints up to this size travel whole: storing a part takes three round trips."""
_CACHE = 64 * 1024 * 1024
_AT_ONCE = 16
_STORED_FOR = 3600.0
_YOUNG = 4 * 3600.0
"""Seconds: a part that was put or found is not looked for again for an hour, and one older than four is put again; so
what a hint names stays for an hour at least, of the bucket's six."""

_FIELD = {"function": "state", "tool": "args", "hook": "payload", "agent.turn": "messages"}
"""Where a hint has what may be big; its other fields are looked at only if it is too long without that one."""
_KINDS: dict[object, type[FunctionWork | ToolWork | HookWork | TurnWork]] = {
    "function": FunctionWork,
    "tool": ToolWork,
    "hook": HookWork,
    "agent.turn": TurnWork,
}


class Parts:
    """Packs and unpacks hints; remembers what it has seen last, up to `cache` bytes."""

    def __init__(self, blobs: Blobs, *, cache: int = _CACHE) -> None:
        self._blobs = blobs
        self._kept: _Recent[str, bytes] = _Recent(cache)
        self._stored: _Recent[str, float] = _Recent(4096)
        self._cut: _Recent[int, tuple[object, list[str], object]] = _Recent(cache)
        self._fetching: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def pack(self, work: Work, *, again: bool = False) -> tuple[bytes, str | None]:
        """What to send for a hint: its body, and the header that says that it is packed, if it is.

        Raises:
            Unavailable: a part could not be stored.
        """
        field = _FIELD[work.kind]
        value: object = getattr(work, field)
        if not self._is_big(value):
            body = _dumped(work)
            if len(body) <= _WHOLE:
                return body, None
        parts, rest = await self._split(field, value, again=again)
        body = _dumped(work.model_copy(update={field: rest}))
        if len(body) > _WHOLE:
            small: dict[str, Any] = Packed.model_validate_json(b'{"hint":' + body + b"}").hint
            for name in small.keys() - {field}:
                more, small[name] = await self._split(name, small[name], again=again)
                parts += more
            body = to_json(small)
        if not parts:
            return body, None
        return b'{"hint":%b,"parts":%b}' % (
            body,
            _PARTS.dump_json(parts, exclude_none=True),
        ), PACKED

    async def unpack(self, body: bytes) -> bytes:
        """The JSON of a packed hint, with all its parts.

        Raises:
            Unavailable: `work.part_missing`: a part is not there, or is not what its name says.
            InvalidInput: `work.malformed`.
        """
        packed = _packed(body)
        names = list(dict.fromkeys(part.name for part in packed.parts))
        texts: dict[str, bytes] = {}
        for at in range(0, len(names), _AT_ONCE):
            some = names[at : at + _AT_ONCE]
            texts.update(zip(some, await asyncio.gather(*map(self._get, some)), strict=True))
        fields = {key: to_json(value) for key, value in packed.hint.items()}
        for field in dict.fromkeys(part.field for part in packed.parts):
            mine = [(part.key, texts[part.name]) for part in packed.parts if part.field == field]
            fields[field] = joined(packed.hint.get(field), mine)
        return b"{" + b",".join(to_json(key) + b":" + text for key, text in fields.items()) + b"}"

    @staticmethod
    def bare(body: bytes) -> Work | None:
        """What a packed hint says without its parts: enough to close its call; None if it cannot be read."""
        try:
            hint: dict[str, Any] = _packed(body).hint
        except InvalidInput:
            return None
        kind = _KINDS.get(hint.get("kind"))
        if kind is None or not all(isinstance(hint.get(key), str) for key in ("run_id", "call_id")):
            return None
        return kind.model_construct(None, **hint)

    def _is_big(self, value: object) -> bool:
        """Whether it is surely too much for a message; it is not written down to find out."""
        members = value.values() if isinstance(value, dict) else (value,)
        return any(
            (isinstance(member, str) and len(member) > _WHOLE) or self._known(member) is not None
            for member in members
        )

    async def _split(self, field: str, value: object, *, again: bool) -> tuple[list[Part], object]:
        """The parts of a field, stored, and what is left of it."""
        if not isinstance(value, dict):
            names, rest = await self._named(value, again=again)
            return [Part(field=field, name=name) for name in names], rest
        parts: list[Part] = []
        small: dict[str, object] = {}
        for key, member in value.items():
            names, rest = await self._named(member, again=again)
            parts += [Part(field=field, name=name, key=key) for name in names]
            if rest is not None or not names:
                small[key] = rest
        if sum(_about(member) for member in small.values()) > PIECE:
            ends = {
                part.key or "": small.pop(part.key or "")
                for part in parts
                if small.get(part.key or "")
            }
            pieces, small = grouped(small)
            names = await self._put_all([*pieces, *map(to_json, ends.values())], again=again)
            keys: list[str | None] = [*(None for _ in pieces), *ends]
            parts += [
                Part(field=field, name=name, key=key) for name, key in zip(names, keys, strict=True)
            ]
            small |= {key: [] for key in ends}
        return parts, small

    def _known(self, value: object) -> tuple[list[str], object] | None:
        """What a value was cut into before: states are never changed, so the same object is the same value."""
        found = self._cut.get(id(value))
        return (found[1], found[2]) if found is not None and found[0] is value else None

    async def _named(self, value: object, *, again: bool) -> tuple[list[str], object]:
        known = self._known(value)
        if known is not None and not again and all(map(self._fresh, known[0])):
            return known
        pieces, rest = cut(value)
        names = await self._put_all(pieces, again=again)
        if names:
            self._cut.keep(id(value), (value, names, rest), sum(map(len, pieces)))
        return names, rest

    def _fresh(self, name: str) -> bool:
        stored = self._stored.get(name)
        return stored is not None and clock.monotonic() - stored < _STORED_FOR

    async def _put_all(self, pieces: list[bytes], *, again: bool) -> list[str]:
        names: list[str] = []
        for at in range(0, len(pieces), _AT_ONCE):
            some = pieces[at : at + _AT_ONCE]
            names += await asyncio.gather(*(self._put(text, again=again) for text in some))
        return names

    async def _put(self, text: bytes, *, again: bool) -> str:
        name = f"sha256:{hashlib.sha256(text).hexdigest()}"
        if again or not self._fresh(name):
            await self._blobs.put(text, younger=_YOUNG)
            self._stored.keep(name, clock.monotonic(), 1)
        return name

    async def _get(self, name: str) -> bytes:
        lock = self._fetching.get(name)
        if lock is None:
            lock = self._fetching[name] = asyncio.Lock()
        async with lock:  # many calls that begin together want the same part
            if (text := self._kept.get(name)) is None:
                text = await self._fetch(name)
                self._kept.keep(name, text, len(text))
            return text

    async def _fetch(self, name: str) -> bytes:
        try:
            return await self._blobs.get(name)
        except Unavailable as error:
            if error.problem.code not in BAD_BODY:
                raise
            await self._blobs.remove(name)  # whoever puts it again must not find it there
            raise Unavailable(
                "work.part_missing",
                f"a part of a hint cannot be had: {error.problem.message}",
                where=name,
                fix="nothing, if it comes again: an engine that reminds the workers of the call puts the part again; "
                "else look at what deletes from the bucket of hints, and retry the run",
            ) from error


class _Recent(Generic[K, V]):
    """The values used last, as many as have room."""

    def __init__(self, room: int) -> None:
        self._room, self._size = room, 0
        self._values: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def get(self, key: K) -> V | None:
        found = self._values.get(key)
        if found is None:
            return None
        self._values.move_to_end(key)
        return found[0]

    def keep(self, key: K, value: V, size: int) -> None:
        if (old := self._values.pop(key, None)) is not None:
            self._size -= old[1]
        self._values[key] = (value, size)
        self._size += size
        while self._size > self._room and len(self._values) > 1:
            self._size -= self._values.popitem(last=False)[1][1]


def _packed(body: bytes) -> Packed:
    try:
        return Packed.model_validate_json(body)
    except ValidationError as error:
        raise InvalidInput.of(problem_of(error, "work.malformed")) from error


def _dumped(work: Work) -> bytes:
    """A hint as JSON; its kind is a default, and readers need it."""
    body = work.model_dump_json(exclude_defaults=True).encode()
    return b'{"kind":"' + work.kind.encode() + b'",' + body[1:]


def _about(value: object) -> int:
    """About how long a value is as JSON."""
    if isinstance(value, str):
        return len(value)
    return len(to_json(value)) if isinstance(value, list | dict | Mapping) else 8
