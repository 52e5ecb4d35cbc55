"""A dumped state is read again by whoever gives states the same shape."""

from __future__ import annotations

from pydantic import JsonValue

from partsong.contracts.state.serialization import fingerprint


def named(*modules: str) -> JsonValue:
    """A schema with a class `Retry` of each of the modules."""
    names = [f"partsong__contracts__{module}__Retry" for module in modules]
    return {"$defs": {name: {"type": "object", "title": name.split("__")[-2]} for name in names}}


def test_a_class_that_moves_leaves_the_fingerprint_as_it_is() -> None:
    before = fingerprint(named("hooks", "nodes"))
    assert fingerprint(named("talk__hooks", "graph__nodes")) == before


def test_another_shape_has_another_fingerprint() -> None:
    assert fingerprint(named("hooks")) != fingerprint(named("nodes"))
