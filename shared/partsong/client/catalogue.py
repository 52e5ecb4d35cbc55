"""The graphs that the bus knows."""

from __future__ import annotations

import json

import nats.errors
from nats.js.errors import APIError, InvalidKeyError, KeyNotFoundError

from partsong.client.connection import Connection
from partsong.contracts.errors import NotFound, Unavailable
from partsong.contracts.graph import Graph
from partsong.contracts.graph.validate import parse_graph
from partsong.contracts.ids import check_id
from partsong.contracts.wire.subjects import graph_key

__all__ = ["Catalogue"]


class Catalogue(Connection):
    """Graphs are known by name and by hash from the first run that was started with them."""

    async def graph(self, name: str) -> Graph:
        """The newest graph of a name, or the graph of a `sha256:…` hash.

        Raises:
            NotFound: `graph.unknown`, no run was ever started with it.
            Unavailable: the bus did not answer.
        """
        check_id("graph", name)
        try:
            bucket = await self.nats.jetstream().key_value(self._names.graphs)
            entry = await bucket.get(graph_key(name))
        except (KeyNotFoundError, InvalidKeyError):
            raise NotFound(
                "graph.unknown",
                f"no graph is called {name!r}",
                where="graph",
                fix="start a run of it, or give a file or MODULE:ATTRIBUTE",
            ) from None
        except (nats.errors.Error, APIError, TimeoutError) as error:
            said = f"bucket {self._names.graphs} did not answer: {error!r}"
            raise Unavailable("graph.store", said, retryable=True) from error
        return parse_graph(json.loads(entry.value or b"{}"), stored=True)
