"""Settling: what every open path of a scope has seen needs no order of its own any more."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import JsonValue

from partsong.contracts.frozen import replace
from partsong.contracts.graph.reducers import Write, contribute, reduced
from partsong.contracts.state.scope import Scope

__all__ = ["settle"]


def settle(scope: Scope) -> Scope:
    """Move writes that every open path has seen into `settled`: a change of form, not of meaning.

    A write moves when all open executions and tokens descend from its author and every write of its key that comes
    before it moves too. Later executions then sort after it, so the reduction order is kept.
    """
    if not scope.writes:
        return scope
    common: frozenset[str] | None = None
    for holder in _holders(scope):
        common = holder if common is None else common & holder
        if not common:
            return scope
    settled, writes, added = dict(scope.settled), dict(scope.writes), dict(scope.added)
    kept: set[str] = set()
    for key, line in scope.writes.items():
        count = (
            len(line)
            if common is None
            else next((i for i, w in enumerate(line) if w.exec not in common), len(line))
        )
        if count:
            settled[key] = reduced(scope.reducer(key), key, settled, line[:count])
            if scope.path:
                _contribute(scope, key, line[:count], added)
        if count < len(line):
            writes[key] = line[count:]
            kept.update(w.exec for w in line[count:])
        else:
            del writes[key]
    return _forget(replace(scope, settled=settled, writes=writes, added=added), kept)


def _holders(scope: Scope) -> Iterator[frozenset[str]]:
    for execution in scope.active.values():
        yield execution.seen
    for waiting in scope.tokens.values():
        for token in waiting:
            yield token.seen


def _contribute(
    scope: Scope, key: str, writes: tuple[Write, ...], added: dict[str, JsonValue]
) -> None:
    for write in writes:
        before = (added[key],) if key in added else None
        added[key] = contribute(scope.reducer(key), key, before, write.value)


def _forget(scope: Scope, kept: set[str]) -> Scope:
    """Drop from every `seen` the executions that have nothing left to settle."""
    return replace(
        scope,
        active={
            id_: x if x.seen <= kept else replace(x, seen=x.seen & kept)
            for id_, x in scope.active.items()
        },
        tokens={
            node: tuple(t if t.seen <= kept else replace(t, seen=t.seen & kept) for t in waiting)
            for node, waiting in scope.tokens.items()
        },
    )
