"""Graphs by content hash and by name, in a KV bucket. A running run does not need it: its log holds its graph."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

import nats.errors
from nats.aio.client import Client
from nats.js.errors import APIError, InvalidKeyError, KeyNotFoundError
from nats.js.kv import KeyValue
from pydantic import JsonValue

from partsong.contracts.errors import NotFound, Unavailable
from partsong.contracts.graph import Graph
from partsong.contracts.graph.validate import parse_graph
from partsong.contracts.ids import check_id
from partsong.contracts.wire.subjects import Subjects, graph_key
from partsong.runtime import clock
from partsong.runtime.room import holds_all, no_room
from partsong.runtime.streams import Names

__all__ = ["Fits", "Graphs", "Keep"]

Fits: TypeAlias = Callable[[Graph], Awaitable[None]]
"""Raises what speaks against a graph."""

_STORED = 60.0
"""Seconds after which a graph that is sent whole is stored once more: the bucket may have been lost."""
_KEPT = 16 * 1024 * 1024
"""Bytes of graphs' texts that are remembered; what they are read as takes many times as much."""


class Keep(Protocol):
    """Finds a graph, and keeps one that is sent whole; see `Graphs.resolve`."""

    async def __call__(
        self, wanted: str | dict[str, JsonValue], fits: Fits | None = None, /
    ) -> Graph:
        """The graph."""
        ...


class Graphs:
    """Resolves what a run request calls its graph, and remembers whole specs for those who come later."""

    def __init__(self, nc: Client, subjects: Subjects, *, keep: int = 500) -> None:
        self._nc, self._subjects, self._keep = nc, subjects, keep
        self._bucket = Names.of(subjects).graphs
        self._kv: KeyValue | None = None
        self._known: OrderedDict[str, tuple[Graph, int]] = OrderedDict()
        """Each with the bytes of its text."""
        self._held = 0
        self._stored: dict[str, float] = {}
        """When a graph that is known was stored last."""

    async def resolve(self, wanted: str | dict[str, JsonValue], fits: Fits | None = None) -> Graph:
        """The graph for a name, a `sha256:…` hash or a whole spec; a spec that `fits` is stored under both.

        Raises:
            InvalidInput: the spec is not valid, or what `fits` raises.
            NotFound: `graph.unknown` for a name or hash nobody has published.
            Unavailable: the bucket did not answer, or `graphs.full`.
        """
        if isinstance(wanted, str):
            graph = await self._find(wanted)
            if fits is not None:
                await fits(graph)
            return graph
        graph = parse_graph(wanted)
        if fits is not None:
            await fits(graph)
        if clock.monotonic() - self._stored.get(graph.hash, -_STORED) >= _STORED:
            spec = json.dumps(graph.spec(), separators=(",", ":")).encode()
            await self._put(graph_key(graph.hash), spec)
            await self._put(graph_key(graph.name), spec)
            self._remember(graph, len(spec))
            self._stored[graph.hash] = clock.monotonic()
        return graph

    async def _find(self, name: str) -> Graph:
        if name in self._known:
            return self._known[name][0]
        check_id("graph", name)
        try:
            entry = await (await self._open()).get(graph_key(name))
        except (KeyNotFoundError, InvalidKeyError):
            raise NotFound(
                "graph.unknown",
                f"no graph is called {name!r}",
                where="graph",
                fix="send the whole spec once, or start it with `partsong run start FILE`",
            ) from None
        except (nats.errors.Error, APIError, TimeoutError) as error:
            raise self._unavailable(error) from error
        graph = parse_graph(json.loads(entry.value or b"{}"), stored=True)
        if name == graph.hash:
            self._remember(graph, len(entry.value or b""))
        return graph

    def _remember(self, graph: Graph, size: int) -> None:
        if graph.hash not in self._known:
            self._known[graph.hash] = graph, size
            self._held += size
        while len(self._known) > self._keep or self._held > _KEPT:
            forgotten, (_, size) = self._known.popitem(last=False)
            self._held -= size
            self._stored.pop(forgotten, None)

    async def _put(self, key: str, spec: bytes) -> None:
        try:
            await (await self._open()).put(key, spec)
        except APIError as error:
            if holds_all(error):
                says = "holds as many graphs as it may"
                raise no_room(self._subjects, f"KV_{self._bucket}", says) from error
            raise self._unavailable(error) from error
        except (nats.errors.Error, TimeoutError) as error:
            raise self._unavailable(error) from error

    async def _open(self) -> KeyValue:
        if self._kv is None:
            self._kv = await self._nc.jetstream().key_value(self._bucket)
        return self._kv

    def _unavailable(self, error: BaseException) -> Unavailable:
        return Unavailable(
            "graph.store", f"bucket {self._bucket} did not answer: {error!r}", retryable=True
        )
