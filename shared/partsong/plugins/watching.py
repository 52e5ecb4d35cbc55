"""Watching: plugins with a method `on_chunk` see every chunk of a model's answer, live and without a say in it."""

from __future__ import annotations

import logging
from collections.abc import Callable

from partsong.contracts.talk.chunks import Chunk
from partsong.plugins.shelf import Shelf

__all__ = ["watched"]

_log = logging.getLogger("partsong.plugins")


def watched(
    show: Callable[[Chunk], None], shelf: Shelf, run_id: str, node: str
) -> Callable[[Chunk], None]:
    """`show`, and whoever watches: what an observer does wrong is logged, and it sees no more of this answer."""
    watchers = dict(shelf.watchers)
    if not watchers:
        return show

    def both(chunk: Chunk) -> None:
        show(chunk)
        for name, watch in list(watchers.items()):
            try:
                watch(run_id, node, chunk)
            except Exception:
                _log.warning("plugin failed at on_chunk", extra={"plugin": name}, exc_info=True)
                del watchers[name]

    return both
